package sched

import (
	"math/rand/v2"

	"usvs/ipvs"
)

// twos is the power of two choices: the less loaded of two servers drawn at
// random by weight.
type twos struct {
	serverList
	pcg rand.PCG
	rng *rand.Rand // over pcg
}

func newTwos(seeds *rand.Rand) *twos {
	s := &twos{pcg: *rand.NewPCG(seeds.Uint64(), seeds.Uint64())}
	s.rng = rand.New(&s.pcg)
	return s
}

// Schedule draws two servers, which may coincide, and returns the second only
// if it is strictly less loaded for its weight.
func (s *twos) Schedule(*Request) *ipvs.RealServer {
	total, last := s.total()
	if last == nil {
		return nil
	}
	// Inclusive of total: the first server's share is (weight+1)/(total+1).
	r1, r2 := s.rng.Int64N(total+1), s.rng.Int64N(total+1)
	a, b := s.draw(r1, last), s.draw(r2, last)
	// 32-bit arithmetic that wraps, like the kernel's.
	if b.Weight()*int32(overhead(a)) > a.Weight()*int32(overhead(b)) {
		return b
	}
	return a
}

// total adds the weights of the usable servers up, of which it returns the last.
func (s *twos) total() (total int64, last *ipvs.RealServer) {
	for _, rs := range s.servers {
		if usable(rs) {
			total += int64(rs.Weight())
			last = rs
		}
	}
	return total, last
}

// draw returns the first usable server whose weight, with those before it,
// reaches r; or last, should weights have fallen since they were added up.
func (s *twos) draw(r int64, last *ipvs.RealServer) *ipvs.RealServer {
	for _, rs := range s.servers {
		if !usable(rs) {
			continue
		}
		if r -= int64(rs.Weight()); r <= 0 {
			return rs
		}
	}
	return last
}
