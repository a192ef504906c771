package director

import (
	"usvs/clock"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
)

// HandleSent takes packets that the host's own stack is about to send, as
// netfilter's hook LOCAL_OUT would see them (ipvs.md 5.1): perhaps answers of a
// real server on the director itself. They are counted, advance their
// connection, and get the virtual service's name where NAT gave them the
// server's. All come back in out.Pass, to be routed and sent by the host.
func (w *Worker) HandleSent(now clock.Instant, batch []*link.Frame, out *link.Output) {
	w.begin(now, out)
	for _, f := range batch {
		w.sentByHost(f)
		w.out.Pass = append(w.out.Pass, f)
		w.end(Passed)
	}
	w.settle()
}

func (w *Worker) sentByHost(f *link.Frame) {
	p := &w.p
	if p.Parse(f.Bytes(), f.Medium) != 0 || p.Fragment || !w.snap.active(p.Version) {
		return
	}
	switch {
	case p.IsICMPError():
		w.errorByHost(f)
	case !balanced(p.Proto) || !p.Ports || w.untranslatable():
	case w.lookupOut(ipvs.Protocol(p.Proto), p.SrcPort, p.DstPort):
		w.noteOutput()
		if w.c.Method == ipvs.Masquerade {
			forward.RewriteSrc(f, p, w.c.Virtual)
		}
	}
}

// errorByHost handles an ICMP error of the host's about a client's request.
func (w *Worker) errorByHost(f *link.Frame) {
	p, q := &w.p, &w.q
	if !forward.ParseQuote(p, q) {
		return
	}
	proto, client, server := ends(q)
	if !w.d.Table.LookupOut(w.now, proto, server, client, &w.c) {
		return
	}
	w.countOut(w.c.Server, p.IPLen())
	if w.c.Method == ipvs.Masquerade {
		forward.RewriteRelatedOut(f, p, q, w.c.Virtual)
	}
}
