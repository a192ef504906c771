package model

import (
	"fmt"

	"usvs/ipvs"
)

// Server is what a real server's settings and counts must be: section 4.5 and
// the last weight of 1.8. It hears of everything that the server itself does.
type Server struct {
	Weight, LastWeight int32
	Upper, Lower       uint32
	Active, Inactive   int
	Overload           bool
}

// NewServer returns what a server is that was just added with spec.
func NewServer(spec ipvs.ServerSpec) *Server {
	s := &Server{}
	s.Revive(spec)
	return s
}

// Revive is its return from the trash, with the counts it left with.
func (s *Server) Revive(spec ipvs.ServerSpec) {
	s.LastWeight = spec.Weight
	s.Edit(spec)
}

// Edit changes its settings. Only a higher upper threshold, or none, shows it
// to schedulers again (Linux 6.1).
func (s *Server) Edit(spec ipvs.ServerSpec) {
	if spec.UpperThreshold == 0 || spec.UpperThreshold > s.Upper {
		s.Overload = false
	}
	s.Weight, s.Upper, s.Lower = spec.Weight, spec.UpperThreshold, spec.LowerThreshold
	if s.Weight != 0 {
		s.LastWeight = s.Weight
	}
}

// Open is a new connection.
func (s *Server) Open(active bool) {
	*s.count(active)++
	if s.Upper != 0 && s.Active+s.Inactive >= int(s.Upper) {
		s.Overload = true
	}
}

// Close is the end of one.
func (s *Server) Close(active bool) {
	*s.count(active)--
	total := s.Active + s.Inactive
	if s.Lower != 0 && total < int(s.Lower) || s.Lower == 0 && 4*total < 3*int(s.Upper) {
		s.Overload = false
	}
}

// Turn makes one that was not active so, or the other way round.
func (s *Server) Turn(active bool) {
	*s.count(!active)--
	*s.count(active)++
}

func (s *Server) count(active bool) *int {
	if active {
		return &s.Active
	}
	return &s.Inactive
}

// Differs says in what rs is not as it must be; "" if in nothing.
func (s *Server) Differs(rs *ipvs.RealServer) string {
	spec := rs.Spec()
	got := Server{
		Weight: spec.Weight, LastWeight: rs.LastWeight(), Upper: spec.UpperThreshold, Lower: spec.LowerThreshold,
		Active: int(rs.Active()), Inactive: int(rs.Inactive()), Overload: rs.Overloaded(),
	}
	if got == *s {
		return ""
	}
	return fmt.Sprintf("%v is %+v, must be %+v", rs.ID, got, *s)
}
