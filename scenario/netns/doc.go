// Package netns plays scenarios in real networks: a network namespace for each
// machine, real clients and servers (net/http and sockets), and as directors
// real processes of usvs over AF_PACKET, or with --world ipvs the kernel's own
// ip_vs. Time is real too, and so are the races: what a scenario sends has
// arrived when Traffic returns because the wires were seen to be quiet.
//
// The switches and their cables are this package's, in user space: every frame
// that a machine sends is read from a packet socket at the other end of its
// cable, recorded, subjected to what the scenario says of the link, and written
// to the cables of those that are to get it. So nothing passes unseen, every
// kernel can do every fault, and the frames at all interfaces have one order.
// The machines' interfaces do no offloading: what is seen is what a wire carries.
//
// A World needs a process of its own, made by netlab.Enter. Errors that wrap
// scenario.ErrUnsupported say what the machine lacks.
//
// # Lock order
//
// fabric.mu is the only lock of the frames' path, and nothing else is locked
// under it.
package netns
