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
	vs := c.rs.vs.cfg
	for i, s := range vs.Services {
		if s.ID.Addr.IsValid() && s.ID.Mark == 0 {
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
	if direct.Outcome == Success && r.Cause == "" {
		r.Cause = likelyCause(c.rs.cfg.Spec.Method)
	}
	c.last = r
	m.judge(now, c, r)
}

// likelyCause is why a server answers on its own address only.
func likelyCause(method ipvs.ForwardMethod) string {
	const but = "answers on its own address but not on the VIP: "
	switch method {
	case ipvs.DirectRoute:
		return but + "is the VIP on its lo, and does the service listen on it? (DR)"
	case ipvs.Tunnel:
		return but + "is the VIP on its tunnel interface, of the right type, and rp_filter off? (TUN)"
	}
	return but + "does its way back lead through the director? (NAT)"
}
