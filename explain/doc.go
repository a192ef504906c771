// Package explain says what a director would do with a packet, stage by stage
// and why, without changing anything.
//
// It is no second implementation: a private director (a Bench) runs the
// production pipeline with a director.Recorder attached, and this package puts
// what the recorder heard into words. The Bench is either made from a rules
// file and a made-up network (New), or copied from a running director (Of): its
// snapshot, the state of its schedulers, its real servers' counts, its mark
// rules, its neighbours, and before each packet the connections and templates
// that can match it. Fragments that the running director has put aside, the
// rate limits of its ICMP errors and the fill of its table are not copied.
//
// The packets of one call are handled one after another on the same Bench, so
// that a SYN can be followed by what comes after it.
//
//	packet.go    the packets, as people write them
//	network.go   the made-up network
//	bench.go     the private director, and packets through it
//	copy.go      the private copy of a running director
//	stages.go    what the recorder heard, in words; app.go: of FTP and SIP
//	verdict.go   how a frame ended, in words
//	report.go    the answer, and how it is printed
//
// A Bench belongs to one goroutine.
package explain
