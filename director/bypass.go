package director

import (
	"net/netip"

	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
)

// mayBypass reports whether a packet for which no server is available may go on
// to where it was going: a fwmark service took it, and it is for another host
// (cache_bypass, ipvs.md 5.4). Whether an IPv6 packet is, the kernel finds out
// later, when it cannot help dropping it.
func (w *Worker) mayBypass(id *ipvs.ServiceID) bool {
	dst := w.flow.virtual.Addr()
	return id.Mark != 0 && !w.flow.related && !dst.IsMulticast() && dst != broadcast4 && (dst.Is6() || !w.forHost(dst))
}

// forHost reports whether a packet to that address ends here.
func (w *Worker) forHost(dst netip.Addr) bool {
	return w.snap.Owned.Has(dst) || w.snap.Routes.Lookup(dst).Kind == route.Local
}

// bypass opens a connection without a server and sends its first packet on.
// The connection is counted nowhere.
func (w *Worker) bypass(f *link.Frame, svc *Service) {
	n := &w.fresh
	*n = conntrack.Spec{
		Protocol: w.flow.protocol, Client: w.flow.client, Virtual: w.flow.virtual,
		Real: nowhere(w.p.Version), Method: ipvs.Bypass, Mark: f.Mark, Worker: uint8(w.number),
	}
	ok := true
	if w.onePacket(svc) {
		w.c = passing(n)
	} else {
		ok = w.d.Table.Insert(w.now, n, &w.c) != conntrack.Full
	}
	if w.recorder != nil {
		w.record(Step{Stage: StageBypass, Service: svc, Conn: &w.c, OK: ok})
	}
	if !ok {
		w.end(DropTableFull)
		return
	}
	w.forwardIn(f, w.event(), false)
}

// nowhere is a bypass connection's real server.
func nowhere(version uint8) netip.AddrPort {
	if version == 6 {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

// transmitBypass sends a packet on as a router would.
func (w *Worker) transmitBypass(f *link.Frame) {
	p := &w.p
	hop := w.snap.Routes.Lookup(p.Dst)
	if w.recorder != nil {
		w.record(Step{Stage: StageRoute, Conn: &w.c, Hop: hop})
	}
	switch {
	case w.forHost(p.Dst):
		w.end(DropBypassLocal)
		return
	case hop.Kind == route.None:
		w.refuseIn(f, localstack.HostUnreachable(), DropNoRoute)
		return
	case hop.Kind == route.Foreign:
		w.end(DropForeignRoute)
		return
	case p.TTL <= 1:
		w.refuseIn(f, localstack.TimeExceeded(), DropTTL)
		return
	}
	forward.DecrementTTL(p)
	tooBig, fragment := forward.ExceedsMTU(f, p, hop.MTU)
	if w.recorder != nil {
		w.record(Step{Stage: StageMTU, Conn: &w.c, MTU: hop.MTU, OK: !tooBig})
	}
	if tooBig {
		w.refuseIn(f, localstack.FragNeeded(hop.MTU), DropTooBig)
		return
	}
	w.send(f, &hop, fragment)
}

// refuseIn is refuse for a client's packet. It is silent if that is an IPv4 one
// for an address that is not ours, which only its mark led here: the error would
// have to come from there, and the kernel sends none either.
func (w *Worker) refuseIn(f *link.Frame, e localstack.Error, why Reason) {
	if w.p.Version == 6 || w.forHost(w.p.Dst) {
		w.refuse(f, e, why)
		return
	}
	w.end(why)
}
