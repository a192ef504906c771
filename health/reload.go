package health

import (
	"usvs/clock"
	"usvs/ipvs"
)

// identity is what makes a virtual server the same as one of the configuration
// before.
type identity struct {
	group    string
	protocol ipvs.Protocol
	service  ipvs.ServiceID // without a group
}

func (vs *VirtualServer) identity() identity {
	if vs.Group != "" || len(vs.Services) == 0 {
		return identity{group: vs.Group, protocol: vs.Protocol}
	}
	return identity{service: vs.Services[0].ID}
}

// change is a virtual server on its way to another configuration.
type change struct {
	vs      *service
	next    *VirtualServer
	fresh   bool      // it was not there before
	same    bool      // it is as it was
	kept    []*server // those of next.Servers that stay, nil for those that come
	missing []Service // services that next has and the one before has not
}

// Reload has cfg take the place of the running configuration. What is in both
// stays as it is: virtual servers with their quorum, servers, and what checks
// have found that look at the same in the same way. All checks begin anew. A
// VirtualServer that both have is not looked at: it says what it said.
//
// First goes what is gone, then comes what is new, so that an address can move
// from one virtual server to another.
func (m *Monitor) Reload(now clock.Instant, cfg *Config) {
	m.cancelAll()
	m.round++
	changes := m.match(cfg.VirtualServers)
	m.removeServices()
	for i := range changes {
		m.shrink(&changes[i])
	}
	m.cfg, m.services = cfg, make([]*service, len(changes))
	for i := range changes {
		m.grow(now, &changes[i])
		m.services[i] = changes[i].vs
	}
	m.startChecks(now)
}

// match finds the virtual servers that stay. Several of the same identity, such as
// a group of marks for IPv4 and for IPv6, are told apart by what they share.
func (m *Monitor) match(next []*VirtualServer) []change {
	same, sharing := make(map[identity][]*service, len(m.services)), map[ipvs.ServiceID]*service{}
	for _, vs := range m.services {
		id := vs.cfg.identity()
		same[id] = append(same[id], vs)
		for _, s := range vs.cfg.Services {
			sharing[s.ID] = vs
		}
	}
	changes := make([]change, len(next))
	for i, cfg := range next {
		changes[i].next = cfg
		for _, s := range cfg.Services {
			if vs := sharing[s.ID]; vs != nil && vs.cfg.identity() == cfg.identity() && m.claim(&changes[i], vs) {
				break
			}
		}
	}
	for i, cfg := range next {
		for _, vs := range same[cfg.identity()] {
			if changes[i].vs != nil || m.claim(&changes[i], vs) {
				break
			}
		}
	}
	return changes
}

// claim has a virtual server stay, unless it is another's already.
func (m *Monitor) claim(c *change, vs *service) bool {
	if vs.round == m.round {
		return false
	}
	vs.round, c.vs = m.round, vs
	return true
}

// removeServices takes away what is no longer wanted, in the order in which it
// was configured.
func (m *Monitor) removeServices() {
	for _, vs := range m.services {
		if vs.round != m.round {
			m.fx.Log(Info, "Removing Virtual Server "+vs.name)
			m.clearService(vs, "Removing", StopServers)
		}
	}
}

// shrink takes away what the next configuration of a virtual server has no
// more: servers, the sorry server, services of a group.
func (m *Monitor) shrink(c *change) {
	vs, next := c.vs, c.next
	if vs == nil {
		c.vs, c.fresh, c.missing = m.newService(next, false), true, next.Services
		return
	}
	if c.same = vs.cfg == next; c.same {
		return
	}
	m.removeServers(c)
	for i, rs := range c.kept {
		if rs != nil {
			m.shrinkSeat(&rs.seat, next.Services, next.Servers[i].ID, next.Servers[i].Targets)
		}
	}
	m.shrinkSorry(vs, next)
	m.shrinkServices(c)
}

// removeServers finds the servers that stay and removes the others.
func (m *Monitor) removeServers(c *change) {
	c.kept = make([]*server, len(c.next.Servers))
	find := c.vs.finder()
	for i, cfg := range c.next.Servers {
		if rs := find(i, cfg.ID); rs != nil && rs.round != m.round {
			rs.round = m.round
			c.kept[i] = rs
		}
	}
	for _, rs := range c.vs.servers {
		if rs.round == m.round {
			continue
		}
		m.fx.Log(Info, "service "+rs.name+" no longer exist")
		if rs.alive || rs.seat.set {
			m.clearServer(rs, "Removing")
		}
	}
}

// finder returns a function that finds a server by its ID, at once if it stands
// where it is expected.
func (vs *service) finder() func(i int, id ipvs.ServerID) *server {
	var byID map[ipvs.ServerID]*server
	return func(i int, id ipvs.ServerID) *server {
		if i < len(vs.servers) && vs.servers[i].cfg.ID == id {
			return vs.servers[i]
		}
		if byID == nil {
			byID = make(map[ipvs.ServerID]*server, len(vs.servers))
			for _, rs := range vs.servers {
				byID[rs.cfg.ID] = rs
			}
		}
		return byID[id]
	}
}

