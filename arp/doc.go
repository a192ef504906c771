// Package arp speaks ARP (RFC 826) and Neighbour Discovery (RFC 4861) for one
// director: it answers for the virtual addresses, announces them when they
// become ours, and finds the MAC addresses of next hops.
//
// It is pure: frames and the time come in as arguments, frames go out through
// a Sink. It opens nothing, starts nothing and draws no random number.
//
// # Sharing
//
// One Cache is shared by all workers. Every exported method may be called by
// any of them at any time, and none takes a lock. Lookup and Confirm do not
// allocate. What makes that work:
//
//   - Slots hold pointers to Neighbours. An address lives in one of the window
//     slots behind its hash, and a Neighbour never moves; it is put into a slot
//     and taken out of it by compare-and-swap.
//   - MAC, state and number of tries share one atomic word, so a reader never
//     sees the MAC of one answer with the state of another.
//   - A timer is claimed by compare-and-swap before it is acted upon, so only
//     one worker sends the retransmission. It is set before the state that
//     needs it is entered.
//   - Frames wait in an immutable list behind an atomic pointer. Who queues a
//     frame looks at the state afterwards, who changes the state looks at the
//     queue afterwards: one of the two finds the frame. The queue of a
//     Neighbour that left the table is closed for good, which sends latecomers
//     back to the table.
//
// # Behaviour
//
// States and times are those of Linux: an incomplete neighbour is asked for
// three times, a second apart, and then failed. A reachable one turns stale
// 30 s after its last confirmation. A stale one is still used; five seconds
// after its first use it is probed by unicast, three times, and then failed.
// What was not used for 60 s is forgotten.
//
// A neighbour is created only because a frame has to go there or because it
// asks for one of our addresses; other ARP and ND traffic updates what exists.
// An address of ours that another host claims is counted and reported, and
// never learned.
package arp
