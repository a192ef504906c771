package sched

import (
	"slices"

	"usvs/clock"
	"usvs/ipvs"
)

// lblcr is lblc with replication: a destination has a set of servers, which
// grows when its least loaded member is overloaded and shrinks with time.
type lblcr struct {
	serverList
	cache cache[serverSet]
}

// lostMembers bounds the deleted servers of a set.
const lostMembers = 64

// serverSet is the servers of one destination.
type serverSet struct {
	members []*ipvs.RealServer // the last one inserted at the end
	lastMod clock.Instant      // last insertion or removal
}

// Schedule returns the least loaded server of the destination's set, or else
// the least loaded one of all, which joins the set.
func (s *lblcr) Schedule(req *Request) *ipvs.RealServer {
	expiration := req.Sysctls.LBLCRExpiration
	e := s.cache.lookup(req.Dst, req.Now, expiration)
	if e != nil {
		set := &e.value
		rs := set.min()
		if len(set.members) > 1 && req.Now.After(set.lastMod.Add(expiration)) {
			set.remove(set.max(), req.Now)
		}
		if rs != nil && !locallyOverloaded(rs, s.servers) {
			return rs
		}
	}
	rs := s.leastLoaded()
	if rs == nil {
		return nil
	}
	if e == nil {
		e = s.cache.create(req.Dst, req.Now)
	}
	if e != nil {
		e.value.insert(rs, req.Now, len(s.servers))
	}
	return rs
}

// min returns the usable member with the smallest overhead per weight, or nil.
func (set *serverSet) min() *ipvs.RealServer {
	var best *ipvs.RealServer
	var bestLoad, bestWeight int64
	for _, rs := range slices.Backward(set.members) {
		if !rs.Available() || !usable(rs) {
			continue
		}
		weight, load := int64(rs.Weight()), overhead(rs)
		if best == nil || bestLoad*weight > load*bestWeight {
			best, bestLoad, bestWeight = rs, load, weight
		}
	}
	return best
}

// max returns the member with the greatest overhead per weight, or nil if all
// are quiesced.
func (set *serverSet) max() *ipvs.RealServer {
	var worst *ipvs.RealServer
	var worstLoad, worstWeight int64
	for _, rs := range slices.Backward(set.members) {
		weight, load := int64(rs.Weight()), overhead(rs)
		if weight <= 0 {
			continue
		}
		if worst == nil || worstLoad*weight < load*worstWeight {
			worst, worstLoad, worstWeight = rs, load, weight
		}
	}
	return worst
}

// insert adds rs unless it is a member. Deleted servers stay members, as they
// may come back, but a set that has lostMembers more than the service has
// servers lets go of them: it must not grow for ever while servers come and go.
func (set *serverSet) insert(rs *ipvs.RealServer, now clock.Instant, servers int) {
	if slices.Contains(set.members, rs) {
		return
	}
	if len(set.members) >= servers+lostMembers {
		set.members = slices.DeleteFunc(set.members, func(m *ipvs.RealServer) bool { return !m.Available() })
	}
	set.members = append(set.members, rs)
	set.lastMod = now
}

// remove takes rs, which may be nil, out of the set.
func (set *serverSet) remove(rs *ipvs.RealServer, now clock.Instant) {
	i := slices.Index(set.members, rs)
	if i < 0 {
		return
	}
	set.members = slices.Delete(set.members, i, i+1)
	set.lastMod = now
}
