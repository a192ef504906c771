package director

import (
	"net/netip"

	"usvs/arp"
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

// way is where packets for a next hop go. What every packet needs comes first,
// within a cache line.
type way struct {
	stamp uint64 // the lane's when mac was last known to be good

	// Of a way in: the server and its address.
	server *ipvs.RealServer
	real   wire.Words
	v6     bool

	usable    bool // by the fast lane: to another host, in Ethernet frames
	hasEnds   bool // ends are those of a tunnel there
	port, mtu int32
	src       uint64 // the interface's MAC, as wire.MAC's Word
	mac       uint64 // the next hop's

	next  *arp.Neighbour // nil: not known, or no fixed one
	epoch uint64         // which snapshot a way in is of
	hop   *route.Hop     // of a way out, which it is good for
	ends  forward.TunnelEnds
}

// set fills in what hop says.
func (y *way) set(w *Worker, hop *route.Hop) {
	y.usable = hop.Kind == route.Unicast && w.medium(hop.Port) == wire.Ethernet
	y.port, y.mtu, y.src = int32(hop.Port), int32(hop.MTU), w.mac(hop.Port).Word()
}

// wayTo makes y the way to a real server, and reports whether it can be taken.
// That is good until the stamp changes.
func (w *Worker) wayTo(y *way, rs *ipvs.RealServer) bool {
	if y.server != rs || y.epoch != w.lane.epoch || y.next == nil {
		w.findWayTo(y, rs)
	}
	return y.usable && w.knows(y)
}

func (w *Worker) findWayTo(y *way, rs *ipvs.RealServer) {
	hop := w.snap.Routes.Lookup(rs.ID.Addr)
	*y = way{epoch: w.lane.epoch, server: rs, real: wire.WordsOf(rs.ID.Addr), v6: !rs.ID.Addr.Is4()}
	y.set(w, &hop)
	if y.usable {
		y.hasEnds = hop.Src.IsValid() && hop.Src.Is4() != y.v6
		y.ends = forward.TunnelEnds{Src: wire.WordsOf(hop.Src), Dst: y.real, V6: y.v6}
		y.next = w.d.Neighbours.Find(hop.Port, hop.Via)
	}
}

// knows reports whether the next hop's MAC is known, and notes that the next
// hop is used.
func (w *Worker) knows(y *way) bool {
	mac, ok := w.d.Neighbours.Use(w.now, y.next)
	if !ok {
		y.next = nil
		return false
	}
	y.mac, y.stamp = mac, w.lane.stamp
	return true
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
func (w *Worker) depart(f *link.Frame, b []byte, y *way) {
	f.Port = int(y.port)
	wire.EthernetHeader(b).SetStations(y.mac, y.src)
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
