// Package forward does to a packet what its connection's forwarding method
// demands: rewriting for NAT, an outer header for TUN, the TTL for all of them,
// and whatever a packet needs to fit its route: segments, fragments, and the
// whole datagram put together again before a decision can be made about it.
//
// A frame meets the functions in this order:
//
//	Reassembler.Add                  fragments become a datagram (Frame.FragSize and Pieces are set)
//	MergePieces                      of a datagram to this machine
//	RecordRoute                      the one IP option a director fills in, of requests here
//	ParseQuote, ICMPChecksumOK       of ICMP errors about a connection
//	DecrementTTL, ExceedsMTU         everything that may be answered with an ICMP error
//	RewriteDst, RewriteSrc           NAT; RewriteSrc fills in that option of replies
//	RewriteRelatedIn, ...Out         NAT of an ICMP error and of the packet it quotes
//	Segment, Encapsulate             TUN
//	Fragment                         what ExceedsMTU found to be too long
//
// Everything but the Reassembler is a pure function of a *wire.Frame and the
// *wire.Packet parsed from it: no lookups, no MAC addresses, no counters, no
// state. The packet must have been parsed from the frame as it is; a function
// that changes a frame keeps its packet true to it. Nothing here allocates.
//
// # Checksums
//
// A transport checksum is patched by what changed (RFC 1624), so a wrong one
// stays wrong. In a partial frame (wire.Frame.Partial) whose checksum the device
// fills in, the field holds the sum of the pseudo-header, and only the addresses
// are patched. An outer checksum over an inner one still to be filled in counts
// what the finished inner one will contribute.
//
// # Lock order
//
// A Reassembler is shared by all workers and has one mutex per shard, held for
// the copy of one fragment or one datagram and while no other mutex is taken.
// Fragments are not the established path; nothing else here locks.
package forward
