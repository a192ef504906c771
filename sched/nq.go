package sched

import "usvs/ipvs"

// nq is never queue: an idle server whatever its weight, else as sed.
type nq struct{ serverList }

// Schedule returns the first server without active connections, or the one
// where the new connection would wait least.
func (s *nq) Schedule(*Request) *ipvs.RealServer {
	if s.ranking != nil {
		return s.ranking.first(s.servers, byIdleness)
	}
	for _, rs := range s.servers {
		if rs.Active() == 0 && usable(rs) {
			return rs
		}
	}
	return leastLoaded(s.servers, expectedDelay)
}
