// Package afpacket is the link.Device over a packet socket (packet(7)): frames of
// one network interface, 64 per system call, with their offload metadata.
//
// # Sockets
//
// A device has at least two. The receiving one is bound to the interface with ETH_P_ALL.
// The sending one is bound to it, too, so that the kernel need not look it up for
// each frame, but receives nothing; all writers share it. Both live in
// the network namespace in which Open was called, and so does all the device
// does later, on whatever thread: the device looks the interface up through its
// sockets only.
//
// # Groups
//
// Several devices on one interface share its frames (PACKET_FANOUT): each frame
// comes to one of them, by the client's address where link/steer's program is
// permitted, else by the source's. No socket of a group takes a frame before the
// group is complete, so none comes twice. Which devices get frames may change
// meanwhile (Handover), without a flow's frames losing their order.
//
// # Metadata
//
// Both sockets use PACKET_VNET_HDR, without which frames between namespaces,
// containers and virtual machines cannot be forwarded at all: their checksums
// are half made and most bulk data travels in super-frames. A VLAN tag, which
// the kernel takes out of the frame, is put back.
//
// # Super-frames within tunnels
//
// With Options.Wraps, and once somebody asked for it, super-frames that are
// wire.Frame.Wrapped can be sent: they leave by a socket of their own, which
// link/wrap's program looks at. Frames leave in their order all the same.
//
// # Receive ring
//
// With Options.Ring the kernel puts received frames into slots of shared memory
// (TPACKET_V2, which hands over frame by frame; V3 would let a lone frame wait
// for its block's timer). A frame that is longer than a slot, as super-frames
// are, comes by the socket's queue besides, and the slot holds its place. That
// saves a copy in the kernel and the system calls while frames keep coming, and
// pays off where another core than the pump's receives them.
//
// # Urgent frames
//
// With Options.Urgent a third socket, with a small ring, has the frames of ARP and
// neighbour discovery, and the main one rejects them.
//
// # What is delivered
//
// Frames to this station, to groups and to all, and to stations that are members
// (AddMembership). The host's own outgoing frames are not, nor are those to other
// stations unless the device is promiscuous.
//
// # Interfaces come and go
//
// A socket outlives its interface: it reports ENETDOWN and waits. While the
// link is down ReadBatch looks every 100 ms whether the interface is back, under
// whatever index, binds again and joins its groups again. An interface that is
// renamed is kept; one that is deleted is looked for by the name it was opened
// with. The sockets of a group cannot be bound again and are replaced by new ones
// of the same number. Changes of MTU and MAC need no action: MTU and HardwareAddr ask the
// kernel each time.
//
// # Concurrency
//
// ReadBatch belongs to one goroutine, each Writer to one, everything else may be
// called by any. A device's mutex, mu, guards the list of multicast groups and the
// binding that goes with it; inside it may be taken that of the device's Group,
// which guards the kernel's number for it, or that of its wrapper, which guards
// what is attached to the interface. No frame meets any of them.
package afpacket
