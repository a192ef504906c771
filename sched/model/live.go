package model

import (
	"math/big"

	"usvs/ipvs"
	"usvs/sched"
)

// live is section 1.5: schedulers that remember nothing and look at the
// servers' weights and counts, each with a rule of its own.
type live struct {
	servers []*ipvs.RealServer
	rule    rule
}

// rule ranks servers: of those it lets take part the one with the smallest
// rank is picked, and of equal ones the first in the list.
type rule struct {
	part func(rs *ipvs.RealServer) bool
	rank func(rs *ipvs.RealServer) *big.Rat
}

var rules = map[string]rule{
	"lc":  {usable, func(rs *ipvs.RealServer) *big.Rat { return big.NewRat(overhead(rs), 1) }},
	"wlc": {usable, loadPerWeight},
	"sed": {usable, delayPerWeight},
	"nq": {usable, func(rs *ipvs.RealServer) *big.Rat {
		if rs.Active() == 0 {
			return big.NewRat(-1, 1) // before everyone who is not idle
		}
		return delayPerWeight(rs)
	}},
	"fo": {usable, lightness},
	"ovf": {func(rs *ipvs.RealServer) bool { return usable(rs) && rs.Active() <= rs.Weight() },
		lightness},
}

func loadPerWeight(rs *ipvs.RealServer) *big.Rat {
	return big.NewRat(overhead(rs), int64(rs.Weight()))
}

func delayPerWeight(rs *ipvs.RealServer) *big.Rat {
	return big.NewRat(int64(rs.Active())+1, int64(rs.Weight()))
}

func lightness(rs *ipvs.RealServer) *big.Rat { return big.NewRat(-int64(rs.Weight()), 1) }

// Schedule picks by the rule.
func (m *live) Schedule(*sched.Request) *ipvs.RealServer { return m.rule.pick(m.servers) }

func (r rule) pick(servers []*ipvs.RealServer) *ipvs.RealServer {
	var best *ipvs.RealServer
	for _, rs := range servers {
		if !r.part(rs) {
			continue
		}
		if best == nil || r.rank(rs).Cmp(r.rank(best)) < 0 {
			best = rs
		}
	}
	return best
}

// Update takes the list.
func (m *live) Update(_ sched.Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	m.servers = servers
	return nil
}
