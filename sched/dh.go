package sched

import "usvs/ipvs"

const dhBits = 8

// dh is destination hashing: a table of servers indexed by the packet's
// destination, for clusters of transparent caches.
type dh struct {
	table [1 << dhBits]*ipvs.RealServer // all nil without servers
}

// Schedule returns the server of the destination's slot; no other takes its
// place when it is not usable.
func (s *dh) Schedule(req *Request) *ipvs.RealServer {
	rs := s.table[hash32(fold(req.Dst), dhBits)]
	if rs == nil || !rs.Available() || !usable(rs) {
		return nil
	}
	return rs
}

// Update deals the slots out to all servers in turn, whatever their weight.
func (s *dh) Update(change Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	if change == Edit {
		return nil
	}
	clear(s.table[:])
	if len(servers) == 0 {
		return nil
	}
	for i := range s.table {
		s.table[i] = servers[i%len(servers)]
	}
	return nil
}
