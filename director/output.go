package director

import (
	"net/netip"

	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// output handles a packet that is not for a virtual service: perhaps a real
// server's answer on its way to a client (ipvs.md 5.6).
func (w *Worker) output(f *link.Frame) {
	p := &w.p
	if w.recorder != nil {
		w.record(Step{Stage: StageOutput, Mark: f.Mark})
	}
	switch {
	case p.IsICMPError():
		w.relatedOut(f)
		return
	case p.Proto == wire.ProtoAH || p.Proto == wire.ProtoESP:
		if !w.lookupOut(ipvs.UDP, isakmpPort, isakmpPort) {
			w.pass(f)
			return
		}
	case !balanced(p.Proto) || !p.Ports:
		w.pass(f)
		return
	case !w.lookupOut(ipvs.Protocol(p.Proto), p.SrcPort, p.DstPort) && !w.originate(f):
		w.outputStray(f)
		return
	}
	if w.c.Method != ipvs.Masquerade {
		w.noteOutput()
		w.pass(f)
		return
	}
	w.masquerade(f, false)
}

func (w *Worker) lookupOut(proto ipvs.Protocol, sport, cport uint16) bool {
	p := &w.p
	found := w.d.Table.LookupOut(w.now, proto, netip.AddrPortFrom(p.Src, sport), netip.AddrPortFrom(p.Dst, cport), &w.c)
	if w.recorder != nil {
		w.recordConn(conntrack.DirOut, found)
	}
	return found
}

func (w *Worker) noteOutput() {
	w.countOut(w.c.Server, w.p.IPLen())
	w.d.Table.Packet(w.now, &w.c, conntrack.DirOut, w.event())
}

// masquerade sends a server's packet to the client in the virtual service's
// name. As in plain forwarding, TTL and MTU are judged before the source is
// rewritten, and their errors go to the server.
func (w *Worker) masquerade(f *link.Frame, related bool) {
	p, c := &w.p, &w.c
	hop := w.snap.Routes.Lookup(p.Dst)
	if w.recorder != nil {
		w.record(Step{Stage: StageRoute, Dir: conntrack.DirOut, Conn: c, Hop: hop})
	}
	switch {
	case forward.SourceRouted(p):
		w.end(DropMartian)
		return
	case hop.Kind == route.None:
		w.refuse(f, localstack.HostUnreachable(), DropNoRoute)
		return
	case hop.Kind != route.Unicast:
		w.end(DropForeignRoute)
		return
	case p.TTL <= 1:
		w.refuse(f, localstack.TimeExceeded(), DropTTL)
		return
	case !related && w.untranslatable():
		w.end(DropShortTransport)
		return
	}
	tooBig, fragment := w.tooBigToForward(f, hop.MTU)
	if w.recorder != nil {
		w.record(Step{Stage: StageMTU, Dir: conntrack.DirOut, Conn: c, MTU: hop.MTU, OK: !tooBig})
	}
	if tooBig {
		w.refuse(f, localstack.FragNeeded(hop.MTU), DropTooBig)
		return
	}
	forward.DecrementTTL(p)
	if related {
		w.countOut(c.Server, p.IPLen())
		forward.RewriteRelatedOut(f, p, &w.q, c.Virtual)
	} else {
		if c.App != conntrack.AppNone {
			if f, fragment = w.helpOut(f, hop.MTU); f == nil {
				return
			}
		}
		w.noteOutput()
		forward.RewriteSrc(f, p, c.Virtual)
	}
	w.send(f, &hop, fragment)
}

// outputStray handles a packet without a connection: with nat_icmp_send, one
// from a masquerading server is refused; everything else is the host's.
func (w *Worker) outputStray(f *link.Frame) {
	p := &w.p
	if w.snap.Sysctls.NATICMPSend == 0 || w.resets() ||
		w.snap.serverAt(ipvs.Protocol(p.Proto), p.Src, p.SrcPort) == nil {
		w.pass(f)
		return
	}
	if p.TTL <= 1 {
		w.refuse(f, localstack.TimeExceeded(), DropTTL)
		return
	}
	mtu := w.snap.Routes.Lookup(p.Dst).MTU
	if tooBig, _ := w.tooBigToForward(f, mtu); tooBig && mtu != 0 && (p.Version == 6 || f.FragSize == 0) {
		w.refuse(f, localstack.FragNeeded(mtu), DropTooBig) // of an IPv4 datagram each fragment was judged
		return
	}
	forward.DecrementTTL(p)
	w.refuse(f, localstack.PortUnreachable(), DropNoConnection)
}

// tooBigToForward is ExceedsMTU as plain forwarding has it: an IPv6 datagram that
// fits is not too big, however long its fragments were.
func (w *Worker) tooBigToForward(f *link.Frame, mtu int) (tooBig, fragment bool) {
	tooBig, fragment = forward.ExceedsMTU(f, &w.p, mtu)
	return tooBig && w.p.IPLen() > mtu, fragment
}

// resets reports whether the packet ends a connection by force.
func (w *Worker) resets() bool {
	p := &w.p
	if p.Proto == wire.ProtoTCP {
		return p.TCPFlags&wire.FlagRST != 0
	}
	return p.Proto == wire.ProtoSCTP && w.chunk() == sctpAbort
}
