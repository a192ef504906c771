package director

import (
	"usvs/forward"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// whole returns what the fragment f is to be handled as, already parsed: the
// datagram, if f is the last of it that was missing; f itself, if no datagram
// can come of it; nil, if it is kept or dropped.
func (w *Worker) whole(f *link.Frame) *link.Frame {
	if w.refusedAlone(f) {
		return nil
	}
	w.lapse()
	g := w.out.New()
	if g == nil {
		w.end(DropNoRoom)
		return nil
	}
	f.Hidden = w.hides() // what is hidden of a datagram depends on the fragment
	outcome := w.d.fragments.Add(w.now, f, &w.p, g)
	if w.recorder != nil {
		w.record(Step{Stage: StageFragment, Fragment: outcome})
	}
	switch outcome {
	case forward.Alone:
		return f
	case forward.Complete:
	default:
		w.end(Consumed)
		return nil
	}
	if w.p.Parse(g.Bytes(), g.Medium) != wire.None || w.p.Fragment {
		w.end(DropFragment)
		return nil
	}
	if !w.forwarded(g) {
		forward.MergePieces(g, &w.p)
	}
	return g
}

// refusedAlone judges a fragment of a server's IPv4 reply by its own TTL and
// length: Linux has begun to forward it when IPVS puts the datagram together.
func (w *Worker) refusedAlone(f *link.Frame) bool {
	p := &w.p
	if p.Version != 4 || !w.forwarded(f) {
		return false
	}
	hop := w.snap.Routes.Lookup(p.Dst)
	switch {
	case hop.Kind != route.Unicast:
		return false
	case p.TTL <= 1:
		w.refuse(f, localstack.TimeExceeded(), DropTTL)
		return true
	case p.V4().DF() && p.IPLen() > hop.MTU:
		w.refuse(f, localstack.FragNeeded(hop.MTU), DropTooBig)
		return true
	}
	return false
}

// forwarded reports whether the packet is, but for the director, one that the
// host forwards: a server's reply.
func (w *Worker) forwarded(f *link.Frame) bool {
	return !w.inbound(f) && w.snap.Routes.Lookup(w.p.Dst).Kind != route.Local
}

// lapse drops the datagrams whose rest did not come in time. The current packet
// stays what it is.
func (w *Worker) lapse() {
	if !w.d.fragments.Deadline().After(w.now) {
		current := w.p
		w.d.fragments.Tick(w.now, w)
		w.p = current
	}
}

// Lapsed tells the sender of a datagram's first fragment that the others did
// not come in time, unless that is for the host, which saw the fragment, too. An
// IPv4 fragment that was being forwarded had its TTL decremented before.
func (w *Worker) Lapsed(first *wire.Frame) {
	p := &w.p
	if p.Parse(first.Bytes(), first.Medium) != wire.None {
		return
	}
	if w.snap.Hidden != nil && !first.Hidden && !w.snap.answersFor(p.Dst) {
		return
	}
	if p.Version == 4 {
		p.End -= (p.End - p.L4) % 8 // what was ignored is not quoted
		if w.forwarded(first) {
			forward.DecrementTTL(p)
		}
	}
	w.tell(first, localstack.ReassemblyTimeExceeded())
}
