package health

import (
	"fmt"

	"usvs/clock"
)

// aliveWeight is the weight of all servers that are up.
func (vs *service) aliveWeight() (sum int64) {
	for _, rs := range vs.servers {
		if rs.alive {
			sum += int64(rs.ipvsWeight())
		}
	}
	return sum
}

// startService puts a virtual server into IPVS, with those of its servers that
// are not known to have failed: all, but for alpha mode.
func (m *Monitor) startService(now clock.Instant, vs *service) {
	vs.since = now
	for _, s := range vs.cfg.Services {
		m.report("IP_VS_SO_SET_ADD", m.fx.AddService(s.ID, s.Spec))
	}
	for _, rs := range vs.servers {
		m.startServer(now, rs)
	}
	m.updateQuorum(now, vs, true)
}

func (m *Monitor) startServer(now clock.Instant, rs *server) {
	rs.alive, rs.since = rs.failed == 0, now
	m.pool(rs, rs.alive)
	if rs.alive && m.cfg.InitNotifies {
		m.notifyServer(rs, true)
	}
}

// updateQuorum sees whether the servers that are up are enough. Hysteresis keeps
// it from changing to and fro; no weight at all is never enough.
func (m *Monitor) updateQuorum(now clock.Instant, vs *service, start bool) {
	weight, quorum, hysteresis := vs.aliveWeight(), int64(vs.cfg.Quorum), int64(vs.cfg.Hysteresis)
	switch {
	case !vs.quorumUp && weight >= quorum+hysteresis && weight > 0:
		m.gainQuorum(now, vs, weight)
	case start || vs.quorumUp && (weight == 0 || weight < quorum-hysteresis):
		m.loseQuorum(now, vs, weight, start)
	}
}

func (m *Monitor) gainQuorum(now clock.Instant, vs *service, weight int64) {
	vs.quorumUp, vs.since = true, now
	q, h := vs.cfg.Quorum, vs.cfg.Hysteresis
	m.logf(Info, "Gained quorum %d+%d=%d <= %d for VS %s", q, h, q+h, weight, vs.name)
	if vs.sorryUp {
		m.removeSorry(vs)
	}
	m.notifyQuorum(vs, true, fmt.Sprintf("=> %d+%d=%d <= %d <=", q, h, q+h, weight))
}

func (m *Monitor) loseQuorum(now clock.Instant, vs *service, weight int64, start bool) {
	vs.quorumUp, vs.since = false, now
	verb := "Lost quorum"
	if start {
		verb = "Starting with quorum down"
	}
	q, h := vs.cfg.Quorum, vs.cfg.Hysteresis
	m.logf(Info, "%s %d-%d=%d > %d for VS %s", verb, q, h, q-h, weight, vs.name)
	if vs.cfg.Sorry != nil && !vs.sorryUp {
		m.addSorry(vs)
	}
	m.notifyQuorum(vs, false, fmt.Sprintf("=> %d-%d=%d > %d <=", q, h, q-h, weight))
}

// addSorry has the sorry server stand in for the servers that are left.
func (m *Monitor) addSorry(vs *service) {
	sorry, verb := vs.cfg.Sorry, "Adding"
	if sorry.Inhibit {
		verb = "Enabling"
	}
	m.logf(Info, "%s sorry server %s to VS %s", verb, vs.sorryName(), vs.name)
	m.logf(Info, "Removing alive servers from the pool for VS %s", vs.name)
	for _, rs := range vs.servers {
		if rs.alive {
			m.pool(rs, false)
		}
	}
	vs.sorryUp = true
	m.setInIPVS(vs, place{sorry.ID, sorry.Targets, &vs.sorrySet}, sorry.Spec, true)
}

// removeSorry has the servers that are up take their places again.
func (m *Monitor) removeSorry(vs *service) {
	sorry, verb := vs.cfg.Sorry, "Removing"
	if sorry.Inhibit {
		verb = "Disabling"
	}
	m.logf(Info, "%s sorry server %s from VS %s", verb, vs.sorryName(), vs.name)
	vs.sorryUp = false
	spec := sorry.Spec
	spec.Weight = 0
	m.setInIPVS(vs, place{sorry.ID, sorry.Targets, &vs.sorrySet}, spec, sorry.Inhibit)
	m.logf(Info, "Adding alive servers to the pool for VS %s", vs.name)
	for _, rs := range vs.servers {
		if rs.alive {
			m.pool(rs, true)
		}
	}
}

func (vs *service) sorryName() string {
	return endpointName(vs.cfg.Sorry.ID.Addr, vs.cfg.Protocol, vs.cfg.Sorry.ID.Port)
}

// notifyQuorum tells of a virtual server that has enough servers, or has not.
func (m *Monitor) notifyQuorum(vs *service, up bool, body string) {
	kind, script := QuorumDown, vs.cfg.QuorumDown
	if up {
		kind, script = QuorumUp, vs.cfg.QuorumUp
	}
	m.fx.Notify(Event{Kind: kind, Service: vs.name, Script: script, FIFO: "VS " + vs.name + " " + upOrDown(up)})
	if vs.cfg.SMTPAlert {
		m.fx.Notify(Event{Kind: kind, Service: vs.name, Mail: m.serviceMail(vs, up, body)})
	}
}
