// Package load offers frames: it says what they look like and sends them at a
// rate, from one thread.
//
//	flows.go           the frames of many flows, made in place
//	pace.go            how many are due
//	sender_linux.go    a packet socket that sends them, 64 per system call
//
// Flows is pure: the same flows give the same frames in the same order. A
// Sender spins between batches rather than sleep: sleeping would send bursts,
// and the core it is on is its own. Nothing is allocated while it sends.
//
// The kernel's way to send by an XDP program (BPF_PROG_TEST_RUN with live frames)
// was tried: it is faster to send by, but its pages, which the receiver's core
// has to free, made the kernel's own forwarding half as fast.
package load
