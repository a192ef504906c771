// Package connsync is the connection synchronisation protocol of IPVS: what a
// master tells of its connections, and what a backup makes of it, so that a
// backup that takes the virtual addresses over goes on with the connections
// there are (ipvs.md 6). Directors of usvs and of the kernel understand each
// other.
//
// The package is pure: time, settings and received messages come in as
// arguments, messages to send go out through a function. It opens no socket,
// starts no goroutine and reads no clock.
//
// # Files
//
//	entry.go   what a message says of one connection
//	encode.go  entries and messages to bytes, versions 0 and 1
//	decode.go  bytes to entries, with every check
//	rules.go   of which connections a master tells, and when
//	master.go  the master: from a packet to messages
//	queue.go   the queue between packets and messages
//	backup.go  the backup: from messages to the connection table
//	frame.go   messages as frames, for hosts without sockets
//
// # Concurrency
//
// Any number of workers call Master.Packet. It takes no lock and, in steady
// state, allocates nothing: an entry is encoded in place in a bounded queue, and
// dropped and counted if that is full. One goroutine at a time makes messages of
// what is queued, in Tick; another that calls it meanwhile returns at once.
// Backup.Receive is for one goroutine.
//
// # Invariants
//
//   - No received byte is believed before its length is checked. What is wrong
//     with a message is counted by name, and what follows in it is left out
//     wherever it cannot be told where the next entry begins.
//   - All entries of one connection leave by one port, in order.
//   - A message is never longer than the agreed length, but for one single entry
//     that is longer by itself, and has at most 255 entries.
package connsync
