package director

import (
	"net/netip"

	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// isakmpPort is the UDP port AH and ESP packets are looked up by (ipvs.md 2.2).
const isakmpPort = 500

// input handles a packet to a virtual service's address (ipvs.md 5.2).
func (w *Worker) input(f *link.Frame) {
	p, s := &w.p, w.snap
	if w.recorder != nil {
		w.record(Step{Stage: StageInput, Mark: f.Mark, OK: !s.Owned.Has(p.Dst)})
	}
	if p.Version == 4 && p.L4-p.L3 > wire.IPv4Len { // as the host's stack does on receipt
		if forward.SourceRouted(p) {
			w.end(DropMartian)
			return
		}
		forward.RecordRoute(p, p.Dst)
	}
	switch {
	case !s.active(p.Version), s.Standby:
		w.local(f)
		return
	case p.IsICMPError():
		w.relatedIn(f)
		return
	case p.Proto == wire.ProtoAH || p.Proto == wire.ProtoESP:
		w.inputIPsec(f)
		return
	case !balanced(p.Proto), p.FragOffset != 0:
		w.local(f)
		return
	case !p.Ports:
		w.end(DropShortTransport)
		return
	}
	ev := w.event()
	if w.lookupIn(ipvs.Protocol(p.Proto), p.SrcPort, p.DstPort) {
		w.forwardIn(f, ev, false)
		return
	}
	ok := w.schedule(f, ev)
	w.forget()
	if ok {
		w.forwardIn(f, ev, w.flow.counted)
	}
}

func (w *Worker) inputIPsec(f *link.Frame) {
	if !w.lookupIn(ipvs.UDP, isakmpPort, isakmpPort) {
		w.forget()
		w.local(f)
		return
	}
	w.forwardIn(f, conntrack.EventNone, false)
}

// lookupIn finds the packet's connection. One that must make way for a new one
// is expired and not found; w.c holds the connection found.
func (w *Worker) lookupIn(proto ipvs.Protocol, cport, vport uint16) bool {
	p := &w.p
	c := &w.c
	found := w.d.Table.LookupIn(w.now, proto, netip.AddrPortFrom(p.Src, cport), netip.AddrPortFrom(p.Dst, vport), c)
	if w.recorder != nil {
		w.recordConn(conntrack.DirIn, found)
	}
	if !found {
		return false
	}
	if w.opens() && w.mustReschedule() || c.Server != nil && !c.Server.Available() && w.snap.Sysctls.ExpireNodestConn != 0 {
		if w.recorder != nil {
			w.record(Step{Stage: StageReuse, Conn: c})
		}
		w.oust()
		return false
	}
	return true
}

// oust ends the connection found, which makes way for a new one. Its server
// counts it until that one was scheduled: the kernel takes it out by a timer. If
// it stays, for what it controls, the new one will be this one.
func (w *Worker) oust() {
	rs, active := w.c.Server, w.c.Flags&conntrack.FlagInactive == 0
	if rs != nil {
		rs.Keep(active)
		w.ousted, w.oustedActive, w.oustedDirect = rs, active, w.c.Method != ipvs.Masquerade
	}
	w.d.Table.Expire(w.now, w.c.Ref)
}

// forget takes back what oust left counted.
func (w *Worker) forget() {
	if w.ousted != nil {
		w.ousted.Unbind(w.oustedActive)
		w.ousted = nil
	}
}

// opens reports whether the packet is a connection's first: TCP with SYN, or
// SCTP INIT.
func (w *Worker) opens() bool {
	p := &w.p
	switch p.Proto {
	case wire.ProtoTCP:
		return p.TCPFlags&wire.FlagSYN != 0
	case wire.ProtoSCTP:
		return w.chunk() == sctpInit
	}
	return false
}

// SCTP chunk types, and what chunk returns if there is none.
const (
	sctpInit  = 1
	sctpAbort = 6
	sctpNone  = -1
)

// chunk is the type of an SCTP packet's first chunk, if its header is there.
func (w *Worker) chunk() int {
	const chunkHeaderLen = 4
	if t := w.p.Transport(); len(t) >= wire.SCTPLen+chunkHeaderLen {
		return int(t[wire.SCTPLen])
	}
	return sctpNone
}

// mustReschedule decides whether a first packet ends the connection it belongs
// to (ipvs.md 2.7).
func (w *Worker) mustReschedule() bool {
	c, sy := &w.c, &w.snap.Sysctls
	if sy.ExpireNodestConn != 0 && c.Server != nil && c.Server.Weight() == 0 {
		return true
	}
	if sy.ConnReuseMode == 0 || c.Control != (conntrack.Ref{}) {
		return false
	}
	return conntrack.Reusable(c, sy.ConnReuseMode)
}

// forwardIn counts a client's packet, advances its connection, unless that has
// counted it already, and transmits it.
func (w *Worker) forwardIn(f *link.Frame, ev conntrack.Event, counted bool) {
	c := &w.c
	if c.Server != nil && !c.Server.Available() {
		w.end(DropServerGone) // connection kept, timer not restarted (ipvs.md 2.8)
		return
	}
	if c.Flags&conntrack.FlagNoCPort != 0 && !w.fillPort() {
		return
	}
	w.countIn(c.Server, w.p.IPLen())
	alive := counted || w.d.Table.Packet(w.now, c, conntrack.DirIn, ev)
	if !w.carryFirst(f) {
		w.transmit(f)
	}
	once := c.Flags&conntrack.FlagOnePacket != 0
	switch m := w.d.master.Load(); {
	case m != nil && (alive || once):
		m.Packet(w.now, &w.snap.Sysctls, c, &w.tmpl)
	case m == nil && once:
		w.d.Table.Count(c.Control) // a master does that, too
	}
}

// event is what the packet tells the connection's state machine. A TCP header
// that cannot be read in full tells nothing.
func (w *Worker) event() conntrack.Event {
	p := &w.p
	if p.Version == 6 && p.L4 != p.L3+wire.IPv6Len && p.Proto != wire.ProtoUDP {
		return w.misreadEvent()
	}
	switch p.Proto {
	case wire.ProtoTCP:
		if p.Full {
			return conntrack.TCPEvent(p.TCPFlags)
		}
	case wire.ProtoSCTP:
		if p.Full {
			return conntrack.SCTPEvent(p.Transport()[wire.SCTPLen:])
		}
	case wire.ProtoUDP:
		return conntrack.EventUDP
	}
	return conntrack.EventNone
}

// misreadEvent is event for an IPv6 packet with extension headers: Linux's state
// machines read flags and chunks as if there were none.
func (w *Worker) misreadEvent() conntrack.Event {
	const flagsAt = 13
	p := &w.p
	b := p.Data[p.L3+wire.IPv6Len : p.End]
	switch {
	case p.Proto == wire.ProtoTCP && len(b) >= wire.TCPLen:
		return conntrack.TCPEvent(b[flagsAt])
	case p.Proto == wire.ProtoSCTP && len(b) >= wire.SCTPLen:
		return conntrack.SCTPEvent(b[wire.SCTPLen:])
	}
	return conntrack.EventNone
}

func balanced(proto uint8) bool {
	return proto == wire.ProtoTCP || proto == wire.ProtoUDP || proto == wire.ProtoSCTP
}
