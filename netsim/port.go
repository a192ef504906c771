package netsim

import (
	"net/netip"

	"usvs/wire"
)

// Port is where a node meets a link: a host's interface or a switch's port.
type Port struct {
	net    *Net
	node   Node
	name   string
	index  int // among the node's ports
	mac    wire.MAC
	medium wire.Medium
	mtu    int
	down   bool
	off    bool   // its machine is
	vlan   int    // of a switch's port
	kind   string // of a tunnel device: the name of its kind's fallback device

	link *Link
	side int // of the link

	addrs  []netip.Prefix // of a host's interface
	sysctl interfaceSettings
	counts PortStats
}

// PortStats count the frames of a port.
type PortStats struct {
	RxFrames, RxBytes uint64
	TxFrames, TxBytes uint64
	TxDropped         uint64 // the port was down, had no link, or the frame was a super-frame
}

// Name is the port's name within its node, like eth0.
func (p *Port) Name() string { return p.name }

// Node is whose port it is.
func (p *Port) Node() Node { return p.node }

// String is node:port, the port's name in the network.
func (p *Port) String() string { return p.node.Name() + ":" + p.name }

// MAC is the port's Ethernet address; zero for a switch's port.
func (p *Port) MAC() wire.MAC { return p.mac }

// MTU is the longest IP packet the interface sends.
func (p *Port) MTU() int { return p.mtu }

// Link is the link at the port, or nil.
func (p *Port) Link() *Link { return p.link }

// Medium is Ethernet, except for a TUN device.
func (p *Port) Medium() wire.Medium { return p.medium }

// Up reports whether the port is up, whatever its link is.
func (p *Port) Up() bool { return !p.down }

// Addrs lists the addresses of a host's interface with their prefix lengths.
func (p *Port) Addrs() []netip.Prefix { return append([]netip.Prefix(nil), p.addrs...) }

// Stats are the port's counters now.
func (p *Port) Stats() PortStats { return p.counts }

// Inject sends a complete Ethernet frame from the port, as its node would.
func (p *Port) Inject(frame []byte) { p.send(p.net.copyOf(frame)) }

// Deliver gives the node a complete Ethernet frame as if it had just arrived
// at the port. No link sees it.
func (p *Port) Deliver(frame []byte) {
	if p.down || p.off {
		return
	}
	p.take(p.net.copyOf(frame))
}

// send puts a frame onto the link. No device here cuts super-frames.
func (p *Port) send(f *frame) {
	if p.down || p.off || p.link == nil || f.GSO != wire.GSONone {
		p.counts.TxDropped++
		p.net.release(f)
		return
	}
	p.counts.TxFrames++
	p.counts.TxBytes += uint64(f.Len())
	p.link.send(p, f)
}

// take gives the node a frame that arrived.
func (p *Port) take(f *frame) {
	p.counts.RxFrames++
	p.counts.RxBytes += uint64(f.Len())
	p.node.receive(p, f)
}
