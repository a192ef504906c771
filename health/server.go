package health

import (
	"math"

	"usvs/clock"
	"usvs/ipvs"
)

// setCheck notes what a check says now. The server changes with its first check
// that fails, and with the last one that recovers.
func (m *Monitor) setCheck(now clock.Instant, c *check, up bool) {
	first := !c.hasRun
	c.hasRun = true
	if c.up == up {
		if first && !up {
			m.notifyServer(c.rs, up)
		}
		return
	}
	c.up = up
	if !up {
		c.rs.failed++
	} else {
		c.rs.failed--
	}
	if alive := c.rs.failed == 0; alive != c.rs.alive {
		m.setServer(now, c.rs, alive)
	}
}

// setServer takes a server up or down: IPVS first, then who is to be told, then
// the quorum.
func (m *Monitor) setServer(now clock.Instant, rs *server, alive bool) {
	m.logf(Info, "%s service %s %s VS %s", rs.verb(alive), rs.name, rs.preposition(alive), rs.vs.name)
	rs.alive, rs.since = alive, now
	rs.changed++
	if !rs.vs.sorryUp {
		m.pool(rs, alive)
	}
	m.notifyServer(rs, alive)
	m.updateQuorum(now, rs.vs, false)
}

func (rs *server) verb(alive bool) string {
	switch {
	case alive && rs.cfg.Inhibit:
		return "Enabling"
	case alive:
		return "Adding"
	case rs.cfg.Inhibit:
		return "Disabling"
	}
	return "Removing"
}

func (rs *server) preposition(alive bool) string {
	switch {
	case rs.cfg.Inhibit:
		return "of"
	case alive:
		return "to"
	}
	return "from"
}

// weigh gives a server the weight that a check makes of it.
func (m *Monitor) weigh(now clock.Instant, c *check, weight int64) {
	rs := c.rs
	if weight == c.weight {
		return
	}
	old := rs.ipvsWeight()
	rs.weight += weight - c.weight
	c.weight = weight
	m.weightChanged(now, rs, old)
}

func (m *Monitor) weightChanged(now clock.Instant, rs *server, old int32) {
	if rs.ipvsWeight() == old {
		return
	}
	in := "in"
	if rs.alive {
		in = ""
	}
	m.logf(Info, "Changing weight from %d to %d for %sactive service %s of VS %s", old, rs.ipvsWeight(), in, rs.name, rs.vs.name)
	if rs.alive && rs.set && !rs.vs.sorryUp {
		m.pool(rs, true)
	}
	m.updateQuorum(now, rs.vs, false)
}

// ipvsWeight is the server's weight as IPVS takes it.
func (rs *server) ipvsWeight() int32 {
	return int32(min(max(rs.weight, 0), math.MaxInt32))
}

// pool puts a server into IPVS, or takes it out: by weight 0 if it is inhibited.
func (m *Monitor) pool(rs *server, in bool) {
	spec := rs.cfg.Spec
	spec.Weight = rs.ipvsWeight()
	if !in {
		spec.Weight = 0
	}
	m.setInIPVS(rs.vs, place{rs.cfg.ID, rs.cfg.Targets, &rs.set}, spec, in || rs.cfg.Inhibit)
}

// place is where a server, or a sorry server, stands in IPVS.
type place struct {
	id      ipvs.ServerID
	targets []ipvs.ServerID
	set     *bool
}

// setInIPVS makes a server stand in every service of its virtual server with
// spec, or in none of them.
func (m *Monitor) setInIPVS(vs *service, p place, spec ipvs.ServerSpec, in bool) {
	for i, s := range vs.cfg.Services {
		id := target(p.id, p.targets, i)
		switch {
		case in && *p.set:
			m.report("IP_VS_SO_SET_EDITDEST", m.fx.EditServer(s.ID, id, spec))
		case in:
			m.report("IP_VS_SO_SET_ADDDEST", m.fx.AddServer(s.ID, id, spec))
		case *p.set:
			m.report("IP_VS_SO_SET_DELDEST", m.fx.DeleteServer(s.ID, id))
		}
	}
	*p.set = in
}

// report logs what IPVS refused. Of what was there already, and of what was gone
// already, keepalived says so and goes on.
func (m *Monitor) report(command string, err error) {
	if err != nil {
		m.logf(Info, "IPVS cmd %s error: %v", command, err)
	}
}

// notifyServer tells of a server that went up or down.
func (m *Monitor) notifyServer(rs *server, up bool) {
	script := rs.cfg.NotifyDown
	if up {
		script = rs.cfg.NotifyUp
	}
	m.fx.Notify(Event{
		Kind: serverEvent(up), Service: rs.vs.name, Server: rs.name, Script: script,
		FIFO: "RS " + rs.name + " " + rs.vs.name + " " + upOrDown(up),
	})
}

func serverEvent(up bool) EventKind {
	if up {
		return ServerUp
	}
	return ServerDown
}
