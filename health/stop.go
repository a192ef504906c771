package health

import "usvs/clock"

// Stop ends all attempts and takes the virtual servers out of IPVS, as
// Config.OnStop says. Omega mode notifies of every server and quorum that goes
// with it.
func (m *Monitor) Stop(now clock.Instant) {
	if !m.on {
		return
	}
	m.on = false
	m.cancelAll()
	for _, vs := range m.services {
		m.clearService(vs, "Shutting down")
	}
}

// cancelAll ends what runs and what waits.
func (m *Monitor) cancelAll() {
	for _, vs := range m.services {
		for _, rs := range vs.servers {
			for _, c := range rs.checks {
				m.cancel(c)
			}
		}
	}
}

func (m *Monitor) cancel(c *check) {
	m.queue.remove(c)
	if c.id != 0 {
		m.fx.Cancel(c.id)
		delete(m.running, c.id)
		c.id = 0
	}
	c.pending = nil
}

// clearService takes a virtual server out of IPVS.
func (m *Monitor) clearService(vs *service, verb string) {
	if m.cfg.OnStop == StopNothing {
		return
	}
	for _, rs := range vs.servers {
		m.clearServer(rs, verb)
	}
	if vs.sorrySet && m.cfg.OnStop == StopServers {
		m.setInIPVS(vs, place{vs.cfg.Sorry.ID, vs.cfg.Sorry.Targets, &vs.sorrySet}, vs.cfg.Sorry.Spec, false)
	}
	for _, s := range vs.cfg.Services {
		m.report("IP_VS_SO_SET_DEL", m.fx.DeleteService(s.ID))
	}
	if vs.cfg.Omega && vs.quorumUp {
		vs.quorumUp = false
		m.notifyQuorum(vs, false, "=> Shutting down <=")
	}
}

// clearServer takes a server out of IPVS, also one that is inhibited.
func (m *Monitor) clearServer(rs *server, verb string) {
	if !rs.set && !rs.alive {
		return
	}
	m.logf(Info, "%s service %s from VS %s", verb, rs.name, rs.vs.name)
	if rs.set && m.cfg.OnStop == StopServers {
		m.setInIPVS(rs.vs, place{rs.cfg.ID, rs.cfg.Targets, &rs.set}, rs.cfg.Spec, false)
	}
	if wasAlive := rs.alive; wasAlive && rs.vs.cfg.Omega {
		rs.alive = false
		m.notifyServer(rs, false)
	}
}
