package sched

import (
	"slices"

	"usvs/ipvs"
)

// rr is round-robin: the next usable server behind the one chosen last.
type rr struct {
	servers []*ipvs.RealServer
	// after counts the servers up to and including the one chosen last; 0 if
	// the round starts at the head.
	after int
}

// Schedule looks at every server once, the one chosen last at the end. A
// failed round leaves the cursor where it was.
func (s *rr) Schedule(*Request) *ipvs.RealServer {
	n := len(s.servers)
	for k := range n {
		i := s.after + k
		if i >= n {
			i -= n
		}
		if rs := s.servers[i]; usable(rs) {
			s.after = i + 1
			return rs
		}
	}
	return nil
}

// Update keeps the cursor on its server; if that one was deleted, on its
// predecessor, so that nobody is skipped.
func (s *rr) Update(change Change, servers []*ipvs.RealServer, rs *ipvs.RealServer) error {
	switch {
	case change == Bind:
		s.after = 0
	case change == Add && s.after > 0:
		s.after++
	case change == Delete:
		if i := slices.Index(s.servers, rs); 0 <= i && i < s.after {
			s.after--
		}
	}
	s.servers = servers
	return nil
}
