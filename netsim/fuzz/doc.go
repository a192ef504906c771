// Package fuzz looks for bugs of the director in random scenarios. A seed makes
// a network, services, edits, traffic and faults; while they are played in the
// simulation, a Judge looks over the director's shoulder after every frame.
//
// What must hold whatever happens:
//
//   - A connection keeps its server while that server is neither deleted nor
//     the connection's time over; a packet changes no connection but its own.
//   - A frame that is forwarded has right lengths and checksums, the TTL one
//     lower, and differs from the one that came in nothing that its forwarding
//     method does not change. It goes to the station it is for.
//   - NAT is symmetric: a server's answer leaves in the virtual service's name.
//   - ARP and ND speak for addresses that are the director's, and no others.
//   - Connection counts, the table's lookups and its listing agree with a slow
//     model: a list of connections searched from end to end.
//   - When all has expired, nothing is left.
//
// The Judge reads frames with code of its own (slow.go) and shares none with
// the director. A case is a scenario file (package scenario); what the scenario
// language has no words for is in comments that begin with "#!":
//
//	#! frame client:eth0 0200...     any Ethernet frame, in hexadecimal
//	#! super director:eth0 1460 0200.. a TCP super-frame of segments of that size,
//	                                 handed to the director directly
//	#! burst director:eth0 1100 0200.. so many copies of a frame in one batch
//	#! vs conn_reuse_mode=0          a setting of net.ipv4.vs
//
// so that `usvs sim` plays the rest of the file as well. A case that fails is
// shrunk: lines are left out for as long as the same invariant still breaks.
package fuzz
