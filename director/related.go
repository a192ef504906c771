package director

import (
	"net/netip"
	"time"

	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/wire"
)

// pathMTULife is how long a learned path MTU is believed, as net.ipv4.route.mtu_expires.
const pathMTULife = 10 * time.Minute

// codeFragNeeded of ICMP destination unreachable.
const codeFragNeeded = 4

// relatedIn handles an ICMP error from the client's side about a reply: it
// quotes VIP to client (ipvs.md 5.7). The connection's timer and state stay.
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
	if w.c.Server != nil && !w.c.Server.Available() {
		w.end(DropServerGone)
		return
	}
	w.countIn(w.c.Server)
	w.transmitAs(f, true)
}

func (w *Worker) lookupQuotedIn() bool {
	q := &w.q
	client, virtual := netip.AddrPortFrom(q.Dst, q.DstPort), netip.AddrPortFrom(q.Src, q.SrcPort)
	return w.d.Table.LookupIn(w.now, ipvs.Protocol(q.Proto), client, virtual, &w.c)
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
	if !w.d.Table.LookupOut(w.now, ipvs.Protocol(q.Proto), server, client, &w.c) {
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

// toHostItself handles a packet to one of the host's own addresses: the host
// has it already, unless it is an ICMP error about a tunnel of ours.
func (w *Worker) toHostItself(f *link.Frame) {
	if w.p.Version == 4 && len(w.snap.tunnels) > 0 && w.p.IsICMPError() && w.tunnelError(f) {
		return
	}
	w.pass(f)
}

// tunnelError passes an ICMP error about an outer packet on to the client whose
// packet was inside (ipvs.md 5.7). The quote must hold the inner header.
func (w *Worker) tunnelError(f *link.Frame) bool {
	p, outer := &w.p, &w.q
	icmp := p.Transport()
	if outer.ParseQuoted(icmp[wire.ICMPLen:], 4) != wire.None || outer.Proto != wire.ProtoIPIP || outer.Fragment && outer.FragOffset != 0 {
		return false
	}
	rs := w.snap.tunnels[outer.Dst]
	if rs == nil || rs.Tunnel().Type != ipvs.IPIP {
		return false
	}
	typ, code := icmp[0], icmp[1]
	announced := int(icmp[6])<<8 | int(icmp[7])
	inner := icmp[wire.ICMPLen+outer.L4-outer.L3:]
	if p.ParseQuoted(inner, 4) != wire.None || !p.Ports {
		return false
	}
	client, virtual := netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)
	if !w.d.Table.LookupIn(w.now, ipvs.Protocol(p.Proto), client, virtual, &w.c) {
		return false
	}
	switch {
	case typ == wire.ICMPUnreachable && code == codeFragNeeded:
		w.tunnelTooBig(f, rs, announced)
	case typ == wire.ICMPUnreachable:
		w.relay(f, localstack.Unreachable(code))
	case typ == wire.ICMPTimeExceeded:
		w.relay(f, localstack.TimeExceeded())
	default:
		w.end(DropTunnelError)
	}
	return true
}

// tunnelTooBig learns a path MTU. The client is told of the one known before:
// the kernel's cached route does not show the update yet.
func (w *Worker) tunnelTooBig(f *link.Frame, rs *ipvs.RealServer, announced int) {
	known := w.snap.Routes.Lookup(rs.ID.Addr).MTU
	if learned := rs.PathMTU(w.now); learned != 0 && learned < known {
		known = learned
	}
	if announced >= minMTU4 && announced < known {
		rs.LearnPathMTU(announced, w.now.Add(pathMTULife))
	}
	mtu := known - wire.IPv4Len
	if !w.p.V4().DF() || mtu <= minMTU4 {
		w.end(DropTunnelError)
		return
	}
	w.relay(f, localstack.FragNeeded(mtu))
}

// relay tells the client of the packet inside a tunnel, which w.p is, of an
// error about the outer one.
func (w *Worker) relay(f *link.Frame, e localstack.Error) {
	w.refuse(&link.Frame{Medium: wire.IP, Port: f.Port}, e, DropTunnelError)
}
