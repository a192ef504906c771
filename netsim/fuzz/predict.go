package fuzz

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/director"
	"usvs/ipvs"
	"usvs/netsim/fuzz/machine"
	"usvs/route"
	"usvs/wire"
)

// This file keeps the book: what a packet must do to the connections.

// heard is what the director's worker told of its decisions on a frame.
type heard struct {
	packet *packet // that it took for a client's or a server's; of fragments, the datagram
	quoted *flow   // of the reply that an ICMP error quotes and that may open a connection
	in     bool
	mark   uint32
	asked  *director.Service // whose scheduler
	picked *ipvs.RealServer

	foreseen *ipvs.RealServer // whom its model picks
	known    bool             // there is a model to go by
}

// flow is what a connection is of, as its client and the virtual service have it.
type flow struct {
	proto           uint8
	client, virtual netip.AddrPort
}

// flow is what is to be scheduled.
func (h *heard) flow() *flow {
	switch p := h.packet; {
	case h.quoted != nil:
		return h.quoted
	case p != nil:
		return &flow{p.proto, p.src, p.dst}
	}
	return nil
}

// Record hears of a decision. It is the director's Recorder.
func (j *Judge) Record(s director.Step) {
	h := &j.heard
	switch s.Stage {
	case director.StageInput, director.StageOutput:
		h.packet, h.in, h.mark = reread(s.Packet), s.Stage == director.StageInput, s.Mark
	case director.StageService:
		if q := s.Quoted; q != nil {
			h.quoted = &flow{q.Proto, netip.AddrPortFrom(q.Dst, q.DstPort), netip.AddrPortFrom(q.Src, q.SrcPort)}
		}
	case director.StageSchedule:
		h.asked = s.Service
		h.foreseen, h.known = j.whom(s.Service, s.Request.Now)
	case director.StageScheduled:
		h.picked = s.Server
		j.scheduled()
	}
}

// reread reads the packet that the director holds by itself.
func reread(p *wire.Packet) *packet {
	b := bytes.Clone(p.Data[p.L3:p.End])
	var q *packet
	if p.Version == 6 {
		q, _ = read6(b)
	} else {
		q, _ = read4(b)
	}
	return q
}

// foresee makes the book what it must be after the frame at hand.
func (j *Judge) foresee() {
	now := j.ev.Now
	j.book.expire(now, j.table.byRef)
	j.dropped()
	p := j.heard.packet
	if p == nil || !j.serves(p.v6) {
		return
	}
	if owned := j.dir.Core().Snapshot().Owned.Has(p.dst.Addr()); owned && !j.heard.in {
		j.broken("ownership", "a packet to %v, which is the director's, is no client's for it", p.dst)
		return
	}
	switch {
	case p.related():
		j.foreseeRelated(p)
	case p.proto == protoAH || p.proto == protoESP:
		j.foreseeIPsec(p)
	case !p.ports:
	case j.heard.in:
		j.foreseeIn(p)
	default:
		j.foreseeOut(p, p.proto, p.src, p.dst)
	}
}

// related reports whether a packet is an ICMP error of the kinds that IPVS
// relates to connections.
func (p *packet) related() bool {
	if p.proto == protoICMP && len(p.body) >= 8 {
		t := p.body[0]
		return t == 3 || t == 4 || t == 11
	}
	return p.proto == protoICMPv6 && len(p.body) >= 8 && p.body[0] < 128
}

// foreseeRelated: an ICMP error changes no connection, but with schedule_icmp it
// may open that of the reply which it quotes.
func (j *Judge) foreseeRelated(p *packet) {
	q := j.heard.quoted
	switch {
	case q == nil:
		j.unasked()
	case j.sysctls().ScheduleICMP == 0 || j.book.inbound(q.proto, q.client, q.virtual) != nil || j.impossible(p.src.Addr()):
		j.broken("service", "the reply to %v that an ICMP error quotes is not to be scheduled", q.client)
	default:
		if r := j.foreseeOpening(q, j.find(q)); r != nil {
			r.timeout = newborn
			r.expires = until(j.ev.Now, r.timeout)
		}
	}
}

// newborn is the timeout of a connection that has seen no packet (ipvs.md 2.3).
const newborn = 3 * time.Second

// isakmp is the port that AH and ESP packets are looked up by.
const isakmp = 500

