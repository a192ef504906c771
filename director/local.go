package director

import (
	"net/netip"

	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// local ends a packet to a virtual service's address that no service takes:
// where the host carries the address, its own stack has the say; elsewhere the
// director answers as a host without listeners would.
func (w *Worker) local(f *link.Frame) {
	if !w.snap.answersFor(w.p.Dst) {
		w.pass(f)
		return
	}
	g := w.out.New()
	if g == nil {
		w.end(DropNoRoom)
		return
	}
	switch o := w.d.answers.Answer(w.now, w.asked(f), g); {
	case o.Answered():
		w.reply(f, g)
		w.end(Answered)
	case o == localstack.Limited:
		w.end(DropRateLimited)
	case o == localstack.Silent:
		w.end(Ignored)
	default:
		w.end(DropUnanswerable)
	}
}

// asked is the current packet as a question to the local stack.
func (w *Worker) asked(f *link.Frame) localstack.Request {
	return localstack.Request{Frame: f, Packet: &w.p, MAC: w.mac(f.Port)}
}

// reply sends an answer back to the station that asked. A large echo reply
// goes in fragments, as its request came.
func (w *Worker) reply(f, g *link.Frame) {
	mtu := w.iface(f.Port).MTU
	if w.q.Parse(g.Bytes(), g.Medium) != wire.None || mtu == 0 || w.q.IPLen() <= mtu {
		w.out.Tx = append(w.out.Tx, g)
		return
	}
	forward.Fragment(g, &w.q, mtu, w.alloc, w.Send)
}

// refuse drops the current packet for a reason its sender is told by an ICMP
// error, if the rules of ICMP allow one. w.p is what the error quotes.
func (w *Worker) refuse(f *link.Frame, e localstack.Error, why Reason) {
	w.end(why)
	g := w.out.New()
	if g == nil {
		return
	}
	p := &w.p
	hop := w.snap.Routes.Lookup(p.Src)
	if !w.d.answers.Error(w.now, w.asked(f), w.errorSource(&hop), e, g).Answered() {
		return
	}
	w.countError(g)
	if hop.Kind != route.Unicast {
		w.out.Tx = append(w.out.Tx, g)
		return
	}
	w.emit(g, &hop)
}

// errorSource is the address an ICMP error about the current packet comes from:
// the VIP for one that was addressed to us, else the address towards its sender.
func (w *Worker) errorSource(hop *route.Hop) netip.Addr {
	p := &w.p
	if w.snap.owned.has(p.Dst) || w.snap.Routes.Lookup(p.Dst).Kind == route.Local {
		return p.Dst
	}
	return hop.Src
}

// countError counts an ICMP error as the kernel does: on its way out it is
// related to the connection it quotes, by the VIP, which finds every
// connection but a masqueraded one (ipvs.md 4.6).
func (w *Worker) countError(g *link.Frame) {
	p, c := &w.p, &w.tmpl
	if !p.Ports {
		return
	}
	virtual, client := netip.AddrPortFrom(p.Dst, p.DstPort), netip.AddrPortFrom(p.Src, p.SrcPort)
	if !w.d.Table.LookupOut(w.now, ipvs.Protocol(p.Proto), virtual, client, c) || c.Method == ipvs.Masquerade {
		return
	}
	n := g.Len()
	if g.Medium == wire.Ethernet {
		n -= wire.EthernetLen
	}
	w.countOut(c.Server, n)
}

// pass declines a frame. If the host's own stack was kept from seeing it, it
// is handed over now.
func (w *Worker) pass(f *link.Frame) {
	if w.snap.Hidden.Hides(&w.p, w.snap.Routes.IsLocal) {
		w.hand(f)
		return
	}
	w.out.Pass = append(w.out.Pass, f)
	w.end(Passed)
}

// hand gives a frame to the host's own stack.
func (w *Worker) hand(f *link.Frame) {
	w.out.Host = append(w.out.Host, f)
	w.end(Handed)
}
