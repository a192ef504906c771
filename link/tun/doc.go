// Package tun is the link.Device over /dev/net/tun: a network interface of its
// own, on whose other side is the host's stack. Its medium is IP.
//
// It is for where packet sockets are not allowed, and as the way to hand packets
// to the host: what is written to the device the host receives, what the host
// routes to the interface is read from it.
//
// With virtio headers, the default, super-frames and half-made checksums pass in
// both directions. A plain device (Options.Plain) carries finished packets only:
// checksums are completed before a packet is written, super-frames are dropped
// and counted. One packet costs one system call either way, which is why
// link/afpacket is the faster one for small packets.
//
// Several devices can share an interface, each with a queue of it.
//
// The device configures its interface when it is opened, and undoes that when
// it, or the last that shares the interface, is closed; an interface that did not exist before goes away altogether.
//
// ReadBatch belongs to one goroutine, each Writer to one, everything else may be
// called by any. The one mutex guards the netlink handle; no packet meets it.
package tun
