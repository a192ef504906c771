package health

import (
	"math"
	"slices"

	"usvs/clock"
)

// setCheck notes what a check says now. The server changes with its first check
// that fails, and with the last one that recovers.
func (m *Monitor) setCheck(now clock.Instant, c *check, up bool) {
	first := !c.hasRun
	c.hasRun = true
	if c.up == up {
		if first && !up && !c.web() {
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
		m.updateQuorum(now, c.rs.vs, false)
	}
}

// setServer takes a server up or down: IPVS first, then who is to be told. The
// quorum is to be looked at next. While the sorry server stands in, IPVS is told
// nothing.
func (m *Monitor) setServer(now clock.Instant, rs *server, alive bool) {
	m.fx.Log(Info, rs.verb(alive)+" service "+rs.name+" "+rs.preposition(alive)+" VS "+rs.vs.name)
	rs.alive, rs.since = alive, now
	rs.changed++
	m.pool(rs)
	m.notifyServer(rs, alive)
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
	if rs.ipvsWeight() == old {
		return
	}
	m.logWeight(rs, old)
	m.pool(rs)
	m.updateQuorum(now, rs.vs, false)
}

func (m *Monitor) logWeight(rs *server, old int32) {
	in := "in"
	if rs.alive {
		in = ""
	}
	m.logf(Info, "Changing weight from %d to %d for %sactive service %s of VS %s", old, rs.ipvsWeight(), in, rs.name, rs.vs.name)
}

// ipvsWeight is the server's weight as IPVS takes it.
func (rs *server) ipvsWeight() int32 {
	return int32(min(max(rs.weight, 0), math.MaxInt32))
}

// pool makes a server stand in IPVS as it is to: with its weight if it is up and
// no sorry server stands in; else, if it is inhibited, with weight 0; else not.
// If it is the sorry server itself that stands in, that has the place.
func (m *Monitor) pool(rs *server) {
	vs, spec := rs.vs, rs.cfg.Spec
	spec.Weight = rs.ipvsWeight()
	if !rs.alive || vs.sorryUp {
		if !rs.cfg.Inhibit || vs.sorryUp && vs.isSorry(rs) {
			m.take(&rs.seat)
			return
		}
		spec.Weight = 0
	}
	m.put(vs, &rs.seat, rs.cfg.ID, rs.cfg.Targets, spec)
}

// poolAll is pool for all servers: what is as it should be stays untouched.
func (m *Monitor) poolAll(vs *service) {
	for _, rs := range vs.servers {
		m.pool(rs)
	}
}

// poolSorry is pool for the sorry server.
func (m *Monitor) poolSorry(vs *service) {
	sorry := vs.cfg.Sorry
	if sorry == nil || !vs.sorryUp && (!sorry.Inhibit || slices.ContainsFunc(vs.servers, vs.isSorry)) {
		m.take(&vs.sorry)
		return
	}
	spec := sorry.Spec
	if !vs.sorryUp {
		spec.Weight = 0
	}
	m.put(vs, &vs.sorry, sorry.ID, sorry.Targets, spec)
}

// isSorry reports whether a server is also the sorry server.
func (vs *service) isSorry(rs *server) bool {
	return vs.cfg.Sorry != nil && vs.cfg.Sorry.ID == rs.cfg.ID
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

func quorumEvent(up bool) EventKind {
	if up {
		return QuorumUp
	}
	return QuorumDown
}
