package control

import (
	"fmt"

	"usvs/ipvs"
)

// Info describes the director.
func (c *Control) Info() (ipvs.Info, error) {
	return ipvs.Info{Version: [3]int{1, 2, 1}, ConnTableSize: c.cfg.Conns.Buckets()}, nil
}

// Services lists all services: those with an address before those with a
// fwmark, each newest first.
func (c *Control) Services() ([]ipvs.ServiceEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var byAddr, byMark []ipvs.ServiceEntry
	for i := len(c.services) - 1; i >= 0; i-- {
		svc := c.services[i]
		if svc.vs.ID.Mark == 0 {
			byAddr = append(byAddr, svc.entry())
		} else {
			byMark = append(byMark, svc.entry())
		}
	}
	return append(byAddr, byMark...), nil
}

// Service lists one service.
func (c *Control) Service(id ipvs.ServiceID) (ipvs.ServiceEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	svc, err := c.serviceLocked(id)
	if err != nil {
		return ipvs.ServiceEntry{}, fmt.Errorf("service %v: %w", id, err)
	}
	return svc.entry(), nil
}

func (s *service) entry() ipvs.ServiceEntry {
	e := ipvs.ServiceEntry{ID: s.vs.ID, Spec: s.spec, Stats: s.est.stats()}
	for _, srv := range s.servers {
		e.Servers = append(e.Servers, srv.entry())
	}
	return e
}

func (s *server) entry() ipvs.ServerEntry {
	return ipvs.ServerEntry{
		ID:         s.rs.ID,
		Spec:       s.rs.Spec(),
		Active:     count(s.rs.Active()),
		Inactive:   count(s.rs.Inactive()),
		Persistent: count(s.rs.Persistent()),
		Stats:      s.est.stats(),
	}
}

// count shows a counter that a worker is about to correct as 0.
func count(n int32) uint32 { return uint32(max(n, 0)) }

// Totals are the counters over all services, deleted ones included.
func (c *Control) Totals() ipvs.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.totals.stats()
}

// Connections lists the connection table without holding any lock.
func (c *Control) Connections(yield func(*ipvs.ConnEntry) bool) error {
	c.cfg.Conns.List(c.cfg.Clock.Now(), yield)
	return nil
}

// Timeouts are the connection timeouts.
func (c *Control) Timeouts() (ipvs.Timeouts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Conns.Timeouts(), nil
}

// SetTimeouts changes the connection timeouts; a 0 leaves one as it is.
func (c *Control) SetTimeouts(t ipvs.Timeouts) error {
	if err := checkTimeouts(t); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setTimeoutsLocked(t)
	return nil
}

func (c *Control) setTimeoutsLocked(t ipvs.Timeouts) {
	now := c.cfg.Conns.Timeouts()
	set := func(to *uint32, from uint32) {
		if from != 0 {
			*to = from
		}
	}
	set(&now.TCP, t.TCP)
	set(&now.TCPFin, t.TCPFin)
	set(&now.UDP, t.UDP)
	c.cfg.Conns.SetTimeouts(now)
}