// foreseeIPsec: AH and ESP go with the ISAKMP connection (ipvs.md 2.2).
func (j *Judge) foreseeIPsec(p *packet) {
	src, dst := netip.AddrPortFrom(p.src.Addr(), isakmp), netip.AddrPortFrom(p.dst.Addr(), isakmp)
	if !j.heard.in {
		j.foreseeOut(p, protoUDP, src, dst)
		return
	}
	r := j.book.inbound(protoUDP, src, dst)
	if r == nil {
		return
	}
	switch {
	case !r.gone():
		j.advance(r, p, false)
	case j.sysctls().ExpireNodestConn != 0:
		j.book.remove(r)
	}
}

func (j *Judge) sysctls() *ipvs.Sysctls { return &j.dir.Core().Snapshot().Sysctls }

// foreseeIn: a client's packet.
func (j *Judge) foreseeIn(p *packet) {
	r := j.book.inbound(p.proto, p.src, p.dst)
	if r != nil && j.makesWay(r, p) {
		j.cover.Faults["connection reused"]++
		old := r
		j.book.forget(old)
		defer j.book.uncount(old) // it counts until its successor does
		r = nil
	}
	if r == nil {
		r = j.opened(p)
	}
	if r != nil && !r.gone() {
		j.advance(r, p, false)
	}
}

// makesWay reports whether a connection ends because of a packet of its own
// (ipvs.md 2.7, 2.8).
func (j *Judge) makesWay(r *record, p *packet) bool {
	sys := j.sysctls()
	if r.gone() && sys.ExpireNodestConn != 0 {
		return true
	}
	first := p.proto == protoTCP && p.flags&wire.FlagSYN != 0 || p.proto == protoSCTP && p.chunk() == 1
	switch {
	case !first:
		return false
	case sys.ExpireNodestConn != 0 && r.server != nil && r.server.Weight() == 0:
		return true
	case sys.ConnReuseMode == 0 || r.control != nil:
		return false
	case p.proto == protoSCTP:
		return r.state.State == "CLOSED"
	}
	return r.state.State == "TIME_WAIT" || r.state.State == "CLOSE" ||
		sys.ConnReuseMode&2 != 0 && r.state.State == "FIN_WAIT" && r.state.Silent
}

// chunk is the type of an SCTP packet's first chunk, -1 if there is none.
func (p *packet) chunk() int {
	if len(p.body) < 16 {
		return -1
	}
	return int(p.body[12])
}

// full reports whether the fixed transport header is all there.
func (p *packet) full() bool {
	switch p.proto {
	case protoTCP:
		return len(p.body) >= 20
	case protoUDP:
		return len(p.body) >= 8
	}
	return p.chunk() >= 0
}

// event is what a packet tells a state machine, "" if nothing. Extension headers
// of IPv6 are read as if they were the transport's.
func (p *packet) event() string {
	body, tcp := p.body, p.full()
	if p.v6 && p.options {
		body = p.raw[40:]
		tcp = len(body) >= 20
	}
	switch {
	case p.proto == protoTCP && tcp:
		return machine.TCPEvent(body[13])
	case p.proto == protoSCTP && len(body) >= 12:
		return machine.SCTPEvent(body[12:])
	case p.proto == protoUDP:
		return "UDP"
	}
	return ""
}

// advance does to a connection what one of its packets does.
func (j *Judge) advance(r *record, p *packet, out bool) {
	ev := p.event()
	if ev != "" {
		j.transit(r, ev, out)
	}
	r.expires = until(j.ev.Now, r.timeout)
	if !out {
		r.packets++
	}
}

// transit moves a connection's state on.
func (j *Judge) transit(r *record, ev string, out bool) {
	was, idle := r.state.State, r.state.Inactive
	if m := machineOf(r.proto, j.sysctls().SecureTCP > 1); m != nil {
		j.cover.Cells[r.state.Packet(m, out, ev)]++
	}
	if idle != r.state.Inactive && r.server != nil {
		j.book.servers[r.server].Turn(idle)
	}
	r.timeout = j.timeout(r)
	est := r.state.State == "ESTABLISHED" && was != "ESTABLISHED"
	if r.control != nil && (est || ev == "UDP" && out) {
		r.control.state.State = "ASSURED"
	}
}

// timeout is that of a connection's state (ipvs.md 3).
func (j *Judge) timeout(r *record) time.Duration {
	set := j.dir.Core().Table.Timeouts()
	secs := int(set.UDP)
	switch {
	case r.proto == ipvs.TCP && r.state.State == "ESTABLISHED":
		secs = int(set.TCP)
	case r.proto == ipvs.TCP && r.state.State == "FIN_WAIT":
		secs = int(set.TCPFin)
	case r.proto == ipvs.TCP:
		secs = machine.TCP.Seconds(r.state.State)
	case r.proto == ipvs.SCTP:
		secs = machine.SCTP.Seconds(r.state.State)
	}
	return time.Duration(secs) * time.Second
}

