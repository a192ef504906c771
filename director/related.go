package director

import (
	"net/netip"

	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// relatedIn handles an ICMP error from the client's side about a reply: it
// quotes VIP to client (ipvs.md 5.7). The connection's timer and state stay,
// and it does not matter whether its server was deleted.
func (w *Worker) relatedIn(f *link.Frame) {
	p, q := &w.p, &w.q
	if !forward.ParseQuote(p, q) {
		w.local(f)
		return
	}
	if !w.lookupQuotedIn() && !w.scheduleQuoted(f) {
		return
	}
	if !forward.ICMPChecksumOK(f, p, false) {
		w.end(DropICMPChecksum)
		return
	}
	w.countIn(w.c.Server, w.p.IPLen())
	w.transmitAs(f, true)
}

// scheduleQuoted opens a connection for the reply that the current ICMP error
// quotes, if schedule_icmp wants that, as schedule does for a packet. The quote
// needs no more than its ports; the connection's state machine hears nothing.
func (w *Worker) scheduleQuoted(f *link.Frame) bool {
	q := &w.q
	switch {
	case w.snap.Sysctls.ScheduleICMP == 0 || !balanced(q.Proto):
		w.local(f)
		return false
	case w.martian(f):
		w.end(DropMartian)
		return false
	}
	w.flow = flow{
		protocol: ipvs.Protocol(q.Proto),
		client:   netip.AddrPortFrom(q.Dst, q.DstPort),
		virtual:  netip.AddrPortFrom(q.Src, q.SrcPort),
		related:  true,
	}
	return w.scheduleFlow(f, true)
}

func (w *Worker) lookupQuotedIn() bool {
	q := &w.q
	proto, virtual, client := ends(q)
	found := w.d.Table.LookupIn(w.now, proto, client, virtual, &w.c)
	if w.recorder != nil {
		w.record(Step{Stage: StageConnection, Quoted: q, Conn: &w.c, OK: found})
	}
	return found
}

// ends are the ends by which a packet's connection is known, and its protocol.
// AH and ESP have no ports and follow the key exchange's connection (ipvs.md 2.2).
func ends(p *wire.Packet) (proto ipvs.Protocol, src, dst netip.AddrPort) {
	if p.Proto == wire.ProtoAH || p.Proto == wire.ProtoESP {
		return ipvs.UDP, netip.AddrPortFrom(p.Src, isakmpPort), netip.AddrPortFrom(p.Dst, isakmpPort)
	}
	return ipvs.Protocol(p.Proto), netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)
}

// unread passes an ICMP error on whose quote tells no connection. With
// schedule_icmp one that ends before its ports is dropped, as is a packet that
// cannot be scheduled for that.
func (w *Worker) unread(f *link.Frame) {
	q, s := &w.q, w.snap
	known := q.Version == w.p.Version && q.FragOffset == 0 && balanced(q.Proto)
	if s.Sysctls.ScheduleICMP != 0 && known && !q.Ports && !w.p.Fragment && s.active(q.Version) && !s.Standby {
		w.end(DropShortTransport)
		return
	}
	w.pass(f)
}

// relatedOut handles an ICMP error from a server, or a router behind which it
// is, about a request: it quotes client to server.
func (w *Worker) relatedOut(f *link.Frame) {
	p, q := &w.p, &w.q
	if !forward.ParseQuote(p, q) {
		w.unread(f)
		return
	}
	proto, client, server := ends(q)
	found := w.d.Table.LookupOut(w.now, proto, server, client, &w.c)
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
