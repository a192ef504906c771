package sched

import (
	"math"

	"usvs/ipvs"
)

// wrr is weighted round-robin. A lap visits the levels top, top-step, ..., 1;
// at each level every server of at least that weight is served once.
//
// top is the greatest weight less step-1, so that the last level of a lap is
// always 1 and catches servers whose weight fell below step meanwhile.
type wrr struct {
	servers []*ipvs.RealServer
	// after counts the servers up to and including the one chosen last; 0 if
	// the walk starts at the head.
	after            int
	level, top, step int64
}

// Schedule walks on from the server chosen last. It gives up only after every
// server was refused once at the final level of a lap.
func (s *wrr) Schedule(*Request) *ipvs.RealServer {
	if s.top == 0 {
		return nil
	}
	start := s.after
	if rs, _ := s.walk(start, len(s.servers)); rs != nil {
		return rs
	}
	finished := start == 0 && s.level <= s.step // a final level, walked from the head
	seen := int64(math.MaxInt64)                // nothing is known of those before start
	wrapped := false
	for {
		s.lower(seen)
		if s.level <= 0 {
			s.level = s.top
			if finished || start == 0 {
				s.after = 0
				return nil
			}
			wrapped = true
		}
		finished = s.level <= s.step
		end := len(s.servers)
		if finished && wrapped {
			end = start // behind it everyone was refused before the wrap
		}
		rs, most := s.walk(0, end)
		if rs != nil {
			return rs
		}
		if finished && wrapped {
			s.after = start
			return nil
		}
		seen = most
	}
}

// walk chooses the first server in [from, end) that may be served at this
// level. If there is none it returns the greatest weight it saw.
func (s *wrr) walk(from, end int) (rs *ipvs.RealServer, most int64) {
	for i := from; i < end; i++ {
		rs := s.servers[i]
		if rs.Overloaded() {
			continue
		}
		w := int64(rs.Weight())
		if w >= s.level {
			s.after = i + 1
			return rs, w
		}
		most = max(most, w)
	}
	return nil, most
}

// lower goes to the next level, or at once to the first one that a server of
// the given weight reaches. It never passes by the final level of the lap.
func (s *wrr) lower(weight int64) {
	s.level -= s.step
	if s.level <= weight {
		return
	}
	final := (s.level-1)%s.step + 1
	steps := (s.level - weight + s.step - 1) / s.step
	s.level = max(final, s.level-steps*s.step)
}

// Update derives top and step anew and restarts at the head. The level is
// kept as far as it is still one of a lap's.
func (s *wrr) Update(change Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	s.servers, s.after = servers, 0
	s.top, s.step = levels(servers)
	switch {
	case change == Bind || s.level == 0 || s.level > s.top:
		s.level = s.top
	case s.step > 1:
		s.level = s.level/s.step*s.step + 1
	}
	return nil
}

// levels returns the highest level of a lap and the distance between levels,
// which is the greatest common divisor of all weights.
func levels(servers []*ipvs.RealServer) (top, step int64) {
	for _, rs := range servers {
		w := int64(rs.Weight())
		top, step = max(top, w), gcd(step, w)
	}
	if step == 0 {
		step = 1
	}
	return top - (step - 1), step
}

// gcd returns the greatest common divisor, where 0 divides nothing.
func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
