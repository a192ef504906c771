package model

import (
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/ipvs"
	"usvs/sched"
)

const (
	buckets   = 1024
	softLimit = 16 * buckets
	hardLimit = softLimit + softLimit/2
	period    = time.Minute
	idleAge   = 6 * time.Minute
	lap       = 30 // ticks
	spare     = 64 // deleted servers a set may hold beyond the service's size
)

// caching is sections 1.9 and 1.10: lblc, where an entry never has more than
// one member, and lblcr.
type caching struct {
	servers  []*ipvs.RealServer
	many     bool              // lblcr
	table    [buckets][]*entry // the newest first
	size     int
	rover    int
	counter  int
	nextTick clock.Instant
	started  bool
}

// entry is what is remembered of a destination.
type entry struct {
	dst              netip.Addr
	members          []*ipvs.RealServer // the newest first
	lastUse, lastMod clock.Instant
}

func newCaching(many bool) *caching { return &caching{many: many, counter: 1} }

// Schedule runs the ticks that came due, one by one, and then the steps.
func (m *caching) Schedule(req *sched.Request) *ipvs.RealServer {
	expiration := req.Sysctls.LBLCExpiration
	if m.many {
		expiration = req.Sysctls.LBLCRExpiration
	}
	if !m.started { // the kernel starts with the service
		m.started, m.nextTick = true, req.Now.Add(period)
	}
	for m.nextTick < req.Now {
		m.tick(m.nextTick, expiration)
		m.nextTick = m.nextTick.Add(period)
	}
	e := m.find(req.Dst)
	if e != nil {
		e.lastUse = req.Now
		if rs := m.remembered(e, req.Now, expiration); rs != nil {
			return rs
		}
	}
	rs := rules["wlc"].pick(m.servers)
	if rs == nil {
		return nil
	}
	if e == nil {
		e = m.create(req.Dst, req.Now)
	}
	if e != nil {
		m.remember(e, rs, req.Now)
	}
	return rs
}

// remembered is the entry's choice, or nil if the service has to pick.
func (m *caching) remembered(e *entry, now clock.Instant, expiration time.Duration) *ipvs.RealServer {
	if !m.many {
		rs := e.members[0]
		if rs.Available() && rs.Weight() > 0 && !m.overloaded(rs) {
			return rs
		}
		return nil
	}
	least := rule{
		func(rs *ipvs.RealServer) bool { return rs.Available() && usable(rs) }, loadPerWeight,
	}.pick(e.members)
	if len(e.members) > 1 && now > e.lastMod.Add(expiration) {
		m.shrink(e, now)
	}
	if least != nil && !m.overloaded(least) {
		return least
	}
	return nil
}

// shrink removes the most loaded member. The set's rule for that looks at
// weights alone: not at thresholds, and not at who was deleted.
func (m *caching) shrink(e *entry, now clock.Instant) {
	var most *ipvs.RealServer
	for _, rs := range e.members {
		if rs.Weight() <= 0 {
			continue
		}
		if most == nil || loadPerWeight(rs).Cmp(loadPerWeight(most)) > 0 {
			most = rs
		}
	}
	if most != nil {
		e.members = slices.DeleteFunc(e.members, func(rs *ipvs.RealServer) bool { return rs == most })
		e.lastMod = now
	}
}

// remember makes the pick the entry's only member, or one more.
func (m *caching) remember(e *entry, rs *ipvs.RealServer, now clock.Instant) {
	if !m.many {
		e.members = []*ipvs.RealServer{rs}
		return
	}
	if slices.Contains(e.members, rs) {
		return
	}
	if len(e.members) >= len(m.servers)+spare { // of usvs; the kernel's sets grow
		e.members = slices.DeleteFunc(e.members, func(rs *ipvs.RealServer) bool { return !rs.Available() })
	}
	e.members = slices.Insert(e.members, 0, rs)
	e.lastMod = now
}

// overloaded is what section 1.9 calls locally overloaded.
func (m *caching) overloaded(rs *ipvs.RealServer) bool {
	return rs.Active() > rs.Weight() && slices.ContainsFunc(m.servers, func(e *ipvs.RealServer) bool {
		return 2*int64(e.Active()) < int64(e.Weight())
	})
}

// tick is one run of the collection timer.
func (m *caching) tick(now clock.Instant, expiration time.Duration) {
	switch {
	case m.counter%lap == 0:
		for range buckets {
			m.drop(now, expiration)
		}
		m.counter = 1
	case m.size <= softLimit:
		m.counter++
	default:
		goal := min((m.size-softLimit)*4/3, softLimit/2)
		for n := 0; n < buckets && goal > 0; n++ {
			goal -= m.drop(now, idleAge)
		}
	}
}

// drop moves the rover on by a bucket, and frees what was idle in that.
func (m *caching) drop(now clock.Instant, age time.Duration) (freed int) {
	m.rover = (m.rover + 1) % buckets
	before := len(m.table[m.rover])
	m.table[m.rover] = slices.DeleteFunc(m.table[m.rover], func(e *entry) bool {
		return e.lastUse.Add(age) <= now
	})
	freed = before - len(m.table[m.rover])
	m.size -= freed
	return freed
}

func (m *caching) find(dst netip.Addr) *entry {
	for _, e := range m.table[golden(fold(dst), 10)] {
		if e.dst == dst {
			return e
		}
	}
	return nil
}

// create returns nil above the hard limit.
func (m *caching) create(dst netip.Addr, now clock.Instant) *entry {
	if m.size >= hardLimit {
		return nil
	}
	e := &entry{dst: dst, lastUse: now}
	b := &m.table[golden(fold(dst), 10)]
	*b = slices.Insert(*b, 0, e)
	m.size++
	return e
}

// Update takes the list; what is remembered of a deleted server stays.
func (m *caching) Update(_ sched.Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	m.servers = servers
	return nil
}
