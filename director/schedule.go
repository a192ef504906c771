package director

import (
	"encoding/binary"
	"net/netip"
	"time"

	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/sched"
	"usvs/wire"
)

// insertTries bounds how often a connection is inserted again because its
// template died at that moment.
const insertTries = 4

// ftpDataPort as a client's port is never scheduled (ipvs.md 5.3).
const ftpDataPort = 20

// flow is what is to be scheduled: its ends as client and virtual service have
// them. It is that of a packet, or of the reply that an ICMP error quotes.
type flow struct {
	protocol        ipvs.Protocol
	client, virtual netip.AddrPort
	related         bool
	first           conntrack.Event // what the packet tells the connection it opens
	counted         bool            // and that it did
}

// schedule opens a connection for a packet that has none (ipvs.md 5.3). It
// reports whether w.c now holds one; if not, the frame has met its end.
func (w *Worker) schedule(f *link.Frame, ev conntrack.Event) bool {
	p := &w.p
	switch {
	case w.martian(f):
		w.end(DropMartian)
		return false
	case !p.Full, p.Proto == wire.ProtoSCTP && w.chunk() == sctpNone:
		w.end(DropShortTransport)
		return false
	}
	fl := &w.flow
	fl.protocol = ipvs.Protocol(p.Proto)
	fl.client = netip.AddrPortFrom(p.Src, p.SrcPort)
	fl.virtual = netip.AddrPortFrom(p.Dst, p.DstPort)
	fl.first, fl.related, fl.counted = ev, false, false
	return w.scheduleFlow(f, w.mayOpen())
}

// scheduleFlow opens a connection for w.flow, if it may open one at all.
func (w *Worker) scheduleFlow(f *link.Frame, opens bool) bool {
	fl := &w.flow
	svc := w.snap.find(family(w.p.Version), f.Mark, fl.protocol, fl.virtual.Addr(), fl.virtual.Port())
	if w.recorder != nil {
		w.record(Step{Stage: StageService, Service: svc, Quoted: w.quoted(), OK: opens})
	}
	if !opens || svc == nil {
		w.local(f)
		return false
	}
	if w.snap.DropRate != 0 && w.unlucky() {
		w.end(DropDefence)
		return false
	}
	if fl.client.Port() == ftpDataPort {
		w.local(f)
		return false
	}
	if svc.Spec.Flags&ipvs.FlagPersistent != 0 {
		return w.schedulePersistent(f, svc)
	}
	id := &svc.VS.ID
	if id.Mark == 0 && id.Port != fl.virtual.Port() {
		w.leave(f, svc)
		return false
	}
	rs := w.ask(svc)
	if rs == nil {
		w.leave(f, svc)
		return false
	}
	return w.open(f, svc, rs, conntrack.Ref{}, orPort(rs.ID.Port, fl.virtual.Port())) == conntrack.Inserted
}

// quoted is what the current packet quotes, if that is what is scheduled.
func (w *Worker) quoted() *wire.Packet {
	if w.flow.related {
		return &w.q
	}
	return nil
}

// mayOpen reports whether the packet's kind can open a connection at all.
func (w *Worker) mayOpen() bool {
	p, sy := &w.p, &w.snap.Sysctls
	switch p.Proto {
	case wire.ProtoTCP:
		return p.TCPFlags&wire.FlagRST == 0 && (p.TCPFlags&wire.FlagSYN != 0 || sy.SloppyTCP != 0)
	case wire.ProtoSCTP:
		return w.chunk() == sctpInit || sy.SloppySCTP != 0 && w.chunk() != sctpAbort
	}
	return true
}

func (w *Worker) request(svc *Service) *sched.Request {
	fl, req := &w.flow, &w.req
	req.Now, req.Protocol, req.Flags, req.Sysctls = w.now, fl.protocol, svc.Spec.Flags, &w.snap.Sysctls
	req.Client, req.ClientPort, req.Dst = fl.client.Addr(), fl.client.Port(), fl.virtual.Addr()
	return req
}

// schedulePersistent finds or makes the client's template and opens a
// connection to its server (ipvs.md 2.5).
func (w *Worker) schedulePersistent(f *link.Frame, svc *Service) bool {
	fl, id := &w.flow, &svc.VS.ID
	n := conntrack.Spec{Protocol: fl.protocol, Template: true, Mark: f.Mark, Worker: uint8(w.number)}
	client := netip.AddrPortFrom(maskClient(svc, fl.client.Addr()), 0)
	vport := uint16(0)
	if id.Mark == 0 && fl.virtual.Port() == id.Port && id.Port != ftpPort {
		vport = id.Port
	}
	n.Client, n.Virtual = client, netip.AddrPortFrom(fl.virtual.Addr(), vport)
	if id.Mark != 0 {
		n.Protocol, n.Virtual = ipvs.ProtoIP, netip.AddrPortFrom(markAddr(id.Mark, w.p.Version), 0)
	}
	if !w.engineData(svc, &n) {
		w.end(DropEngine)
		return false
	}
	for range insertTries {
		tmpl := &w.tmpl
		if !w.findTemplate(&n, tmpl) && !w.makeTemplate(f, svc, &n, vport, tmpl) {
			return false
		}
		rs, dport := tmpl.Server, fl.virtual.Port()
		if rs == nil {
			break // another worker's, and its server went meanwhile
		}
		if dport == id.Port && rs.ID.Port != 0 {
			dport = rs.ID.Port
		}
		switch w.open(f, svc, rs, tmpl.Ref, dport) {
		case conntrack.Inserted:
			w.d.Table.Rearm(w.now, tmpl.Ref)
			return true
		case conntrack.Full:
			return false
		}
	}
	w.end(DropTemplateRace)
	return false
}