// until is an expiry: the table keeps ticks and ends nothing early.
func until(now clock.Instant, d time.Duration) clock.Instant {
	const unit = clock.Instant(conntrack.ExpiryUnit)
	return (now.Add(d) + unit - 1) / unit * unit
}

// foreseeOut: a server's packet. NAT advances the connection when it sends the
// packet on; with the other methods the packet is only seen.
func (j *Judge) foreseeOut(p *packet, proto uint8, src, dst netip.AddrPort) {
	list := j.book.outbound(proto, src, dst)
	if len(list) == 0 {
		return
	}
	r := list[0]
	for _, o := range list { // which of them, only the director knows
		if c := j.table.byRef(o.ref); c != nil && len(list) > 1 && (j.touched(o, c) || j.rearmed(c) && !j.rearmed(j.table.byRef(r.ref))) {
			r = o
		}
	}
	if r.method == ipvs.Masquerade && !j.sent() {
		return
	}
	j.advance(r, p, true)
}

// touched reports whether the table's entry is another than before the frame.
func (j *Judge) touched(r *record, c *conntrack.Conn) bool {
	return c.Expires != r.expires || c.StateName() != r.stateName()
}

// rearmed reports whether the entry's time begins now, though it may have begun
// in this tick before.
func (j *Judge) rearmed(c *conntrack.Conn) bool {
	return c != nil && c.Expires == until(j.ev.Now, c.Timeout)
}

// sent reports whether the frame at hand went on.
func (j *Judge) sent() bool {
	switch j.ev.Reason {
	case director.Forwarded, director.Waiting, director.DropSegment:
		return true
	}
	return false
}

// opened is the connection that a packet opens which has none (ipvs.md 5.3).
func (j *Judge) opened(p *packet) *record {
	fl := &flow{p.proto, p.src, p.dst}
	svc := j.find(fl)
	if j.impossible(p.src.Addr()) || !p.full() || !j.mayOpen(p) {
		svc = nil
	}
	return j.foreseeOpening(fl, svc)
}

// foreseeOpening writes down the connection that is to be opened for a flow by a
// service, nil if none.
func (j *Judge) foreseeOpening(fl *flow, svc *director.Service) *record {
	if svc == nil || fl.client.Port() == 20 || j.ev.Reason == director.DropDefence && j.sysctls().DropPacket != 0 ||
		j.ev.Reason == director.DropEngine && svc.Spec.PE != "" {
		j.unasked()
		return nil
	}
	var template *record
	persistent := svc.Spec.Flags&ipvs.FlagPersistent != 0
	if persistent {
		template = j.template(fl, svc)
	} else if id := svc.VS.ID; id.Mark == 0 && id.Port != fl.virtual.Port() {
		j.unasked()
		return nil
	}
	if template != nil {
		j.unasked()
		return j.open(fl, svc, template.server, template)
	}
	rs := j.heard.picked
	switch {
	case j.heard.asked != svc:
		j.broken("service", "%v asked another service's scheduler than %v's", fl.client, svc.VS.ID)
		return nil
	case rs == nil:
		return j.bypass(fl, svc)
	case persistent:
		if template = j.newTemplate(fl, svc, rs); j.full() && j.listed(template) == nil {
			return nil
		}
		j.book.add(template)
	}
	return j.open(fl, svc, rs, template)
}

// full reports whether there was no room for an entry.
func (j *Judge) full() bool { return j.ev.Reason == director.DropTableFull }

// bypass: where a mark's service has no server, its packets may go on to where
// they were going (cache_bypass, ipvs.md 5.4).
func (j *Judge) bypass(fl *flow, svc *director.Service) *record {
	s, dst := j.dir.Core().Snapshot(), fl.virtual.Addr()
	if s.Sysctls.CacheBypass == 0 || svc.VS.ID.Mark == 0 || j.heard.quoted != nil || dst.IsMulticast() ||
		dst.Is4() && (s.Owned.Has(dst) || s.Routes.IsLocal(dst) || s.Routes.Lookup(dst).Kind == route.Local) ||
		j.full() || svc.Spec.Flags&ipvs.FlagOnePacket != 0 && fl.proto == protoUDP {
		return nil
	}
	nowhere := netip.IPv4Unspecified()
	if dst.Is6() {
		nowhere = netip.IPv6Unspecified()
	}
	j.cover.Methods["Bypass"]++
	r := &record{
		proto: ipvs.Protocol(fl.proto), client: fl.client, virtual: fl.virtual, real: netip.AddrPortFrom(nowhere, 0),
		method: ipvs.Bypass, state: machine.Conn{State: machine.None},
	}
	j.book.add(r)
	return r
}

