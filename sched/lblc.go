package sched

import "usvs/ipvs"

// lblc is locality-based least-connection: a destination keeps its server
// until that one is overloaded, for clusters of transparent caches.
type lblc struct {
	serverList
	cache cache[*ipvs.RealServer]
}

// Schedule returns the server cached for the destination, or else the least
// loaded one, which is cached from then on. The connection thresholds do not
// hide a cached server.
func (s *lblc) Schedule(req *Request) *ipvs.RealServer {
	e := s.cache.lookup(req.Dst, req.Now, req.Sysctls.LBLCExpiration)
	if e != nil && s.stands(e.value) {
		return e.value
	}
	rs := s.leastLoaded()
	if rs == nil {
		return nil
	}
	if e == nil {
		e = s.cache.create(req.Dst, req.Now)
	}
	if e != nil {
		e.value = rs
	}
	return rs
}

// stands reports whether the cached server goes on.
func (s *lblc) stands(rs *ipvs.RealServer) bool {
	return rs.Available() && rs.Weight() > 0 && !locallyOverloaded(rs, s.servers)
}
