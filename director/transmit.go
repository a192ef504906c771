package director

import (
	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// The smallest MTU a tunnel may leave for the inner packet (ipvs.md 5.5).
const (
	minMTU4 = 68
	minMTU6 = 1280
)

// transmit sends a client's packet to its connection's real server: route,
// locality, TTL, MTU, then the method's rewriting (ipvs.md 5.5). Everything
// that may answer with an ICMP error comes before the rewriting, so the error
// quotes what the client sent. related says that the packet is an ICMP error
// about the connection, quoting w.q.
func (w *Worker) transmit(f *link.Frame) { w.transmitAs(f, false) }

func (w *Worker) transmitAs(f *link.Frame, related bool) {
	c, p := &w.c, &w.p
	if c.Method == ipvs.Bypass {
		w.transmitBypass(f)
		return
	}
	hop := w.snap.Routes.Lookup(c.Real.Addr())
	if w.recorder != nil {
		w.record(Step{Stage: StageRoute, Conn: c, Hop: hop})
	}
	switch {
	case c.Method == ipvs.LocalNode || hop.Kind == route.Local:
		w.transmitLocal(f, related)
		return
	case hop.Kind == route.None:
		w.refuseIn(f, localstack.HostUnreachable(), DropNoRoute)
		return
	case hop.Kind == route.Foreign:
		w.end(DropForeignRoute)
		return
	case c.Method != ipvs.Tunnel && c.Real.Addr().Is4() != p.Src.Is4():
		w.end(DropFamily)
		return
	case c.Method == ipvs.DirectRoute && w.medium(hop.Port) != wire.Ethernet:
		w.end(DropNeedsEthernet)
		return
	case p.TTL <= 1:
		w.refuseIn(f, localstack.TimeExceeded(), DropTTL)
		return
	case c.Method == ipvs.Masquerade && !related && w.untranslatable():
		w.end(DropShortTransport)
		return
	}
	forward.DecrementTTL(p)
	if c.Method == ipvs.Tunnel {
		w.transmitTunnel(f, &hop)
		return
	}
	tooBig, fragment := forward.ExceedsMTU(f, p, hop.MTU)
	if w.recorder != nil {
		w.record(Step{Stage: StageMTU, Conn: c, MTU: hop.MTU, OK: !tooBig})
	}
	if tooBig {
		w.refuseIn(f, localstack.FragNeeded(hop.MTU), DropTooBig)
		return
	}
	if c.Method == ipvs.Masquerade && !w.rewriteIn(f, related) {
		return
	}
	w.send(f, &hop, fragment)
}

// untranslatable reports whether the packet's ports can be read but its
// transport header is cut short. Its checksum cannot be made to follow, and with
// its address alone rewritten it would reach another port than its
// connection's. The kernel drops it, too.
func (w *Worker) untranslatable() bool { return w.p.Ports && !w.p.Full }

// rewriteIn reports false if the packet has met its end.
func (w *Worker) rewriteIn(f *link.Frame, related bool) bool {
	if related {
		forward.RewriteRelatedIn(f, &w.p, &w.q, w.c.Real)
		return true
	}
	if w.c.App != conntrack.AppNone && !w.helpIn(f) {
		return false
	}
	forward.RewriteDst(f, &w.p, w.c.Real)
	return true
}

// transmitLocal delivers a packet to the director's own host: no TTL or MTU
// work; NAT rewrites first.
func (w *Worker) transmitLocal(f *link.Frame, related bool) {
	c := &w.c
	if c.Method == ipvs.Masquerade {
		if c.Real.Addr().IsLoopback() {
			w.end(DropRedirectLoopback)
			return
		}
		if !related && w.untranslatable() {
			w.end(DropShortTransport)
			return
		}
		if !w.rewriteIn(f, related) {
			return
		}
	} else if w.snap.Routes.Lookup(w.p.Dst).Kind != route.Local {
		w.end(DropLocalNode)
		return
	}
	w.hand(f)
}

// transmitTunnel puts the server's outer header in front of the packet. The
// MTU is judged before, by what the tunnel leaves of the route's.
func (w *Worker) transmitTunnel(f *link.Frame, hop *route.Hop) {
	c, p := &w.c, &w.p
	if c.Server == nil {
		w.end(DropServerGone) // nobody knows the encapsulation
		return
	}
	w.tun = forward.Tunnel{Params: c.Server.Tunnel(), Src: hop.Src, Dst: c.Real.Addr()}
	outer := hop.MTU
	if learned := c.Server.PathMTU(w.now); learned != 0 && learned < outer {
		outer = learned
	}
	mtu := outer - forward.Overhead(&w.tun, f)
	if mtu < minimumMTU(&w.tun) {
		w.end(DropMTUTooSmall)
		return
	}
	tooBig, _ := forward.ExceedsMTU(f, p, mtu)
	tooBig = tooBig && (w.snap.Sysctls.PMTUDisc != 0 || p.Version == 6)
	if w.recorder != nil {
		w.record(Step{Stage: StageMTU, Conn: c, MTU: mtu, OK: !tooBig})
	}
	if tooBig {
		w.refuseIn(f, localstack.FragNeeded(mtu), DropTooBig)
		return
	}
	w.hop = *hop
	w.hop.MTU = outer
	w.waits, w.lost = false, false
	ok := true
	switch {
	case f.GSO == wire.GSONone:
		ok = w.encapsulate(f, p)
	case w.wrapWhole(f, p, mtu):
	default:
		// Each segment gets its own outer header.
		ok = forward.Segment(f, p, w.alloc, w.wrap)
	}
	w.sent(ok)
}

// wrapWhole encapsulates a super-frame and sends it along w.hop, if its
// interface takes such frames and its segments fit.
func (w *Worker) wrapWhole(f *link.Frame, p *wire.Packet, mtu int) bool {
	if w.d.wraps == nil || w.medium(w.hop.Port) != wire.Ethernet || forward.Length(f, p) > mtu ||
		!forward.Wrappable(f, p, &w.tun) || !w.d.wraps(w.hop.Port) ||
		!forward.Encapsulate(f, p, &w.tun, w.snap.Sysctls.PMTUDisc != 0, w.nextID()) {
		return false
	}
	w.ipID += uint32(f.Len() / int(f.GSOSize)) // segments count on from the first one's
	w.emit(f, &w.hop)
	return true
}

// minimumMTU is the least that a tunnel must leave of its route's MTU; the
// family that counts is the outer one's (ipvs.md 5.5).
func minimumMTU(t *forward.Tunnel) int {
	if t.Dst.Is6() {
		return minMTU6
	}
	return minMTU4
}

// encapsulate puts w.tun's outer header in front of f and sends it along w.hop.
func (w *Worker) encapsulate(f *link.Frame, p *wire.Packet) bool {
	if !forward.Encapsulate(f, p, &w.tun, w.snap.Sysctls.PMTUDisc != 0, w.nextID()) {
		return false
	}
	_, fragment := forward.ExceedsMTU(f, p, w.hop.MTU)
	return w.deliver(f, p, &w.hop, fragment)
}

// wrapSegment encapsulates one segment of a super-frame.
func (w *Worker) wrapSegment(seg *link.Frame) {
	if w.seg.Parse(seg.Bytes(), seg.Medium) != wire.None || !w.encapsulate(seg, &w.seg) {
		w.lost = true
	}
}

// cutPiece fragments one segment of a super-frame that must not leave whole.
func (w *Worker) cutPiece(seg *link.Frame) {
	if w.seg.Parse(seg.Bytes(), seg.Medium) != wire.None {
		w.lost = true
		return
	}
	_, fragment := forward.ExceedsMTU(seg, &w.seg, w.hop.MTU)
	if !w.deliver(seg, &w.seg, &w.hop, fragment) {
		w.lost = true
	}
}

// nextID returns the identification of the next packet the director makes.
// Counters that start apart, one for each worker, are unique enough: it matters
// only to packets that are fragmented later.
func (w *Worker) nextID() uint32 {
	w.ipID++
	return w.ipID
}
