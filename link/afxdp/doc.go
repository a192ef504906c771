// Package afxdp is the link.Device over AF_XDP sockets: frames of one network
// interface, taken out of the kernel's way before it has built anything around
// them. An XDP program picks them; it is assembled here, without a compiler.
//
// # What is taken
//
// The program takes, for the director alone, what Wanted describes: packets to
// addresses that are the director's, to its endpoints on the host's addresses,
// and from masquerading servers. The frame must be addressed to the interface's
// own MAC, untagged, and no longer than the MTU admits. The host's stack does
// not see such a frame, nor does a packet socket: Frame.Hidden is set, so that
// a director that declines it hands it to the host after all.
//
// Everything else goes on to the host's stack as if there were no program: ARP
// and neighbour discovery, whose answers both want, multicasts, tagged frames,
// super-frames, fragments and extension headers of packets that only a port
// would tell apart. A packet socket (link/afpacket, with a ring) beside the XDP
// sockets receives a copy of these for the director. So what the program leaves
// alone is handled as slowly as ever, but it is handled.
//
// # What a frame does not say
//
// AF_XDP carries no checksum or segmentation metadata. A local sender's half
// made checksum is recognised by its value: the field holds the sum of the
// pseudo-header, and the whole does not verify. Such frames get their Partial
// mark back. SCTP's checksum has no such sign: turn the senders' offload off. A
// VLAN tag that the hardware, or a veth, keeps beside the frame is invisible
// too: turn VLAN offload off (ethtool -K IF rxvlan off, and txvlan off on a
// veth's other end) where there are VLANs on the interface.
//
// Sending, complete frames go by the XDP socket, half made checksums are
// finished before, and super-frames go by the packet socket. What XDP sockets
// send, packet captures on this host do not see.
//
// # Sockets
//
// There is one XDP socket for each receive queue, with memory of its own. All
// are read by the one reader of the device or, after Share, by several, each of
// which has its share of the queues; the packet socket is the first one's. The
// driver copies frames or, where it can, puts them there itself (zero copy). The
// program is attached in the driver where it can, else in the generic hook. The
// kernel detaches it when the process ends, however it ends.
//
// An interface that is deleted and made again gets new sockets.
//
// # Concurrency
//
// ReadBatch belongs to one goroutine, as does that of each device that Share
// returns, each Writer to one, everything else may be called by any. A queue's
// sending half is used by whoever gets hold of its flag; who does not, sends by
// the packet socket instead of waiting. The receiving half's flag is disputed
// only when the queue is given up, which the first reader does. The mutex
// mu guards the present set of queues against being replaced while somebody
// configures or counts; no frame meets it.
package afxdp
