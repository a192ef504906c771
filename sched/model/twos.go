package model

import (
	"math/rand/v2"

	"usvs/ipvs"
	"usvs/sched"
)

// twos is section 1.11.
type twos struct {
	servers []*ipvs.RealServer
	rng     *rand.Rand
}

// newTwos seeds the draws as the scheduler does: with two numbers of rng.
func newTwos(rng *rand.Rand) *twos {
	return &twos{rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))}
}

// Schedule draws two places on the line of all weights.
func (m *twos) Schedule(*sched.Request) *ipvs.RealServer {
	var line []*ipvs.RealServer
	total := int64(0)
	for _, rs := range m.servers {
		if usable(rs) {
			line = append(line, rs)
			total += int64(rs.Weight())
		}
	}
	if len(line) == 0 {
		return nil
	}
	one := place(line, m.rng.Int64N(total+1))
	two := place(line, m.rng.Int64N(total+1))
	// Products of 32 bits, which wrap.
	left := uint32(two.Weight()) * uint32(overhead(one))
	right := uint32(one.Weight()) * uint32(overhead(two))
	if int32(left) > int32(right) {
		return two
	}
	return one
}

// place is the first server at which r, less the weights so far, is not above 0.
func place(line []*ipvs.RealServer, r int64) *ipvs.RealServer {
	for _, rs := range line {
		if r -= int64(rs.Weight()); r <= 0 {
			return rs
		}
	}
	panic("twos drew a number above the sum of the weights")
}

// Update takes the list.
func (m *twos) Update(_ sched.Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	m.servers = servers
	return nil
}
