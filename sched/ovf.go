package sched

import "usvs/ipvs"

// ovf is weighted overflow: the greatest weight takes everything until its
// active connections exceed its weight, then the next one does.
type ovf struct{ serverList }

// Schedule returns the heaviest usable server that is not full. If all are
// full there is none.
func (s *ovf) Schedule(*Request) *ipvs.RealServer {
	if s.ranking != nil {
		return s.ranking.first(s.servers, byLightnessNotFull)
	}
	return heaviest(s.servers, notFull)
}

func notFull(rs *ipvs.RealServer, weight int32) bool { return rs.Active() <= weight }
