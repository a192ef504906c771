package sched

import "usvs/ipvs"

// lc is least-connection: the smallest overhead. Weights only say on or off.
type lc struct{ serverList }

// Schedule returns the least loaded usable server.
func (s *lc) Schedule(*Request) *ipvs.RealServer {
	if s.ranking != nil {
		return s.ranking.first(s.servers, byOverhead)
	}
	var best *ipvs.RealServer
	var least int64
	for _, rs := range s.servers {
		if !usable(rs) {
			continue
		}
		if load := overhead(rs); best == nil || load < least {
			best, least = rs, load
		}
	}
	return best
}
