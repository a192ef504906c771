package director

import (
	"net/netip"

	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// The fast lane is for what nearly all frames are: plain packets (wire.Plain) of
// established connections whose next hop is known. It looks at a batch at once,
// so that all of it waits for memory together:
//
//	survey   parses headers and aims a probe for each frame that may qualify
//	Touch    has the table bring what the probes will read
//	then, frame by frame and in order, toServer or toClient
//
// It does to a frame exactly what Worker.frame does, or nothing. Whatever is not
// plain is left to frame in its place in the order. These conditions hold by
// construction:
//
//   - Nobody asks why (recorder, observers), no synchronisation master listens,
//     no mark rules are in force for the family; the frame has no mark.
//   - The director is active for the family and, for clients' packets, not on
//     standby.
//   - The packet is no fragment, needs neither options nor extension headers
//     read, is whole, and its TTL is above 1.
//   - It is no SYN of a client's: those may end a connection for a new one. But
//     what looking for it will read is touched with the others'.
//   - Its connection is in the table and alive, has a server that is available,
//     no helper, controls no other, and does not change its state: that is
//     conntrack's Hit. So there is nothing to schedule, expect or expire.
//   - Its server, or client, is another host, in the family of the packet, by an
//     Ethernet interface; the packet fits that way's MTU.
//
// Hit is the point of no return: the packet is counted and its connection's
// timer restarted. What turns out unusual after that, a next hop to be asked
// for, another forwarding method, is finished by finishIn or finishOut, which
// enter the general way behind that point.
//
// A plain packet that Hit leaves alone, the first of a connection or one that
// changes its state, enters the general way in input or ip, with what survey
// found; and to its server it goes by the lane again (carry).
type lane struct {
	off   bool // frames go the general way: a test compares
	snap  *Snapshot
	epoch uint64 // counts snapshots seen
	stamp uint64 // counts batches, and frames that went the general way

	// What snap says, by family: IPv4, IPv6.
	input, output [2]bool // packets of clients, of servers may qualify

	port    int    // of the last frame that was looked at,
	station uint64 // and its MAC

	frames [link.BatchSize]glance
	probes [link.BatchSize]conntrack.Probe // of those that are to meet a connection
	hot    conntrack.Hot

	in    [waysIn]way
	out   [waysOut]way
	owned [ownedSlots]ownedAddr

	forwarded, others int // frames that ended so, of the batch
	left              int // frames of the batch that went the general way
	openings          int // probes of frames that may be a connection's first
}

// glance is what survey made of a frame.
type glance struct {
	kind  kind
	plain wire.Plain
}

type kind uint8

const (
	general kind = iota // not for the fast lane
	foreign             // for another station
	request             // from a client: perhaps of a connection
	reply               // from a server: perhaps of a connection
	opening             // from a client: perhaps a connection's first, which is only to be looked for
)

// takeLane handles a batch and reports whether all of it went by the fast lane,
// which leaves timers alone.
func (w *Worker) takeLane(batch []*link.Frame) bool {
	w.lane.left = 0
	for ; len(batch) > link.BatchSize; batch = batch[link.BatchSize:] {
		w.laneBatch(batch[:link.BatchSize])
	}
	w.laneBatch(batch)
	return w.lane.left == 0
}

// laneBatch handles at most link.BatchSize frames.
func (w *Worker) laneBatch(batch []*link.Frame) {
	l := &w.lane
	probes := l.probes[:w.survey(batch)]
	w.d.Table.Touch(probes)
	if l.openings > 1 {
		w.d.Table.TouchFree(w.number, probes)
	}
	l.stamp++
	n := 0
	for i, f := range batch {
		g := &l.frames[i]
		done := false
		switch g.kind {
		case foreign:
			w.out.Pass = append(w.out.Pass, f)
			l.others++
			w.seen, done = NotForUs, true
		case request:
			done = w.toServer(f, &g.plain, &l.probes[n])
			n++
		case reply:
			done = w.toClient(f, &g.plain, &l.probes[n])
			n++
		case opening:
			n++
		}
		if !done {
			l.left++
			w.leaveLane(f, g)
		}
	}
	l.settle(&w.count)
}

// leaveLane has a frame go the general way, from as far as the lane knows that
// it would get.
func (w *Worker) leaveLane(f *link.Frame, g *glance) {
	l := &w.lane
	if g.kind == general {
		w.frame(f)
		l.stamp++
		return
	}
	forwarded := l.forwarded
	w.p.SetPlain(f.Bytes(), &g.plain)
	f.Truncate(w.p.End)
	if g.kind == reply {
		w.outbound(f, false)
	} else {
		w.plain = &g.plain
		w.input(f)
		w.plain = nil
	}
	if l.forwarded == forwarded { // else it has met no neighbour but a way's
		l.stamp++
	}
}

// laneOpen reports whether there is a fast lane at all for this batch.
func (w *Worker) laneOpen() bool {
	l := &w.lane
	if l.off || w.recorder != nil || w.d.master.Load() != nil {
		return false
	}
	if l.snap != w.snap {
		l.follow(w.snap)
	}
	return true
}

// follow makes the lane one of another snapshot.
func (l *lane) follow(s *Snapshot) {
	l.snap = s
	l.epoch++
	l.output = [2]bool{s.active(4) && s.Marks4 == nil, s.active(6) && s.Marks6 == nil}
	l.input = [2]bool{l.output[0] && !s.Standby, l.output[1] && !s.Standby}
	l.owned = [ownedSlots]ownedAddr{}
}

// survey decides which frames may qualify, and aims their probes. It returns
// how many those are.
func (w *Worker) survey(batch []*link.Frame) int {
	l := &w.lane
	n := 0
	l.openings, l.port = 0, -1
	for i, f := range batch {
		if w.glimpse(f, &l.frames[i], &l.probes[n]) {
			n++
		}
	}
	return n
}

// glimpse reports whether a frame is to meet a connection, and has aimed its
// probe then.
func (w *Worker) glimpse(f *link.Frame, g *glance, probe *conntrack.Probe) bool {
	l, p, b := &w.lane, &g.plain, f.Bytes()
	g.kind = general
	if f.Medium != wire.Ethernet || f.FragSize != 0 || f.Mark != 0 || !p.Parse(b) {
		return false
	}
	if f.Port != l.port {
		l.port, l.station = f.Port, w.mac(f.Port).Word()
	}
	if eth := wire.EthernetHeader(b); eth.DstWord() != l.station && !w.virtual(f.Port, eth.Dst()) {
		g.kind = foreign
		return false
	}
	if l.known(p) {
		g.kind = request
		if !p.V6 {
			w.d.Table.AimIn4(probe, p.Proto, uint32(p.Src.Lo), uint32(p.Dst.Lo), p.SrcPort, p.DstPort)
			return true
		}
	} else if g.kind = w.direction(p); g.kind == general {
		return false
	}
	w.aim(p, probe, g.kind)
	return true
}

// known reports whether the packet is one to an address that is known to be owned,
// and may be of a connection.
func (l *lane) known(p *wire.Plain) bool {
	k := l.slot(p)
	return k.addr == p.Dst && k.v6 == p.V6 && k.open && p.TTL > 1 && p.TCPFlags&wire.FlagSYN == 0
}

// direction reports what the packet may be to a connection.
func (w *Worker) direction(p *wire.Plain) kind {
	l, family := &w.lane, 0
	if p.V6 {
		family = 1
	}
	switch {
	case p.TTL <= 1:
		return general
	case !w.owns(p, family):
		if l.output[family] {
			return reply
		}
	case !l.input[family]:
	case p.TCPFlags&wire.FlagSYN != 0:
		l.openings++
		return opening
	default:
		return request
	}
	return general
}

func (w *Worker) aim(p *wire.Plain, probe *conntrack.Probe, k kind) {
	t := w.d.Table
	switch {
	case k != reply && p.V6:
		t.AimIn6(probe, p.Proto, conntrack.Words(p.Src), conntrack.Words(p.Dst), p.SrcPort, p.DstPort)
	case k != reply:
		t.AimIn4(probe, p.Proto, uint32(p.Src.Lo), uint32(p.Dst.Lo), p.SrcPort, p.DstPort)
	case p.V6:
		t.AimOut6(probe, p.Proto, conntrack.Words(p.Src), conntrack.Words(p.Dst), p.SrcPort, p.DstPort)
	default:
		t.AimOut4(probe, p.Proto, uint32(p.Src.Lo), uint32(p.Dst.Lo), p.SrcPort, p.DstPort)
	}
}

// ownedSlots is how many owned addresses the lane remembers.
const ownedSlots = 16

// ownedAddr is an address that the snapshot owns.
type ownedAddr struct {
	addr            wire.Words
	v6, valid, open bool // open: packets of clients may qualify
}

// slot is where an address that a packet is to would be remembered.
func (l *lane) slot(p *wire.Plain) *ownedAddr {
	return &l.owned[(p.Dst.Lo^p.Dst.Lo>>8)%ownedSlots]
}

// owns reports whether the packet is to an owned address, which the lane then
// remembers.
func (w *Worker) owns(p *wire.Plain, family int) bool {
	k := w.lane.slot(p)
	if k.addr == p.Dst && k.v6 == p.V6 && k.valid {
		return true
	}
	if !w.snap.Owned.HasWords(p.V6, p.Dst) {
		return false
	}
	*k = ownedAddr{p.Dst, p.V6, true, w.lane.input[family]}
	return true
}

// plainEvent is Worker.event for a plain packet.
func plainEvent(p *wire.Plain) conntrack.Event {
	if p.Proto == wire.ProtoTCP {
		return conntrack.TCPEvent(p.TCPFlags)
	}
	return conntrack.EventUDP
}

// toServer is input for a packet of an established connection. It reports
// false, having changed nothing, if there is no such connection.
func (w *Worker) toServer(f *link.Frame, p *wire.Plain, probe *conntrack.Probe) bool {
	h := &w.lane.hot
	if !w.d.Table.Hit(w.now, probe, plainEvent(p), h) {
		return false
	}
	f.Truncate(int(p.End))
	w.tally.of(h.Server).in.add(p.IPLen())
	if !w.carry(f, p, h) {
		w.finishIn(f, h)
	}
	return true
}

// carry is transmit for a plain packet of a connection to a real server. It
// reports false, having changed nothing, if transmit is needed.
func (w *Worker) carry(f *link.Frame, p *wire.Plain, h *conntrack.Hot) bool {
	y := &w.lane.in[h.Server.Index%waysIn]
	if (y.stamp != w.lane.stamp || y.server != h.Server) && !w.wayTo(y, h.Server) {
		return false
	}
	if real, v6 := h.Real(); v6 != y.v6 || wire.Words(real) != y.real || p.IPLen() > int(y.mtu) {
		return false // connections may have another address than their server's
	}
	b, method := f.Bytes(), h.Method()
	switch {
	case method == ipvs.Tunnel:
		if !w.tunnels(f, p, y) {
			return false
		}
		b = forward.PlainTunnel(f, p, &y.ends, w.snap.Sysctls.PMTUDisc != 0, w.nextID())
	case y.v6 != p.V6:
		return false
	case method == ipvs.DirectRoute:
		forward.PlainHop(b, p)
	case method != ipvs.Masquerade || !forward.PlainDst(f, b, p, y.real, h.RealPort()):
		return false
	}
	w.depart(f, b, y)
	return true
}

// carryFirst is carry for the current packet and connection. It reports false
// if transmit is needed, as it is for one that is not plain or has a helper.
func (w *Worker) carryFirst(f *link.Frame) bool {
	c := &w.c
	if w.plain == nil || c.Server == nil || c.App != conntrack.AppNone {
		return false
	}
	h := &w.lane.hot
	h.Set(c)
	return w.carry(f, w.plain, h)
}

// tunnels reports whether the packet fits into the server's tunnel, one of IP in
// IP, as it is.
func (w *Worker) tunnels(f *link.Frame, p *wire.Plain, y *way) bool {
	mtu := int(y.mtu)
	if learned := y.server.PathMTU(w.now); learned != 0 {
		mtu = min(mtu, learned)
	}
	overhead, least := wire.IPv4Len, minMTU4
	if y.v6 {
		overhead, least = wire.IPv6Len, minMTU6
	}
	mtu -= overhead
	return y.hasEnds && y.server.Tunnel().Type == ipvs.IPIP && f.GSO == wire.GSONone && (!f.Partial || forward.PartialInside(f, p)) &&
		p.IPLen() <= mtu && least <= mtu && overhead <= f.Room()
}

// finishIn transmits a packet that was counted.
func (w *Worker) finishIn(f *link.Frame, h *conntrack.Hot) {
	w.expand(f, h)
	w.transmit(f)
}

// toClient is output for a packet of an established, masqueraded connection. It
// reports false, having changed nothing, if there is no such connection.
func (w *Worker) toClient(f *link.Frame, p *wire.Plain, probe *conntrack.Probe) bool {
	y := w.wayBack(p)
	n := p.IPLen()
	if !y.usable || n > int(y.mtu) {
		return false
	}
	h := &w.lane.hot
	if !w.d.Table.Hit(w.now, probe, plainEvent(p), h) {
		return false
	}
	f.Truncate(int(p.End))
	w.tally.of(h.Server).out.add(n)
	b := f.Bytes()
	virtual, v6 := h.Virtual()
	if !w.knows(y) || h.Method() != ipvs.Masquerade || v6 != p.V6 ||
		!forward.PlainSrc(f, b, p, wire.Words(virtual), h.VirtualPort()) {
		w.finishOut(f, h, y)
		return true
	}
	w.depart(f, b, y)
	return true
}

// finishOut sends a packet that was counted on its way y, or leaves it to the
// host.
func (w *Worker) finishOut(f *link.Frame, h *conntrack.Hot, y *way) {
	w.expand(f, h)
	if h.Method() != ipvs.Masquerade {
		w.pass(f)
		return
	}
	forward.DecrementTTL(&w.p)
	forward.RewriteSrc(f, &w.p, w.c.Virtual)
	hop := y.hopTo(w.p.Dst)
	w.send(f, &hop, false)
}

// expand parses the packet, and makes the connection found the current one, as
// the general way has them.
func (w *Worker) expand(f *link.Frame, h *conntrack.Hot) {
	w.lane.stamp++
	p := &w.p
	p.Parse(f.Bytes(), f.Medium)
	virtual, virtualV6 := h.Virtual()
	real, realV6 := h.Real()
	w.c = conntrack.Conn{
		Ref: h.Ref, Protocol: ipvs.Protocol(p.Proto), Method: h.Method(), Server: h.Server, Mark: h.Mark,
		Virtual: netip.AddrPortFrom(wire.Words(virtual).Addr(virtualV6), h.VirtualPort()),
		Real:    netip.AddrPortFrom(wire.Words(real).Addr(realV6), h.RealPort()),
	}
}

// settle ends a batch's counting of frames that all ended alike.
func (l *lane) settle(c *counters) {
	if l.forwarded > 0 {
		add(&c.reason[Forwarded], l.forwarded)
	}
	if l.others > 0 {
		add(&c.reason[NotForUs], l.others)
	}
	l.forwarded, l.others = 0, 0
}
