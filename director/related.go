package director

import (
	"net/netip"

	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
)

// relatedIn handles an ICMP error from the client's side about a reply: it
// quotes VIP to client (ipvs.md 5.7). The connection's timer and state stay,
// and it does not matter whether its server was deleted.
func (w *Worker) relatedIn(f *link.Frame) {
	p, q := &w.p, &w.q
	if !forward.ParseQuote(p, q) || !w.lookupQuotedIn() {
		w.local(f)
		return
	}
	if !forward.ICMPChecksumOK(f, p, false) {
		w.end(DropICMPChecksum)
		return
	}
	if w.c.Server == nil {
		w.end(DropServerGone)
		return
	}
	w.countIn(w.c.Server, w.p.IPLen())
	w.transmitAs(f, true)
}

func (w *Worker) lookupQuotedIn() bool {
	q := &w.q
	client, virtual := netip.AddrPortFrom(q.Dst, q.DstPort), netip.AddrPortFrom(q.Src, q.SrcPort)
	found := w.d.Table.LookupIn(w.now, ipvs.Protocol(q.Proto), client, virtual, &w.c)
	if w.recorder != nil {
		w.record(Step{Stage: StageConnection, Quoted: q, Conn: &w.c, OK: found})
	}
	return found
}

// relatedOut handles an ICMP error from a server, or a router behind which it
// is, about a request: it quotes client to server.
func (w *Worker) relatedOut(f *link.Frame) {
	p, q := &w.p, &w.q
	if !forward.ParseQuote(p, q) {
		w.pass(f)
		return
	}
	server, client := netip.AddrPortFrom(q.Dst, q.DstPort), netip.AddrPortFrom(q.Src, q.SrcPort)
	found := w.d.Table.LookupOut(w.now, ipvs.Protocol(q.Proto), server, client, &w.c)
	if w.recorder != nil {
		w.record(Step{Stage: StageConnection, Dir: conntrack.DirOut, Quoted: q, Conn: &w.c, OK: found})
	}
	if !found {
		w.pass(f)
		return
	}
	if w.c.Method != ipvs.Masquerade {
		w.countOut(w.c.Server, p.IPLen())
		w.pass(f)
		return
	}
	if !forward.ICMPChecksumOK(f, p, true) {
		w.end(DropICMPChecksum)
		return
	}
	w.masquerade(f, true)
}
