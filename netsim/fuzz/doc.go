// Package fuzz looks for bugs of the director in random scenarios. A seed makes
// a network, services, edits, traffic and faults; while they are played in the
// simulation, a Judge looks over the director's shoulder after every frame.
//
// What must hold whatever happens:
//
//   - The connection table is, entry by entry, what a second one says that is
//     kept from the packets alone (book.go, predict.go): the same connections
//     and templates, servers, states, flags, timeouts and ends. States follow
//     tables written down apart (package machine).
//   - Services are found, and their schedulers asked and answering, as literal
//     models do (picked.go, package sched/model).
//   - Real servers count the connections there are, and are overloaded when
//     their thresholds say so.
//   - A frame that is forwarded has right lengths and checksums, the TTL one
//     lower, and differs from the one that came in nothing that its forwarding
//     method does not change. It goes to the station it is for.
//   - NAT is symmetric: a server's answer leaves in the virtual service's name.
//   - ARP and ND speak for addresses that are the director's, and no others.
//   - When all has expired, nothing is left.
//
// The Judge reads frames with code of its own (slow.go). From the director it
// hears which packet it took up (of fragments, the datagram), whose scheduler it
// asked, whom that picked, and the verdict; each of these is judged, too. What
// draws lots or goes by itself it believes: who is dropped by drop_entry, and
// when connections of a deleted server end.
//
// A case (generate.go, network.go) has one director or two, the second behind
// the first or in its place, and up to four networks. Besides what chance sends
// (traffic.go), each case leads some connections to cells of the state tables,
// taking turns from seed to seed, and to places that chance does not find
// (situations.go). What has occurred is in a table (coverage.go).
//
// A case is a scenario file (package scenario); what the scenario language has
// no words for is in comments that begin with "#!":
//
//	#! frame client:eth0 0200...     any Ethernet frame, in hexadecimal
//	#! arrive director:eth0 0200...  one that is there at once, whatever the links do
//	#! super director:eth0 1460 0200.. a TCP super-frame of segments of that size,
//	                                 handed to the director directly
//	#! burst director:eth0 1100 0200.. so many copies of a frame in one batch
//	#! race template director:eth0 0200.. 0200..  two workers and a frame for each;
//	                                 the first one's fails by what the second does
//	#! vs conn_reuse_mode=0          a setting of net.ipv4.vs
//
// so that `usvs sim` plays the rest of the file as well. A case that fails is
// shrunk: lines are left out for as long as the same invariant still breaks.
package fuzz
