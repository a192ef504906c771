package sched

import "usvs/ipvs"

// fo is weighted fail-over: the greatest weight takes everything.
type fo struct{ serverList }

// Schedule returns the heaviest usable server.
func (s *fo) Schedule(*Request) *ipvs.RealServer {
	if s.ranking != nil {
		return s.ranking.first(s.servers, byLightness)
	}
	return heaviest(s.servers, func(*ipvs.RealServer, int32) bool { return true })
}
