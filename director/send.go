package director

import (
	"net/netip"

	"usvs/arp"
	"usvs/forward"
	"usvs/link"
	"usvs/route"
	"usvs/wire"
)

// send emits f towards hop, in fragments if need be, and ends it.
func (w *Worker) send(f *link.Frame, hop *route.Hop, fragment bool) {
	w.waits, w.lost = false, false
	w.sent(w.deliver(f, &w.p, hop, fragment))
}

// sent ends a frame that was sent, entirely if ok and no piece was lost.
func (w *Worker) sent(ok bool) {
	switch {
	case !ok || w.lost:
		w.end(DropSegment)
	case w.waits:
		w.end(Waiting)
	default:
		w.end(Forwarded)
	}
}

// deliver is send for a piece of a frame. It reports false if a packet that
// had to be cut could not be.
func (w *Worker) deliver(f *link.Frame, p *wire.Packet, hop *route.Hop, fragment bool) bool {
	if !fragment {
		w.emit(f, hop)
		return true
	}
	w.hop = *hop
	if f.GSO != wire.GSONone {
		return forward.Segment(f, p, w.alloc, w.cut)
	}
	return forward.Fragment(f, p, w.hop.MTU, w.alloc, w.piece)
}

// emit gives f its link header and its next hop's MAC, and sends it, or lets it
// wait for the next hop to answer.
func (w *Worker) emit(f *link.Frame, hop *route.Hop) {
	f.Port = hop.Port
	w.setMedium(f, w.medium(hop.Port))
	if f.Medium != wire.Ethernet {
		w.out.Tx = append(w.out.Tx, f)
		return
	}
	// The source MAC changes too, or a learning bridge would move the
	// client's MAC to the director's port.
	eth := wire.EthernetHeader(f.Bytes())
	eth.SetSrc(w.mac(f.Port))
	mac, ok := w.d.Neighbours.Lookup(w.now, hop.Port, hop.Via)
	if !ok {
		w.d.Neighbours.Resolve(w.now, hop.Port, hop.Via, f, w)
		w.waits = true
		return
	}
	eth.SetDst(mac)
	w.out.Tx = append(w.out.Tx, f)
}

// setMedium puts a link header in front of a bare IP packet, or takes it off.
func (w *Worker) setMedium(f *link.Frame, m wire.Medium) {
	if f.Medium == m {
		if m == wire.Ethernet {
			b := f.Bytes()
			wire.EthernetHeader(b).SetType(etherType(b[wire.EthernetLen]))
		}
		return
	}
	if m == wire.IP {
		f.TrimFront(wire.EthernetLen)
		f.Medium = m
		return
	}
	typ := etherType(f.Bytes()[0])
	f.Prepend(wire.EthernetLen)
	f.Medium = m
	wire.EthernetHeader(f.Bytes()).SetType(typ)
}

func etherType(first byte) uint16 {
	if first>>4 == 6 {
		return wire.TypeIPv6
	}
	return wire.TypeIPv4
}

func (w *Worker) iface(port int) *route.Interface {
	ifs := w.snap.Routes.Interfaces
	if port < 0 || port >= len(ifs) {
		return &noInterface
	}
	return &ifs[port]
}

// noInterface stands for a port the current snapshot does not know yet.
var noInterface route.Interface

func (w *Worker) mac(port int) wire.MAC       { return w.iface(port).MAC }
func (w *Worker) medium(port int) wire.Medium { return w.iface(port).Medium }
func (w *Worker) portName(port int) string    { return w.iface(port).Name }

// neighbour handles ARP and neighbour discovery.
func (w *Worker) neighbour(f *link.Frame) {
	if w.d.Neighbours.Handle(w.now, f, &w.p, w) {
		w.end(Consumed)
		return
	}
	w.pass(f)
}

// The worker is the neighbour cache's arp.Sink.

// New returns an empty frame, or nil.
func (w *Worker) New() *wire.Frame { return w.out.New() }

// Send emits a complete frame.
func (w *Worker) Send(f *wire.Frame) { w.out.Tx = append(w.out.Tx, f) }

// Conflict reports another host's claim to an owned address.
func (w *Worker) Conflict(c arp.Conflict) {
	if w.d.conflict != nil {
		w.d.conflict(c)
	}
}

// local is what the neighbour cache asks about the director.
type local struct{ d *Director }

// Owned reports whether the director, not the host's stack, answers for addr.
func (l local) Owned(port int, addr netip.Addr) bool {
	return l.d.snap.Load().answersOn(port, addr)
}

// Claims reports whether addr is a virtual service's, whoever answers for it.
func (l local) Claims(_ int, addr netip.Addr) bool {
	return l.d.snap.Load().Owned.Has(addr)
}

// Elected reports whether addr is VRRP's.
func (l local) Elected(addr netip.Addr) bool {
	_, elected := l.d.snap.Load().Stations.Get(addr)
	return elected
}

// MAC is the address's virtual one, if it has one on that port, else the port's.
func (l local) MAC(port int, addr netip.Addr) wire.MAC {
	s := l.d.snap.Load()
	ifs := s.Routes.Interfaces
	if port < 0 || port >= len(ifs) {
		return wire.MAC{}
	}
	if st, ok := s.Stations.Get(addr); ok && !st.MAC.IsZero() && st.Interface == ifs[port].Name {
		return st.MAC
	}
	return ifs[port].MAC
}

// Ours reports whether mac is one of the director's interfaces', or a virtual
// one that it has now.
func (l local) Ours(mac wire.MAC) bool {
	s := l.d.snap.Load()
	ifs := s.Routes.Interfaces
	for i := range ifs {
		if ifs[i].MAC == mac {
			return true
		}
	}
	return s.Stations.hasMAC(mac)
}

// Source picks the port's address to ask for target from: one in target's
// subnet, else its first of that family, else the link-local one.
func (l local) Source(port int, target netip.Addr) netip.Addr {
	ifs := l.d.snap.Load().Routes.Interfaces
	if port < 0 || port >= len(ifs) {
		return netip.Addr{}
	}
	return ifs[port].SourceFor(target)
}
