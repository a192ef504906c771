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
	if w.martian(f) {
		w.end(DropMartian)
		return
	}
	g := w.out.New()
	if g == nil {
		w.end(DropNoRoom)
		return
	}
	switch o := w.d.answers.Answer(w.now, w.asked(f), g); {
	case o.Answered() && !w.reply(f, g):
		w.end(DropNoRoom)
	case o.Answered():
		w.end(Answered)
	case o == localstack.Limited:
		w.end(DropRateLimited)
	case o == localstack.Silent:
		w.end(Ignored)
	default:
		w.end(DropUnanswerable)
	}
}

// martian reports whether no other host can have sent the packet, by its
// source. Linux drops such packets before IPVS sees them. Without link headers
// the host itself may be the sender.
func (w *Worker) martian(f *link.Frame) bool {
	a := w.p.Src
	switch {
	case a.IsUnspecified(), a.IsLoopback(), a.IsMulticast():
		return true
	case a.Is4() && (a.As4()[0] == 0 || a == broadcast4):
		return true
	}
	return f.Medium == wire.Ethernet && (w.snap.Owned.Has(a) || w.snap.Routes.IsLocal(a))
}

var broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// asked is the current packet as a question to the local stack.
func (w *Worker) asked(f *link.Frame) localstack.Request {
	return localstack.Request{Frame: f, Packet: &w.p, MAC: w.mac(f.Port)}
}

// reply sends an answer back to the station that asked. A large echo reply
// goes in fragments, as its request came. It reports false if there was no
// room for them.
func (w *Worker) reply(f, g *link.Frame) bool {
	mtu := w.iface(f.Port).MTU
	if w.q.Parse(g.Bytes(), g.Medium) != wire.None || mtu == 0 || w.q.IPLen() <= mtu {
		w.out.Tx = append(w.out.Tx, g)
		return true
	}
	g.FragID = w.nextID()
	return forward.Fragment(g, &w.q, mtu, w.alloc, w.Send)
}

// refuse drops the current packet for a reason its sender is told by an ICMP
// error, if the rules of ICMP allow one. w.p is what the error quotes.
//
// Where the route to the sender does not leave by one of our interfaces, the
// error goes back to the station the packet came from.
func (w *Worker) refuse(f *link.Frame, e localstack.Error, why Reason) {
	w.end(why)
	w.tell(f, e)
}

// tell sends the current packet's sender an ICMP error about it.
func (w *Worker) tell(f *link.Frame, e localstack.Error) {
	hop := w.snap.Routes.Lookup(w.p.Src)
	src := w.errorSource(&hop)
	if hop.Kind == route.None || hop.Kind == route.Foreign {
		if g, _ := w.errorAbout(f, src, e); g != nil {
			w.out.Tx = append(w.out.Tx, g)
		}
		return
	}
	w.complain(f, &hop, src, e)
}

// complain sends an ICMP error about the current packet from src along hop,
// unless that leads nowhere.
func (w *Worker) complain(f *link.Frame, hop *route.Hop, src netip.Addr, e localstack.Error) {
	if hop.Kind != route.Unicast {
		return
	}
	if g, _ := w.errorAbout(f, src, e); g != nil {
		w.emit(g, hop)
	}
}

// errorAbout makes an ICMP error about the current packet, counts it, and
// returns it with its IP packet's length; nil if there is to be none.
func (w *Worker) errorAbout(f *link.Frame, src netip.Addr, e localstack.Error) (*link.Frame, int) {
	g := w.out.New()
	if g == nil || !w.d.answers.Error(w.now, w.asked(f), src, e, g).Answered() {
		return nil, 0
	}
	n := g.Len()
	if g.Medium == wire.Ethernet {
		n -= wire.EthernetLen
	}
	w.countError(n)
	return g, n
}

// errorSource is the address an ICMP error about the current packet comes from:
// the VIP for one that was addressed to us, else the address towards its sender.
func (w *Worker) errorSource(hop *route.Hop) netip.Addr {
	p := &w.p
	if w.snap.Owned.Has(p.Dst) || w.snap.Routes.Lookup(p.Dst).Kind == route.Local {
		return p.Dst
	}
	return hop.Src
}

// countError counts an ICMP error as the kernel does: on its way out it is
// related to the connection it quotes, by the VIP, which finds every
// connection but a masqueraded one (ipvs.md 4.6).
func (w *Worker) countError(bytes int) {
	p, c := &w.p, &w.tmpl
	if w.ousted != nil { // what makes way is there until the kernel's next tick
		if w.oustedDirect {
			w.countOut(w.ousted, bytes)
		}
		return
	}
	if !p.Ports && p.Proto != wire.ProtoAH && p.Proto != wire.ProtoESP {
		return
	}
	proto, client, virtual := ends(p)
	if !w.d.Table.LookupOut(w.now, proto, virtual, client, c) || c.Method == ipvs.Masquerade {
		return
	}
	w.countOut(c.Server, bytes)
}

// pass declines a frame. If the host's own stack was kept from seeing it, or
// any fragment of it, it is handed over now.
func (w *Worker) pass(f *link.Frame) {
	if f.Hidden || w.hides() {
		w.hand(f)
		return
	}
	w.out.Pass = append(w.out.Pass, f)
	w.end(Passed)
}

func (w *Worker) hides() bool { return w.snap.Hidden.Hides(&w.p, w.snap.Routes.IsLocal) }

func (w *Worker) give(f *link.Frame) { w.out.Host = append(w.out.Host, f) }

// hand gives a frame to the host's own stack. A datagram that was put together
// from fragments is taken apart again: it need not fit the way there whole.
func (w *Worker) hand(f *link.Frame) {
	if f.FragSize == 0 || w.p.IPLen() <= f.FragSize {
		w.give(f)
	} else if !forward.Fragment(f, &w.p, f.FragSize, w.alloc, w.host) {
		w.end(DropNoRoom)
		return
	}
	w.end(Handed)
}
