package health

import (
	"time"

	"usvs/clock"
)

// startCheck has a check wait for its first attempt since a start or a reload:
// not all at the same moment, but spread over warmup. What watches begins now.
// keepalived says so of every check at every reload; here the log has what is
// new, so that a reload of many checks does not stop the owner's loop.
func (m *Monitor) startCheck(now clock.Instant, c *check, enabled bool) {
	news := !c.started || c.enabled != enabled
	c.started, c.enabled = true, enabled
	if c.cfg.Probe.Kind.Watch() {
		m.begin(now, c)
		return
	}
	verb := "Deactivating"
	if enabled {
		verb = "Activating"
	}
	if news {
		m.fx.Log(Info, verb+c.rs.checkedFor())
	}
	delay := startDelay
	if c.cfg.Warmup > 0 {
		delay += time.Duration(m.rand.Int64N(int64(c.cfg.Warmup)))
	}
	m.queue.add(c, now.Add(delay))
}

// begin begins an attempt, or puts it off as long as checks are suspended.
func (m *Monitor) begin(now clock.Instant, c *check) {
	if !c.enabled && !c.cfg.Probe.Kind.Watch() {
		m.wait(now, c, c.cfg.DelayLoop)
		return
	}
	c.begun = now
	c.attempts++
	if len(c.cfg.URLs) > 1 {
		c.probe = c.newProbe()
	}
	c.id = m.probe(c, c.probe)
}

// probe begins an attempt with a name of its own.
func (m *Monitor) probe(c *check, p *Probe) CheckID {
	m.lastID++
	m.running[m.lastID] = c
	m.fx.Probe(m.lastID, p)
	return m.lastID
}

// newProbe is what the next attempt looks at.
func (c *check) newProbe() *Probe {
	p := c.cfg.Probe
	p.Server, p.Service = c.rs.name, c.rs.vs.name
	if p.HTTP != nil && c.url < len(c.cfg.URLs) {
		request := *p.HTTP
		request.URL = c.cfg.URLs[c.url]
		p.HTTP = &request
	}
	c.route(&p)
	return &p
}

// Result says what came of an attempt. The Monitor has wanted to be told by
// Tick when the next is due; that may be earlier now.
func (m *Monitor) Result(now clock.Instant, id CheckID, r Result) {
	c := m.running[id]
	if c == nil {
		return
	}
	if !c.cfg.Probe.Kind.Watch() {
		delete(m.running, id)
		c.id = 0
	}
	if c.pending != nil {
		m.conclude(now, c, r)
		return
	}
	if !m.inquire(c, r) {
		m.judge(now, c, r)
	}
}
