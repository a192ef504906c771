// Package load offers frames: it says what they look like and sends them at a
// rate, from one thread.
//
//	flows.go           the frames of many flows, made in place
//	sender_linux.go    a packet socket that sends them, 64 per system call
//	pace.go            how many are due
//
// Flows is pure: the same flows give the same frames in the same order. A
// Sender spins between batches rather than sleep: sleeping would send bursts,
// and the core it is on is its own. Nothing is allocated while it sends.
package load