// unasked: no scheduler is to be asked for the frame at hand.
func (j *Judge) unasked() {
	if svc := j.heard.asked; svc != nil {
		j.broken("service", "the scheduler of %v was asked for a packet that is not to be scheduled", svc.VS.ID)
	}
}

// open writes a new connection to a server down.
func (j *Judge) open(fl *flow, svc *director.Service, rs *ipvs.RealServer, template *record) *record {
	onePacket := svc.Spec.Flags&ipvs.FlagOnePacket != 0 && fl.proto == protoUDP
	if j.full() && !onePacket {
		return nil
	}
	if template != nil {
		template.expires = until(j.ev.Now, template.timeout)
	}
	j.book.servers[rs].Open(false)
	if onePacket {
		j.book.servers[rs].Close(false)
		return nil
	}
	port := fl.virtual.Port()
	if rs.ID.Port != 0 && (template == nil || port == svc.VS.ID.Port) {
		port = rs.ID.Port
	}
	r := &record{
		proto: ipvs.Protocol(fl.proto), client: fl.client, virtual: fl.virtual, real: netip.AddrPortFrom(rs.ID.Addr, port),
		method: rs.Method(), server: rs, control: template,
		state: machine.Conn{State: machine.None, Silent: rs.Method() != ipvs.Masquerade, Inactive: true},
	}
	j.book.add(r)
	return r
}

// mayOpen reports whether packets of this kind may open connections (3.1, 3.4).
func (j *Judge) mayOpen(p *packet) bool {
	sys := j.sysctls()
	switch p.proto {
	case protoTCP:
		return p.flags&wire.FlagRST == 0 && (p.flags&wire.FlagSYN != 0 || sys.SloppyTCP != 0)
	case protoSCTP:
		return p.chunk() == 1 || sys.SloppySCTP != 0 && p.chunk() != 6
	}
	return true
}

// impossible reports whether no packet from elsewhere has that source.
func (j *Judge) impossible(a netip.Addr) bool {
	s := j.dir.Core().Snapshot()
	return a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() ||
		a.Is4() && (a.As4()[0] == 0 || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) ||
		s.Owned.Has(a) || s.Routes.IsLocal(a)
}

// find is the service of a flow, searched from end to end (ipvs.md 4.1).
func (j *Judge) find(fl *flow) *director.Service {
	s := j.dir.Core().Snapshot()
	family := ipvs.IPv4
	if fl.virtual.Addr().Is6() {
		family = ipvs.IPv6
	}
	search := func(is func(id ipvs.ServiceID) bool) *director.Service {
		for _, svc := range s.Services {
			if svc.VS.ID.Family == family && is(svc.VS.ID) {
				return svc
			}
		}
		return nil
	}
	at := func(port uint16) *director.Service {
		return search(func(id ipvs.ServiceID) bool {
			return id.Mark == 0 && uint8(id.Protocol) == fl.proto && id.Addr == fl.virtual.Addr() && id.Port == port
		})
	}
	marked := search(func(id ipvs.ServiceID) bool { return id.Mark != 0 && id.Mark == j.heard.mark })
	if marked != nil {
		return marked
	}
	if svc := at(fl.virtual.Port()); svc != nil {
		return svc
	}
	if n := fl.virtual.Port(); fl.proto == protoTCP && (n == 20 || n >= s.Sysctls.UnprivilegedPortStart) {
		if svc := at(21); svc != nil {
			return svc
		}
	}
	return at(0)
}

// key is what a template for a flow is found by (ipvs.md 2.5).
func (j *Judge) key(fl *flow, svc *director.Service) (proto ipvs.Protocol, client netip.Addr, virtual netip.AddrPort) {
	id := svc.VS.ID
	client = masked(fl.client.Addr(), &svc.Spec)
	if id.Mark != 0 {
		b := make([]byte, len(fl.virtual.Addr().AsSlice()))
		binary.BigEndian.PutUint32(b, id.Mark)
		a, _ := netip.AddrFromSlice(b)
		return ipvs.ProtoIP, client, netip.AddrPortFrom(a, 0)
	}
	port := uint16(0)
	if fl.virtual.Port() == id.Port && id.Port != 21 {
		port = id.Port
	}
	return ipvs.Protocol(fl.proto), client, netip.AddrPortFrom(fl.virtual.Addr(), port)
}