// findTemplate looks the template up. One whose server cannot be used any more
// is made unfindable.
func (w *Worker) findTemplate(n *conntrack.Spec, tmpl *conntrack.Conn) bool {
	t := w.d.Table
	found := t.FindTemplate(w.now, n, tmpl)
	if w.recorder != nil {
		w.record(Step{Stage: StageTemplate, Conn: tmpl, Client: n.Client, Virtual: n.Virtual, Mark: n.Mark, OK: found})
	}
	if !found {
		return false
	}
	rs := tmpl.Server
	if rs != nil && rs.Available() && !(w.snap.Sysctls.ExpireQuiescentTemplate != 0 && rs.Weight() == 0) {
		return true
	}
	if w.recorder != nil {
		w.record(Step{Stage: StageStale, Conn: tmpl})
	}
	t.Invalidate(tmpl.Ref)
	return false
}

func (w *Worker) makeTemplate(f *link.Frame, svc *Service, n *conntrack.Spec, vport uint16, tmpl *conntrack.Conn) bool {
	rs := w.ask(svc)
	if rs == nil {
		w.leave(f, svc)
		return false
	}
	dport := uint16(0)
	if vport != 0 {
		dport = rs.ID.Port
	}
	n.Server, n.Method = rs, rs.Method()
	n.Real = netip.AddrPortFrom(rs.ID.Addr, dport)
	n.Timeout = time.Duration(svc.Spec.Timeout) * time.Second
	if w.d.Table.Insert(w.now, n, tmpl) == conntrack.Full {
		w.end(DropTableFull)
		return false
	}
	return true
}

// open inserts the packet's connection to rs, or, under one-packet scheduling,
// makes one that lives for this packet only. Finding that another worker
// opened it meanwhile is as good as opening it.
func (w *Worker) open(f *link.Frame, svc *Service, rs *ipvs.RealServer, control conntrack.Ref, dport uint16) conntrack.Result {
	n, fl := &w.fresh, &w.flow
	*n = conntrack.Spec{} // field by field, see wire.Frame.Reset
	n.Protocol, n.Client, n.Virtual, n.First = fl.protocol, fl.client, fl.virtual, fl.first
	n.Real, n.Method, n.Server = netip.AddrPortFrom(rs.ID.Addr, dport), rs.Method(), rs
	n.Mark, n.Control, n.Worker = f.Mark, control, uint8(w.number)
	if w.onePacket(svc) {
		w.tally.of(rs).conns++
		rs.Bind(false) // counted around the packet: the thresholds see it
		rs.Unbind(false)
		w.c = passing(n)
		if w.recorder != nil {
			w.record(Step{Stage: StageOpen, Service: svc, Server: rs, Conn: &w.c, OK: true})
		}
		return conntrack.Inserted
	}
	res := w.d.Table.Insert(w.now, n, &w.c)
	if w.recorder != nil {
		w.record(Step{Stage: StageOpen, Service: svc, Server: rs, Conn: &w.c, OK: res == conntrack.Inserted})
	}
	switch res {
	case conntrack.Inserted:
		w.flow.counted = n.First != conntrack.EventNone
		w.tally.of(rs).conns++
		return conntrack.Inserted
	case conntrack.Exists:
		return conntrack.Inserted
	case conntrack.Full:
		w.end(DropTableFull)
		return res
	default:
		return res
	}
}

// onePacket reports whether the flow's connection lives for this packet only.
func (w *Worker) onePacket(svc *Service) bool {
	return svc.Spec.Flags&ipvs.FlagOnePacket != 0 && w.flow.protocol == ipvs.UDP
}

// passing is a connection that never enters the table.
func passing(n *conntrack.Spec) conntrack.Conn {
	return conntrack.Conn{
		Protocol: n.Protocol, Client: n.Client, Virtual: n.Virtual, Real: n.Real,
		Method: n.Method, Server: n.Server, Control: n.Control, Mark: n.Mark, Flags: conntrack.FlagOnePacket,
	}
}

// leave ends a packet for which no server is available (ipvs.md 5.4).
func (w *Worker) leave(f *link.Frame, svc *Service) {
	id := &svc.VS.ID
	switch {
	case w.snap.Sysctls.CacheBypass != 0 && w.mayBypass(id):
		w.bypass(f, svc)
	case id.Mark == 0 && id.Port == ftpPort && w.flow.virtual.Port() != ftpPort:
		w.local(f)
	case w.flow.related:
		w.end(DropRelatedNoServer)
	default:
		w.refuseIn(f, localstack.PortUnreachable(), DropNoServer)
	}
}

// maskClient applies the service's persistence granularity to a client.
func maskClient(svc *Service, client netip.Addr) netip.Addr {
	if client.Is4() {
		if !svc.Spec.Netmask.Is4() {
			return client
		}
		a, m := client.As4(), svc.Spec.Netmask.As4()
		for i := range a {
			a[i] &= m[i]
		}
		return netip.AddrFrom4(a)
	}
	if svc.Spec.PrefixLen == 0 || svc.Spec.PrefixLen >= 128 {
		return client
	}
	pfx, err := client.WithZone("").Prefix(int(svc.Spec.PrefixLen))
	if err != nil {
		return client
	}
	return pfx.Addr()
}

// markAddr is a firewall mark in the place of a fwmark template's VIP.
func markAddr(mark uint32, version uint8) netip.Addr {
	if version == 6 {
		var b [16]byte
		binary.BigEndian.PutUint32(b[:], mark)
		return netip.AddrFrom16(b)
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], mark)
	return netip.AddrFrom4(b)
}

func orPort(port, fallback uint16) uint16 {
	if port != 0 {
		return port
	}
	return fallback
}