// shrinkSorry removes a sorry server that is no more. If it stands in, and
// another takes its place, that one stands in.
func (m *Monitor) shrinkSorry(vs *service, next *VirtualServer) {
	old := vs.cfg.Sorry
	switch {
	case old == nil:
	case next.Sorry != nil && next.Sorry.ID == old.ID:
		m.shrinkSeat(&vs.sorry, next.Services, next.Sorry.ID, next.Sorry.Targets)
	case vs.sorry.set:
		m.logf(Info, "Removing sorry server %s from VS %s", vs.sorryName(), vs.name)
		m.take(&vs.sorry)
		vs.sorryUp = vs.sorryUp && next.Sorry != nil
	}
}

// shrinkServices deletes the services that are no more, edits those that stay,
// and finds those that come.
func (m *Monitor) shrinkServices(c *change) {
	old := make(map[ipvs.ServiceID]ipvs.ServiceSpec, len(c.vs.cfg.Services))
	for _, s := range c.vs.cfg.Services {
		old[s.ID] = s.Spec
	}
	for _, s := range c.next.Services {
		spec, there := old[s.ID]
		delete(old, s.ID)
		switch {
		case !there:
			c.missing = append(c.missing, s)
		case spec != s.Spec:
			m.report(editService, s.ID, nil, m.fx.EditService(s.ID, s.Spec))
		}
	}
	for _, s := range c.vs.cfg.Services {
		if _, gone := old[s.ID]; !gone {
			continue
		}
		name := memberName(s.ID)
		if s.ID.Mark != 0 {
			name = name[len("FWM "):] // as keepalived has it here
		}
		m.logf(Info, "VS [%s] in group %s no longer exists", name, c.next.Group)
		m.report(delService, s.ID, nil, m.fx.DeleteService(s.ID))
	}
}

// grow adds what a virtual server has now, and looks at its quorum.
func (m *Monitor) grow(now clock.Instant, c *change) {
	vs := c.vs
	vs.cfg = c.next
	for _, s := range c.missing {
		m.addService(s)
		if !c.fresh {
			m.logf(Info, "VS [%s] added into group %s", memberName(s.ID), vs.cfg.Group)
		}
	}
	if c.fresh {
		vs.since = now
		m.startService(now, vs)
		return
	}
	if c.same {
		c.kept = vs.servers
	} else {
		m.growServers(c)
	}
	for i, rs := range vs.servers {
		if rs == c.kept[i] {
			m.adopt(now, rs, c.next.Servers[i])
		}
	}
	m.standInAgain(vs)
	m.startService(now, vs)
}

// growServers adds servers and the sorry server to the services that a virtual
// server has now, and makes those servers that come.
func (m *Monitor) growServers(c *change) {
	vs := c.vs
	vs.servers = make([]*server, len(c.next.Servers))
	for i, cfg := range c.next.Servers {
		if rs := c.kept[i]; rs != nil {
			vs.servers[i] = rs
			m.growSeat(&rs.seat)
		} else {
			vs.servers[i] = m.newServer(vs, cfg, false)
		}
	}
	m.growSeat(&vs.sorry)
	if !vs.sorryUp {
		m.poolSorry(vs) // its place may be a server's now
	}
}

// standInAgain is for a sorry server that takes the place of another.
func (m *Monitor) standInAgain(vs *service) {
	if vs.sorryUp && !vs.sorry.set {
		m.logf(Info, "Adding sorry server %s to VS %s", vs.sorryName(), vs.name)
		m.poolSorry(vs)
	}
}

// adopt has a server that stays go by another configuration.
func (m *Monitor) adopt(now clock.Instant, rs *server, cfg *Server) {
	old := rs.ipvsWeight()
	if rs.cfg != cfg {
		rs.cfg, rs.checks = cfg, m.adoptChecks(rs, cfg)
	} else {
		for _, c := range rs.checks {
			c.adopt(c.cfg)
		}
	}
	rs.failed, rs.weight = 0, int64(cfg.Spec.Weight)
	for _, c := range rs.checks {
		rs.weight += c.weight
		if !c.up {
			rs.failed++
		}
	}
	if rs.ipvsWeight() != old {
		m.logWeight(rs, old)
	}
	if alive := rs.failed == 0; alive != rs.alive {
		m.setServer(now, rs, alive)
		return
	}
	m.pool(rs)
}

// adoptChecks returns the checks that a server has now: those that look at the
// same as one before are that one.
func (m *Monitor) adoptChecks(rs *server, cfg *Server) []*check {
	checks := make([]*check, len(cfg.Checks))
	old := rs.checks
	for i, next := range cfg.Checks {
		for j, c := range old {
			if c != nil && c.cfg.same(next) {
				checks[i] = c.adopt(next)
				old[j] = nil
				break
			}
		}
		if checks[i] == nil {
			checks[i] = m.newCheck(rs, next, false)
		}
	}
	return checks
}

// adopt has a check that stays go by another configuration, which differs in
// its timing only.
func (c *check) adopt(cfg *Check) *check {
	asks := c.cfg == cfg // what it asked
	c.cfg, c.retries = cfg, 0
	if c.strict || c.blocked {
		c.retries = cfg.Retry
	}
	if !c.blocked && c.url != 0 {
		c.url, asks = 0, false
	}
	if !asks {
		c.probe = c.newProbe()
	}
	return c
}
