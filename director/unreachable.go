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

// Unreachable tells the sender of a frame that waited in vain for its next
// hop's MAC. By then the frame looked as it was to leave. As in the kernel, the
// ICMP error is made about that, and is then related to the connection like any
// other (ipvs.md 5.7).
func (w *Worker) Unreachable(f *wire.Frame) {
	w.end(DropNeighbour)
	p := &w.p
	switch {
	case p.Parse(f.Bytes(), f.Medium) != wire.None || p.Version == 0:
	case p.Ports && w.waitedForServer():
		w.serverUnreachable(f)
	case p.Ports && w.waitedForClient():
		w.clientUnreachable(f)
	case w.snap.Routes.IsLocal(p.Src):
		w.tunnelUnreachable(f)
	case w.snap.Owned.Has(p.Src), w.snap.servers.Has(Endpoint{Addr: p.Dst}):
		// Rewritten, and there is no telling from what.
	default:
		hop := w.snap.Routes.Lookup(p.Src)
		w.complain(f, &hop, hop.Src, localstack.HostUnreachable())
	}
}

// waitedForServer reports whether the current packet is a client's, rewritten
// for its real server; w.c is the connection.
func (w *Worker) waitedForServer() bool {
	p := &w.p
	server, client := netip.AddrPortFrom(p.Dst, p.DstPort), netip.AddrPortFrom(p.Src, p.SrcPort)
	return w.d.Table.LookupOut(w.now, ipvs.Protocol(p.Proto), server, client, &w.c) && w.c.Method == ipvs.Masquerade
}

// waitedForClient reports whether the current packet is a real server's,
// rewritten for its client; w.c is the connection.
func (w *Worker) waitedForClient() bool {
	p := &w.p
	client, virtual := netip.AddrPortFrom(p.Dst, p.DstPort), netip.AddrPortFrom(p.Src, p.SrcPort)
	return w.d.Table.LookupIn(w.now, ipvs.Protocol(p.Proto), client, virtual, &w.c) && w.c.Method == ipvs.Masquerade
}

// serverUnreachable tells a client, in the virtual service's name.
func (w *Worker) serverUnreachable(f *link.Frame) {
	hop := w.snap.Routes.Lookup(w.p.Src)
	g, n := w.unreachable(f, hop.Src, &hop)
	if g == nil {
		return
	}
	forward.RewriteRelatedOut(g, &w.p, &w.q, w.c.Virtual)
	w.countOut(w.c.Server, n)
	w.emit(g, &hop)
}

// clientUnreachable tells a real server, to which it forwards what the virtual
// service would have been told.
func (w *Worker) clientUnreachable(f *link.Frame) {
	hop := w.snap.Routes.Lookup(w.c.Real.Addr())
	g, n := w.unreachable(f, w.c.Virtual.Addr(), &hop)
	if g == nil {
		return
	}
	forward.DecrementTTL(&w.p)
	forward.RewriteRelatedIn(g, &w.p, &w.q, w.c.Real)
	w.countIn(w.c.Server, n)
	w.emit(g, &hop)
}

// unreachable makes the error about the current packet, and makes the error the
// current packet, with its quote in w.q.
func (w *Worker) unreachable(f *link.Frame, src netip.Addr, hop *route.Hop) (*link.Frame, int) {
	if hop.Kind != route.Unicast {
		return nil, 0
	}
	g, n := w.errorAbout(f, src, localstack.HostUnreachable())
	if g == nil || w.p.Parse(g.Bytes(), g.Medium) != wire.None || !forward.ParseQuote(&w.p, &w.q) {
		return nil, 0
	}
	return g, n
}

// tunnelUnreachable handles an outer packet: nobody but the client whose packet
// is inside wants to know.
func (w *Worker) tunnelUnreachable(f *link.Frame) {
	if w.tunnelled(&w.p) != nil {
		w.p = w.seg
		w.relay(f, localstack.HostUnreachable())
	}
}
