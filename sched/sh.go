package sched

import "usvs/ipvs"

const (
	shBits = 8
	shSize = 1 << shBits
)

// sh is source hashing: a table of servers indexed by the client's address,
// with the port if the service says so.
type sh struct {
	table [shSize]*ipvs.RealServer // all nil without servers
}

// Schedule returns the server of the client's slot; if that is not usable,
// the next usable one of the fallback's probes, if the service wants one.
func (s *sh) Schedule(req *Request) *ipvs.RealServer {
	hash := hash32(uint32(hashedPort(req))+fold(req.Client), shBits)
	rs := s.table[hash]
	if rs == nil || usable(rs) {
		return rs
	}
	if req.Flags&ipvs.FlagSched1 == 0 {
		return nil
	}
	// The kernel adds the hash to an offset that holds it already: the probes
	// start at twice the hash.
	for k := range uint32(shSize) {
		if rs = s.table[(2*hash+k)%shSize]; usable(rs) {
			return rs
		}
	}
	return nil
}

// Update fills the table anew: in turn, each server takes as many slots as
// its weight, and one if that is 0.
func (s *sh) Update(_ Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	clear(s.table[:])
	if len(servers) == 0 {
		return nil
	}
	for slot, i := 0, 0; slot < shSize; i++ {
		rs := servers[i%len(servers)]
		for n := max(1, rs.Weight()); n > 0 && slot < shSize; n-- {
			s.table[slot] = rs
			slot++
		}
	}
	return nil
}
