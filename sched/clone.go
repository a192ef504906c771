package sched

import (
	"maps"
	"math/rand/v2"

	"usvs/ipvs"
)

// Mapping says which real server takes another one's place in a copy. It must
// know every server, deleted ones included.
type Mapping func(*ipvs.RealServer) *ipvs.RealServer

func (m Mapping) list(servers []*ipvs.RealServer) []*ipvs.RealServer {
	out := make([]*ipvs.RealServer, len(servers))
	for i, rs := range servers {
		out[i] = m.one(rs)
	}
	return out
}

func (m Mapping) one(rs *ipvs.RealServer) *ipvs.RealServer {
	if rs == nil {
		return nil
	}
	return m(rs)
}

func (l *serverList) clone(m Mapping) serverList { return newServerList(m.list(l.servers)) }

// Clone copies the scheduler with its state, over the servers that m names.
func (s *lc) Clone(m Mapping) Scheduler { return &lc{s.clone(m)} }

// Clone copies the scheduler.
func (s *wlc) Clone(m Mapping) Scheduler { return &wlc{s.clone(m)} }

// Clone copies the scheduler.
func (s *sed) Clone(m Mapping) Scheduler { return &sed{s.clone(m)} }

// Clone copies the scheduler.
func (s *nq) Clone(m Mapping) Scheduler { return &nq{s.clone(m)} }

// Clone copies the scheduler.
func (s *fo) Clone(m Mapping) Scheduler { return &fo{s.clone(m)} }

// Clone copies the scheduler.
func (s *ovf) Clone(m Mapping) Scheduler { return &ovf{s.clone(m)} }

// Clone copies the scheduler with its cursor.
func (s *rr) Clone(m Mapping) Scheduler { return &rr{m.list(s.servers), s.after} }

// Clone copies the scheduler with its cursor and level.
func (s *wrr) Clone(m Mapping) Scheduler {
	c := *s
	c.servers = m.list(s.servers)
	return &c
}

// Clone copies the scheduler with its random source: both draw the same.
func (s *twos) Clone(m Mapping) Scheduler {
	c := &twos{serverList: s.clone(m), pcg: s.pcg}
	c.rng = rand.New(&c.pcg)
	return c
}

// Clone copies the scheduler with its table.
func (s *dh) Clone(m Mapping) Scheduler {
	return &dh{[1 << dhBits]*ipvs.RealServer(m.list(s.table[:]))}
}

// Clone copies the scheduler with its table.
func (s *sh) Clone(m Mapping) Scheduler { return &sh{[shSize]*ipvs.RealServer(m.list(s.table[:]))} }

// Clone copies the scheduler with its table, or the need to make one.
func (s *mh) Clone(m Mapping) Scheduler {
	return &mh{
		servers: m.list(s.servers), stale: s.stale, owners: m.list(s.owners),
		// populate fills them within their capacity.
		table: append(make([]uint16, 0, mhSize), s.table...), turns: make([]mhTurn, 0, len(s.servers)),
	}
}

// Clone copies the scheduler with its cache.
func (s *lblc) Clone(m Mapping) Scheduler {
	return &lblc{s.serverList.clone(m), s.cache.clone(m.one)}
}

// Clone copies the scheduler with its cache.
func (s *lblcr) Clone(m Mapping) Scheduler {
	set := func(set serverSet) serverSet { return serverSet{m.list(set.members), set.lastMod} }
	return &lblcr{s.serverList.clone(m), s.cache.clone(set)}
}

// clone copies the cache with the entries' order, and each value by of.
func (c *cache[V]) clone(of func(V) V) cache[V] {
	d := *c
	d.entries = maps.Clone(c.entries)
	for i := range d.buckets {
		for link := &d.buckets[i]; *link != nil; link = &(*link).next {
			e := **link
			e.value = of(e.value)
			*link = &e
			d.entries[e.dst] = &e
		}
	}
	return d
}
