package health

import "usvs/clock"

// Stop ends all attempts and takes the virtual servers out of IPVS, as
// Config.OnStop says. Omega mode notifies of every quorum, and of every server
// that is deleted.
func (m *Monitor) Stop(clock.Instant) {
	if !m.on {
		return
	}
	m.on = false
	m.cancelAll()
	for _, vs := range m.services {
		m.clearService(vs, "Shutting down", m.cfg.OnStop)
	}
}

// cancelAll ends what runs and what waits.
func (m *Monitor) cancelAll() {
	m.queue.clear()
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

// clearService takes a virtual server out of IPVS: the sorry server, the
// servers, the services. Servers that go with their service go in silence. Mail
// is for what a reload removes: at the end nobody is left to send it.
func (m *Monitor) clearService(vs *service, verb string, mode StopMode) {
	if mode == StopServers {
		m.take(&vs.sorry)
		for _, rs := range vs.servers {
			m.clearServer(rs, verb)
		}
	}
	if vs.cfg.Omega && vs.quorumUp {
		t := vs.tally()
		vs.quorumUp = false
		m.notifyQuorum(vs, false)
		if m.on {
			m.serviceMail(vs, false, t.body("Lost quorum"))
		}
	}
	if mode == StopNothing {
		return
	}
	for _, s := range vs.cfg.Services {
		m.report(delService, s.ID, nil, m.fx.DeleteService(s.ID))
	}
}

// clearServer takes a server out of IPVS, also one that is inhibited.
func (m *Monitor) clearServer(rs *server, verb string) {
	inhibited := ""
	if rs.cfg.Inhibit && !rs.alive {
		inhibited = "(inhibited) "
	}
	m.fx.Log(Info, verb+" "+inhibited+"service "+rs.name+" from VS "+rs.vs.name)
	m.take(&rs.seat)
	if !rs.alive {
		return
	}
	rs.alive = false
	if rs.vs.cfg.Omega {
		m.notifyServer(rs, false)
	}
	if m.on {
		m.serverMail(rs, false, "=> "+verb+" <=")
	}
}
