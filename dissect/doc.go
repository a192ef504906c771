// Package dissect takes a frame's headers apart for people: every field as
// text, a line that says what the frame is, and what differs between two
// frames. It is pure, takes any bytes, and is not for the frame path.
//
// Layers have the names that people use: Ethernet, ARP, IPv4, IPv6, TCP, UDP,
// SCTP, ICMP, ICMPv6. Headers around a tunnelled packet are called outer, and
// those that an ICMP error quotes quoted, so that the packet itself has the
// same names with and without them.
package dissect
