// Package wire gives names to bytes: views over Ethernet, VLAN, ARP, IPv4,
// IPv6, ICMP, TCP and UDP, one parser that checks every length once, and
// the Internet checksum in its full and incremental forms (RFC 1071, RFC 1624).
//
// It holds no state and knows nothing of load balancing. After Packet.Parse
// has accepted a frame, the offsets it recorded may be indexed freely.
package wire
