package health

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"usvs/clock"
)

// startDelay is how long after a start or a reload the first check may run.
const startDelay = time.Second

// Monitor looks after the servers of a Config. It is not safe for concurrent
// use.
type Monitor struct {
	cfg      *Config
	fx       Effects
	rand     *rand.Rand
	services []*service
	queue    queue
	running  map[CheckID]*check
	lastID   CheckID
	order    uint64              // of the newest check
	round    uint64              // of reloads
	present  map[netip.Addr]bool // addresses the host has, for ha_suspend
	on       bool                // started and not stopped
}

// service is a virtual server.
type service struct {
	cfg      *VirtualServer
	name     string
	servers  []*server
	quorumUp bool
	sorryUp  bool // the sorry server stands in
	sorry    seat // the sorry server's
	since    clock.Instant
	round    uint64 // the last reload that it stayed in
}

// server is a real server of a virtual server.
type server struct {
	vs      *service
	cfg     *Server
	name    string
	checks  []*check
	failed  int   // checks that have failed
	weight  int64 // what the configuration and the checks make of it
	alive   bool
	seat    seat
	started bool // it was offered to IPVS
	changed int  // how often it went up or down
	since   clock.Instant
	round   uint64 // the last reload that it stayed in
}

// check is a checker of a server.
type check struct {
	rs      *server
	cfg     *Check
	probe   *Probe
	started bool
	enabled bool
	up      bool
	hasRun  bool
	strict  bool // it has not run since the start: one failure is enough
	retries int  // failures in a row that were put up with
	url     int  // of HTTP and SSL: the page the next attempt looks at
	// blocked is whether that page is why the server is down.
	blocked bool
	weight  int64 // what it adds to the server's weight

	id    CheckID // of the attempt that runs, or 0
	begun clock.Instant
	due   clock.Instant
	place int    // in the queue, or notQueued
	order uint64 // of creation

	// pending is a failure by way of the VIP, until it is known whether the
	// server answers directly.
	pending *Result

	attempts, failures uint64
	last               Result
	ended              clock.Instant // of the last attempt; 0: none yet
}

// New returns a Monitor that has not done anything yet.
func New(cfg *Config, fx Effects, random *rand.Rand) *Monitor {
	m := &Monitor{cfg: cfg, fx: fx, rand: random, running: map[CheckID]*check{}, present: map[netip.Addr]bool{}}
	for _, vs := range cfg.VirtualServers {
		m.services = append(m.services, m.newService(vs, true))
	}
	return m
}

// newService returns a virtual server that is not in IPVS yet. With strict, the
// first failure of a check is enough, as at the start.
func (m *Monitor) newService(cfg *VirtualServer, strict bool) *service {
	vs := &service{cfg: cfg, name: serviceName(cfg), servers: make([]*server, 0, len(cfg.Servers))}
	for _, rs := range cfg.Servers {
		vs.servers = append(vs.servers, m.newServer(vs, rs, strict))
	}
	return vs
}

func (m *Monitor) newServer(vs *service, cfg *Server, strict bool) *server {
	rs := &server{
		vs: vs, cfg: cfg, weight: int64(cfg.Spec.Weight),
		name: endpointName(cfg.ID.Addr, vs.cfg.Protocol, cfg.ID.Port),
	}
	for _, c := range cfg.Checks {
		rs.checks = append(rs.checks, m.newCheck(rs, c, strict))
	}
	rs.alive = rs.failed == 0
	return rs
}

// newCheck returns a check before its first attempt. keepalived's SMTP_CHECK is
// never strict.
func (m *Monitor) newCheck(rs *server, cfg *Check, strict bool) *check {
	m.order++
	c := &check{rs: rs, cfg: cfg, up: !cfg.Alpha, place: notQueued, order: m.order}
	if strict && cfg.Probe.Kind != SMTP {
		c.strict, c.retries = true, cfg.Retry
	}
	if cfg.Alpha {
		rs.failed++
	}
	c.probe = c.newProbe()
	return c
}

// Start puts the virtual servers into IPVS and has the checks begin.
func (m *Monitor) Start(now clock.Instant) {
	m.on = true
	for _, vs := range m.services {
		vs.since = now
		m.addServices(vs)
		m.startService(now, vs)
	}
	m.startChecks(now)
}

// startChecks has every check begin anew.
func (m *Monitor) startChecks(now clock.Instant) {
	for _, vs := range m.services {
		run := m.mayRun(vs)
		for _, rs := range vs.servers {
			for _, c := range rs.checks {
				m.startCheck(now, c, run)
			}
		}
	}
}

// Tick begins the attempts that are due, and returns when it wants to be called
// again.
func (m *Monitor) Tick(now clock.Instant) clock.Instant {
	for len(m.queue) > 0 && !m.queue[0].due.After(now) {
		c := m.queue[0]
		m.queue.remove(c)
		m.begin(now, c)
	}
	return m.queue.next()
}

// SetAddress says whether the host has an address, for virtual servers with
// ha_suspend. Until it is called the host has none.
func (m *Monitor) SetAddress(now clock.Instant, addr netip.Addr, present bool) {
	if m.present[addr] == present {
		return
	}
	verb := "removed"
	if present {
		verb = "added"
	}
	delete(m.present, addr)
	for _, vs := range m.services {
		if !vs.suspendedBy(addr) || !m.on {
			continue
		}
		m.logf(Info, "Netlink reflector reports IP %v %s", addr, verb)
		if !m.mayRun(vs) { // without this address
			m.suspend(vs, !present)
		}
	}
	if present {
		m.present[addr] = true
	}
}

// suspendedBy reports whether the virtual server's checks depend on addr.
func (vs *service) suspendedBy(addr netip.Addr) bool {
	if !vs.cfg.HASuspend {
		return false
	}
	for _, s := range vs.cfg.Services {
		if s.ID.Addr == addr {
			return true
		}
	}
	return false
}

// mayRun reports whether the checks of a virtual server are to run: those of a
// group while the host has one of its addresses.
func (m *Monitor) mayRun(vs *service) bool {
	if !vs.cfg.HASuspend {
		return true
	}
	for _, s := range vs.cfg.Services {
		if m.present[s.ID.Addr] {
			return true
		}
	}
	return false
}

func (m *Monitor) suspend(vs *service, suspended bool) {
	verb := "Activating"
	if suspended {
		verb = "Suspending"
	}
	for _, rs := range vs.servers {
		for _, c := range rs.checks {
			c.enabled = !suspended
			m.fx.Log(Info, verb+rs.checkedFor())
		}
	}
}

// checkedFor is the end of lines about a server's checks.
func (rs *server) checkedFor() string {
	return " healthchecker for service " + rs.name + " for VS " + rs.vs.name
}

func (m *Monitor) logf(level Level, format string, args ...any) {
	m.fx.Log(level, fmt.Sprintf(format, args...))
}
