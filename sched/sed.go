package sched

import "usvs/ipvs"

// sed is shortest expected delay: the smallest (active+1) per weight.
type sed struct{ serverList }

// Schedule returns the server where the new connection would wait least.
func (s *sed) Schedule(*Request) *ipvs.RealServer {
	if s.ranking != nil {
		return s.ranking.first(s.servers, byDelayPerWeight)
	}
	return leastLoaded(s.servers, expectedDelay)
}
