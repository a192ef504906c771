package health

import (
	"fmt"

	"usvs/clock"
)

// startService has a virtual server that is in IPVS begin: its servers that are
// not known to have failed are added, which is all but for alpha mode, and the
// quorum is looked at.
func (m *Monitor) startService(now clock.Instant, vs *service) {
	for _, rs := range vs.servers {
		if !rs.started {
			m.startServer(now, rs)
		}
	}
	m.updateQuorum(now, vs, true)
	m.poolSorry(vs)
}

func (m *Monitor) startServer(now clock.Instant, rs *server) {
	rs.started, rs.since = true, now
	m.pool(rs)
	if rs.alive && m.cfg.InitNotifies {
		m.notifyServer(rs, true)
	}
}

// aliveWeight is the weight of all servers that are up.
func (vs *service) aliveWeight() (sum int64) {
	for _, rs := range vs.servers {
		if rs.alive {
			sum += int64(rs.ipvsWeight())
		}
	}
	return sum
}

// tally is a quorum that was looked at.
type tally struct {
	quorum, hysteresis, limit, weight int64
}

func (vs *service) tally() tally {
	t := tally{quorum: int64(vs.cfg.Quorum), hysteresis: int64(vs.cfg.Hysteresis), weight: vs.aliveWeight()}
	if t.limit = t.quorum + t.hysteresis; vs.quorumUp {
		t.limit = t.quorum - t.hysteresis
	}
	return t
}

// body is the text of the mail about it: keepalived's is the same for both
// directions.
func (t tally) body(what string) string {
	return fmt.Sprintf("=> %s %d+%d=%d <= %d <=", what, t.quorum, t.hysteresis, t.limit, t.weight)
}

// updateQuorum sees whether the servers that are up are enough. Hysteresis keeps
// it from changing to and fro; no weight at all is never enough. At the start a
// virtual server without quorum is worth a word only if it has a sorry server.
func (m *Monitor) updateQuorum(now clock.Instant, vs *service, start bool) {
	t := vs.tally()
	enough := t.weight > 0 && t.weight >= t.limit
	switch {
	case enough && !vs.quorumUp:
		m.gainQuorum(now, vs, t, start)
	case !enough && (vs.quorumUp || start && vs.cfg.Sorry != nil && !vs.sorryUp):
		m.loseQuorum(now, vs, t, start)
	}
}

func (m *Monitor) gainQuorum(now clock.Instant, vs *service, t tally, start bool) {
	vs.quorumUp, vs.since = true, now
	m.logf(Info, "Gained quorum %d+%d=%d <= %d for VS %s", t.quorum, t.hysteresis, t.limit, t.weight, vs.name)
	if vs.sorryUp {
		m.removeSorry(vs)
	}
	what := "Gained quorum"
	if start {
		what = "Starting with quorum up"
	}
	m.notifyQuorum(vs, true)
	m.serviceMail(vs, true, t.body(what))
}

func (m *Monitor) loseQuorum(now clock.Instant, vs *service, t tally, start bool) {
	vs.quorumUp, vs.since = false, now
	what := "Lost quorum"
	if start {
		what = "Starting with quorum down"
	}
	m.logf(Info, "%s %d-%d=%d > %d for VS %s", what, t.quorum, t.hysteresis, t.limit, t.weight, vs.name)
	if vs.cfg.Sorry != nil && !vs.sorryUp {
		m.addSorry(vs)
	}
	m.notifyQuorum(vs, false)
	m.serviceMail(vs, false, t.body(what))
}

// addSorry has the sorry server stand in for the servers that are left.
func (m *Monitor) addSorry(vs *service) {
	verb := "Adding"
	if vs.cfg.Sorry.Inhibit {
		verb = "Enabling"
	}
	m.logf(Info, "%s sorry server %s to VS %s", verb, vs.sorryName(), vs.name)
	m.logf(Info, "Removing alive servers from the pool for VS %s", vs.name)
	vs.sorryUp = true
	m.poolAll(vs)
	m.poolSorry(vs)
}

// removeSorry has the servers that are up take their places again.
func (m *Monitor) removeSorry(vs *service) {
	verb := "Removing"
	if vs.cfg.Sorry.Inhibit {
		verb = "Disabling"
	}
	m.logf(Info, "%s sorry server %s from VS %s", verb, vs.sorryName(), vs.name)
	vs.sorryUp = false
	m.poolSorry(vs)
	m.logf(Info, "Adding alive servers to the pool for VS %s", vs.name)
	m.poolAll(vs)
}

func (vs *service) sorryName() string {
	return endpointName(vs.cfg.Sorry.ID.Addr, vs.cfg.Protocol, vs.cfg.Sorry.ID.Port)
}

// notifyQuorum tells of a virtual server that has enough servers, or has not.
func (m *Monitor) notifyQuorum(vs *service, up bool) {
	script := vs.cfg.QuorumDown
	if up {
		script = vs.cfg.QuorumUp
	}
	m.fx.Notify(Event{Kind: quorumEvent(up), Service: vs.name, Script: script, FIFO: "VS " + vs.name + " " + upOrDown(up)})
}
