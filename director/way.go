package director

import (
	"net/netip"

	"usvs/arp"
	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/route"
	"usvs/wire"
)

// A worker remembers ways for the fast lane: what the snapshot's routes say of
// where real servers and clients are. Both tables are small, and what is not
// found there is found out again.
const (
	waysIn  = 1024 // to real servers, by their numbers
	waysOut = 64   // to clients, by the range of routes they are in
)

// way is where packets for a next hop go.
type way struct {
	usable bool           // by the fast lane: to another host, in Ethernet frames
	next   *arp.Neighbour // nil: not known, or no fixed one
	src    uint64         // the interface's MAC, as wire.MAC's Word
	port   int
	mtu    int

	// Of a way in: the server, its address, and which snapshot this is of.
	server *ipvs.RealServer
	real   wire.Words
	v6     bool
	epoch  uint64

	ends    forward.TunnelEnds // of a tunnel there,
	hasEnds bool               // if the director has an address for its end

	hop *route.Hop // of a way out, which it is good for
}

// set fills in what hop says.
func (y *way) set(w *Worker, hop *route.Hop) {
	y.usable = hop.Kind == route.Unicast && w.medium(hop.Port) == wire.Ethernet
	y.port, y.mtu, y.src = hop.Port, hop.MTU, w.mac(hop.Port).Word()
}

// wayTo returns the way to the real server of h.
func (w *Worker) wayTo(h *conntrack.Hot) *way {
	y := &w.lane.in[h.Server.Index%waysIn]
	if y.server == h.Server && y.epoch == w.lane.epoch && y.next != nil {
		return y
	}
	return w.findWayTo(y, h.Server)
}

func (w *Worker) findWayTo(y *way, rs *ipvs.RealServer) *way {
	hop := w.snap.Routes.Lookup(rs.ID.Addr)
	*y = way{epoch: w.lane.epoch, server: rs, real: wire.WordsOf(rs.ID.Addr), v6: !rs.ID.Addr.Is4()}
	y.set(w, &hop)
	if y.usable {
		y.hasEnds = hop.Src.IsValid() && hop.Src.Is4() != y.v6
		y.ends = forward.TunnelEnds{Src: wire.WordsOf(hop.Src), Dst: y.real, V6: y.v6}
		y.next = w.d.Neighbours.Find(hop.Port, hop.Via)
	}
	return y
}

// leads reports whether the way leads where h wants a packet to go:
// connections may have another address than their server's.
func (y *way) leads(h *conntrack.Hot) bool {
	return y.usable && h.RealV6 == y.v6 && wire.Words(h.Real) == y.real
}

// wayBack returns the way to a packet's destination, a client.
func (w *Worker) wayBack(p *wire.Plain) *way {
	i := w.snap.Routes.Search(p.V6, p.Dst)
	y := &w.lane.out[uint(i)%waysOut]
	hop := w.snap.Routes.At(p.V6, i)
	if y.hop != hop { // of another snapshot's routes, too
		*y = way{hop: hop}
		y.set(w, hop)
	}
	switch {
	case !y.usable:
	case !hop.Via.IsValid(): // it is a neighbour itself
		y.next = w.d.Neighbours.Find(hop.Port, p.Dst.Addr(p.V6))
	case y.next == nil || y.next.Gone():
		y.next = w.d.Neighbours.Find(hop.Port, hop.Via)
	}
	return y
}

// depart sends f its way, to the next hop's MAC.
func (w *Worker) depart(f *link.Frame, b []byte, y *way, mac uint64) {
	f.Port = y.port
	wire.EthernetHeader(b).SetStations(mac, y.src)
	w.out.Tx = append(w.out.Tx, f)
	w.lane.forwarded++
	w.seen = Forwarded
}

// hopTo is the way out as the routes tell it.
func (y *way) hopTo(dst netip.Addr) route.Hop {
	hop := *y.hop
	if !hop.Via.IsValid() {
		hop.Via = dst
	}
	return hop
}
