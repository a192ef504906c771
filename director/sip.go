package director

import (
	"net/netip"
	"time"

	"usvs/app"
	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// The persistence engine "sip" keeps a call, not a client, on its server: the
// Call-ID is part of what a template is found by (ipvs.md 2.5). Packets without
// one are dropped. A server may also begin a call: its client gets a template
// and a connection, and hears from the virtual service.

// engineData makes n, a template of a service with a persistence engine, one
// for the current packet's call. It reports false if the packet belongs to none.
func (w *Worker) engineData(svc *Service, n *conntrack.Spec) bool {
	if svc.Spec.PE == "" {
		return true
	}
	id, ok := w.callID()
	if w.recorder != nil {
		w.record(Step{Stage: StageEngine, Service: svc, Data: id, OK: ok})
	}
	n.PEName, n.PEData = svc.Spec.PE, id
	return ok
}

// callID is the Call-ID of the current packet, if that is a SIP message over UDP.
func (w *Worker) callID() ([]byte, bool) {
	p := &w.p
	if p.Proto != wire.ProtoUDP || !p.Full || p.Fragment {
		return nil, false
	}
	return app.CallID(p.Transport()[wire.UDPLen:])
}

// originate opens the connection of a packet by which a server begins a call.
// It reports false if the packet is nothing of the kind.
func (w *Worker) originate(f *link.Frame) bool {
	p := &w.p
	if w.snap.kinds.engines == 0 || p.Proto != wire.ProtoUDP {
		return false
	}
	rs := w.snap.serverAt(ipvs.UDP, p.Src, p.SrcPort)
	if rs == nil || rs.ID.Port == 0 {
		return false
	}
	svc := w.snap.service(rs.Service().ID)
	if svc == nil || svc.Spec.PE == "" || svc.VS.ID.Mark != 0 || svc.VS.ID.Port == 0 || svc.Spec.Flags&ipvs.FlagPersistent == 0 {
		return false
	}
	id := &svc.VS.ID
	n := conntrack.Spec{
		Protocol: ipvs.UDP, Template: true, Mark: f.Mark,
		Client:  netip.AddrPortFrom(maskClient(svc, p.Dst), 0),
		Virtual: netip.AddrPortFrom(id.Addr, id.Port),
		Real:    netip.AddrPortFrom(p.Src, p.SrcPort),
		Method:  rs.Method(), Server: rs, Timeout: time.Duration(svc.Spec.Timeout) * time.Second,
	}
	return w.engineData(svc, &n) && w.originated(svc, &n)
}

// originated finds or makes the template n, which leads to the server that
// begins the call, and the connection under it.
func (w *Worker) originated(svc *Service, n *conntrack.Spec) bool {
	tmpl, t := &w.tmpl, w.d.Table
	found := w.findTemplate(n, tmpl)
	if found && tmpl.Server != n.Server {
		t.Invalidate(tmpl.Ref) // the call has moved
		found = false
	}
	if !found && t.Insert(w.now, n, tmpl) == conntrack.Full {
		return false
	}
	t.Rearm(w.now, tmpl.Ref)
	p := &w.p
	w.fresh = conntrack.Spec{
		Protocol: ipvs.UDP, Client: netip.AddrPortFrom(p.Dst, p.DstPort), Virtual: n.Virtual, Real: n.Real,
		Method: n.Method, Server: n.Server, Mark: n.Mark, Control: tmpl.Ref,
	}
	if !w.insertOriginated(svc) {
		return false
	}
	t.Assure(tmpl.Ref)
	return true
}

// insertOriginated inserts w.fresh. The client's connection to another server
// makes way: the newest one counts.
func (w *Worker) insertOriginated(svc *Service) bool {
	n := &w.fresh
	if svc.Spec.Flags&ipvs.FlagOnePacket != 0 {
		w.tally.of(n.Server).conns++
		w.c = passing(n)
		return true
	}
	for range insertTries {
		switch w.d.Table.Insert(w.now, n, &w.c) {
		case conntrack.Inserted:
			w.tally.of(n.Server).conns++
			return true
		case conntrack.Exists:
			if w.c.Real == n.Real {
				return true
			}
			w.d.Table.Expire(w.now, w.c.Ref)
		default:
			return false
		}
	}
	return false
}
