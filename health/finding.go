package health

import (
	"net/netip"

	"usvs/clock"
	"usvs/ipvs"
)

// route fills in the way of an attempt by the VIP. A virtual server that is
// known by marks only has no VIP, so that its servers are looked at directly.
func (c *check) route(p *Probe) {
	if p.Path != ViaVIP {
		return
	}
	for i, s := range c.rs.vs.cfg.Services {
		if s.ID.Mark == 0 {
			p.Via = Via{Service: s.ID, Server: target(c.rs.cfg.ID, c.rs.cfg.Targets, i), Spec: c.rs.cfg.Spec}
			return
		}
	}
	p.Path = Direct
}

// inquire asks, of a server that did not answer by way of the VIP, whether it
// answers on its own address. It reports whether an answer is to be waited for.
func (m *Monitor) inquire(c *check, r Result) bool {
	if r.Outcome != Failure || c.probe.Path != ViaVIP {
		return false
	}
	direct := *c.probe
	direct.Path, direct.Via = Direct, Via{}
	if !direct.Target.IsValid() {
		direct.Target = netip.AddrPortFrom(c.rs.cfg.ID.Addr, c.rs.cfg.ID.Port)
	}
	c.pending = &r
	c.id = m.probe(c, &direct)
	return true
}

// conclude says of the failure by way of the VIP what the direct attempt that
// followed tells of it.
func (m *Monitor) conclude(now clock.Instant, c *check, direct Result) {
	r := *c.pending
	c.pending = nil
	switch direct.Outcome {
	case Success:
		r.Cause = "answers on its own address but not on the VIP: " + suspicion(c.rs.cfg.Spec.Method)
	case Failure:
		r.Cause = "does not answer on its own address either"
	}
	m.judge(now, c, r)
}

// suspicion is why a server may answer on its own address only.
func suspicion(method ipvs.ForwardMethod) string {
	switch method {
	case ipvs.DirectRoute:
		return "is the VIP on its lo, and does the service listen there? (DR)"
	case ipvs.Tunnel:
		return "is the VIP on its tunnel device, the tunnel of the right type, rp_filter off? (TUN)"
	}
	return "does its way back lead through the director? (NAT)"
}