// template is the one that a service remembers a client by. One whose server is
// not to be used any more is lost.
func (j *Judge) template(fl *flow, svc *director.Service) *record {
	t := j.book.remembered(j.key(fl, svc))
	if t == nil {
		return nil
	}
	if t.gone() || j.sysctls().ExpireQuiescentTemplate != 0 && t.server.Weight() == 0 {
		t.invalid = true
		return nil
	}
	j.cover.Faults["template used"]++
	return t
}

func (j *Judge) newTemplate(fl *flow, svc *director.Service, rs *ipvs.RealServer) *record {
	proto, client, virtual := j.key(fl, svc)
	port := uint16(0)
	if virtual.Port() != 0 {
		port = rs.ID.Port
	}
	timeout := time.Duration(svc.Spec.Timeout) * time.Second
	return &record{
		proto: proto, client: netip.AddrPortFrom(client, 0), virtual: virtual, real: netip.AddrPortFrom(rs.ID.Addr, port),
		method: rs.Method(), server: rs, template: true, state: machine.Conn{State: machine.None},
		timeout: timeout, expires: until(j.ev.Now, timeout),
	}
}

// listed is the table's entry that a foreseen one must be, nil if there is none.
func (j *Judge) listed(r *record) *conntrack.Conn {
	for i := range j.table.conns {
		c := &j.table.conns[i]
		if _, known := j.book.byRef[c.Ref]; !known && c.Template() == r.template && c.Protocol == r.proto &&
			c.Client == r.client && c.Virtual == r.virtual && c.Server == r.server && c.Real == r.real && c.Method == r.method {
			return c
		}
	}
	return nil
}

// compare judges the table by the book.
func (j *Judge) compare() {
	for _, r := range j.book.entries {
		if r.ref.IsZero() {
			j.appeared(r)
		}
	}
	for _, r := range slices.Clone(j.book.entries) {
		c := j.table.byRef(r.ref)
		if c == nil && r.doubtful {
			j.book.remove(r)
			continue
		}
		r.doubtful = r.doubtful && j.ev.Now.Sub(r.expires.Add(-later)) < grain
		if c == nil {
			j.broken("expiry", "%v is not in the table; it is to be there for %v", r, r.expires.Sub(j.ev.Now))
			return
		}
		if rule, text := r.differs(c); rule != "" {
			j.broken(rule, "%v: %s", r, text)
		}
	}
	for i := range j.table.conns {
		if c := &j.table.conns[i]; j.book.byRef[c.Ref] == nil {
			j.broken("table", "%v %v > %v to %v (%s) is in the table and ought not to be", c.Protocol, c.Client, c.Virtual, c.Real, c.StateName())
		}
	}
}

// dropped takes out what ended by itself since the last frame.
func (j *Judge) dropped() {
	for _, r := range slices.Clone(j.book.entries) {
		if j.table.byRef(r.ref) == nil && j.mayEnd(r) {
			j.cover.Faults["ended by a defence or with its server"]++
			j.book.remove(r)
		}
	}
}

// mayEnd reports whether an entry may end by itself before its time: one of a
// server that was deleted, and any while drop_entry picks some (ipvs.md 2.8, 2.9).
func (j *Judge) mayEnd(r *record) bool {
	sys := j.sysctls()
	return sys.DropEntry > 1 || sys.ExpireNodestConn != 0 && r.server != nil && (r.gone() || j.deleted[r.server])
}

// appeared finds the table's entry for one that was foreseen.
func (j *Judge) appeared(r *record) {
	c := j.listed(r)
	if c == nil {
		j.broken("opening", "%v is to be opened and was not", r)
		return
	}
	if r.control != nil && c.Control != r.control.ref {
		j.broken("persistence", "%v is not under its template", r)
	}
	r.ref = c.Ref
	j.book.byRef[c.Ref] = r
}

// String names the connection.
func (r *record) String() string {
	kind := "connection"
	if r.template {
		kind = "template"
	}
	return fmt.Sprintf("the %v %s %v > %v to %v", r.proto, kind, r.client, r.virtual, r.real)
}

// byRef is an entry of the listing.
func (s *shadow) byRef(ref conntrack.Ref) *conntrack.Conn {
	if i, ok := s.now[ref]; ok {
		return &s.conns[i]
	}
	return nil
}
