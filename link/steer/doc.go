// Package steer decides which of several workers receives a frame.
//
// Several queues on one interface take turns; which queue a frame comes by is up
// to a program in the kernel. A director wants the client's address to decide,
// in both directions: then one worker sees a masqueraded connection whole, and
// the frames of a flow keep their order. A hash of both addresses would not do,
// since the client talks to a virtual address and a server answers from a real
// one. So the program knows the director's addresses: towards one of them the
// client is the source, and else it is the destination. It looks at addresses
// only, so that the fragments of a datagram meet. What is neither IPv4 nor IPv6
// and neighbour discovery are the first queue's.
//
// Which client is whose a table says, that can be changed at any time (Deal): so a
// worker may be there and get nothing until it is needed. While there is but one
// the program looks at nothing else.
//
// It also counts, by the CPU on which the kernel received them, the frames it sees.
//
// Nothing but speed depends on that: any worker may handle any frame. Where the
// kernel does not permit such a program, Classic, which looks at the source only,
// has to do.
package steer
