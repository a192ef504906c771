package sched

import (
	"fmt"
	"math/rand/v2"

	"usvs/ipvs"
)

// Explanation is what a scheduler decides by, for people. It holds the figures
// that Schedule compares, computed by the same functions; whom it picks from
// them only Schedule says.
type Explanation struct {
	Rule    string   // the scheduler's rule in a sentence
	State   string   // what it remembers and looks up; "" if nothing
	Figures []Figure // of every server, in the order in which they are looked at
}

// Figure is a server's part in an Explanation.
type Figure struct {
	Server *ipvs.RealServer
	Usable bool   // it may be picked at all
	Text   string // its arithmetic, or why it may not be picked
}

// figures judges each server by text, unless nobody may pick it.
func figures(servers []*ipvs.RealServer, text func(*ipvs.RealServer) string) []Figure {
	list := make([]Figure, len(servers))
	for i, rs := range servers {
		list[i] = Figure{rs, usable(rs), text(rs)}
		if reason := unusable(rs); reason != "" {
			list[i].Text = reason
		}
	}
	return list
}

// unusable says why usable refuses rs; "" if it does not.
func unusable(rs *ipvs.RealServer) string {
	switch spec := rs.Spec(); {
	case rs.Weight() <= 0:
		return "weight 0: gets no new connections"
	case rs.Overloaded() && spec.LowerThreshold == 0:
		return fmt.Sprintf("overloaded: %d connections, upper threshold %d", rs.Active()+rs.Inactive(), spec.UpperThreshold)
	case rs.Overloaded():
		return fmt.Sprintf("overloaded: %d connections, upper threshold %d, lower %d",
			rs.Active()+rs.Inactive(), spec.UpperThreshold, spec.LowerThreshold)
	}
	return ""
}

func name(rs *ipvs.RealServer) string {
	if rs == nil {
		return "nobody"
	}
	return rs.ID.String()
}

func overheadText(rs *ipvs.RealServer) string {
	return fmt.Sprintf("%d active * 256 + %d inactive = %d", rs.Active(), rs.Inactive(), overhead(rs))
}

func perWeight(text string, load int64, rs *ipvs.RealServer) string {
	return fmt.Sprintf("(%s) / weight %d = %.4g", text, rs.Weight(), float64(load)/float64(rs.Weight()))
}

func overheadPerWeight(rs *ipvs.RealServer) string {
	return perWeight(fmt.Sprintf("%d active * 256 + %d inactive", rs.Active(), rs.Inactive()), overhead(rs), rs)
}

func delayPerWeight(rs *ipvs.RealServer) string {
	return perWeight(fmt.Sprintf("%d active + 1", rs.Active()), expectedDelay(rs), rs)
}

func weightText(rs *ipvs.RealServer) string { return fmt.Sprintf("weight %d", rs.Weight()) }

const leastRule = "the smallest wins, the first in the list among equals"

// Explain shows each server's overhead.
func (s *lc) Explain(*Request) Explanation {
	return Explanation{"least connections: " + leastRule, "", figures(s.servers, overheadText)}
}

// Explain shows each server's overhead per weight.
func (s *wlc) Explain(*Request) Explanation {
	return Explanation{"weighted least connections: " + leastRule, "", figures(s.servers, overheadPerWeight)}
}

// Explain shows each server's expected delay.
func (s *sed) Explain(*Request) Explanation {
	return Explanation{"shortest expected delay: " + leastRule, "", figures(s.servers, delayPerWeight)}
}

// Explain shows who is idle, and each server's expected delay.
func (s *nq) Explain(*Request) Explanation {
	return Explanation{"never queue: the first idle server; if none is idle, the smallest expected delay", "",
		figures(s.servers, func(rs *ipvs.RealServer) string {
			if rs.Active() == 0 {
				return "idle: 0 active"
			}
			return delayPerWeight(rs)
		})}
}

// Explain shows the weights.
func (s *fo) Explain(*Request) Explanation {
	return Explanation{"fail-over: the greatest weight wins", "", figures(s.servers, weightText)}
}

// Explain shows the weights and who is full.
func (s *ovf) Explain(*Request) Explanation {
	return Explanation{"overflow: the greatest weight that active connections do not exceed wins", "",
		figures(s.servers, func(rs *ipvs.RealServer) string {
			if !notFull(rs, rs.Weight()) {
				return fmt.Sprintf("weight %d, full: %d active", rs.Weight(), rs.Active())
			}
			return fmt.Sprintf("weight %d, %d active", rs.Weight(), rs.Active())
		})}
}

// Explain shows where the round stands.
func (s *rr) Explain(*Request) Explanation {
	return Explanation{"round robin: the first usable server behind the one chosen last",
		behind(s.servers, s.after), figures(rotated(s.servers, s.after), func(*ipvs.RealServer) string { return "usable" })}
}

// behind says where a cursor stands that counts the servers passed.
func behind(servers []*ipvs.RealServer, after int) string {
	if after == 0 {
		return "the round starts at the head of the list"
	}
	return "the one chosen last is " + name(servers[after-1])
}

func rotated(servers []*ipvs.RealServer, after int) []*ipvs.RealServer {
	return append(append([]*ipvs.RealServer{}, servers[after:]...), servers[:after]...)
}

// Explain shows the level and the weights.
func (s *wrr) Explain(*Request) Explanation {
	state := fmt.Sprintf("%s; level %d, down in steps of %d, then from %d again", behind(s.servers, s.after), s.level, s.step, s.top)
	return Explanation{"weighted round robin: the next server whose weight reaches the level, which falls when the list ends",
		state, figures(rotated(s.servers, s.after), weightText)}
}

// Explain tells which two numbers are drawn next, by a copy of the source.
func (s *twos) Explain(*Request) Explanation {
	x := Explanation{Rule: "power of two choices: two draws by weight; the less loaded one for its weight wins, the first among equals"}
	total, last := s.total()
	if last != nil {
		pcg := s.pcg
		rng := rand.New(&pcg)
		r1, r2 := rng.Int64N(total+1), rng.Int64N(total+1)
		x.State = fmt.Sprintf("of 0..%d the draws are %d, which is %s, and %d, which is %s",
			total, r1, name(s.draw(r1, last)), r2, name(s.draw(r2, last)))
	}
	x.Figures = figures(s.servers, overheadPerWeight)
	return x
}

// Explain tells whose the destination's slot is.
func (s *dh) Explain(req *Request) Explanation {
	slot := hash32(fold(req.Dst), dhBits)
	return Explanation{"destination hash: the server that has the destination's slot, or nobody",
		fmt.Sprintf("%v hashes to slot %d of %d, which is %s's", req.Dst, slot, len(s.table), name(s.table[slot])),
		slots(s.table[:])}
}

// Explain tells whose the client's slot is.
func (s *sh) Explain(req *Request) Explanation {
	slot := hash32(uint32(hashedPort(req))+fold(req.Client), shBits)
	return Explanation{"source hash: the server that has the client's slot" + fallback(req),
		fmt.Sprintf("%s hashes to slot %d of %d, which is %s's", hashed(req), slot, shSize, name(s.table[slot])),
		slots(s.table[:])}
}

// Explain tells whose the client's slot is.
func (s *mh) Explain(req *Request) Explanation {
	m := s.Clone(func(rs *ipvs.RealServer) *ipvs.RealServer { return rs }).(*mh)
	if m.stale {
		m.populate()
	}
	x := Explanation{Rule: "Maglev hash: the server that has the client's slot" + fallback(req)}
	table := make([]*ipvs.RealServer, len(m.table))
	for i, owner := range m.table {
		table[i] = m.owners[owner]
	}
	if len(table) > 0 {
		slot := mhHash(mhKey1, uint32(hashedPort(req))+fold(req.Client)) % mhSize
		x.State = fmt.Sprintf("%s hashes to slot %d of %d, which is %s's", hashed(req), slot, mhSize, name(table[slot]))
	}
	x.Figures = slots(table)
	return x
}

func fallback(req *Request) string {
	if req.Flags&ipvs.FlagSched1 == 0 {
		return ", or nobody"
	}
	return "; if that one is not usable, the next usable one that probing finds"
}

func hashed(req *Request) string {
	if port := hashedPort(req); port != 0 {
		return fmt.Sprintf("%v with port %d", req.Client, port)
	}
	return req.Client.String()
}

// slots tells how many slots each server of a table has, the owner of the
// first slot first.
func slots(table []*ipvs.RealServer) []Figure {
	count := map[*ipvs.RealServer]int{}
	var servers []*ipvs.RealServer
	for _, rs := range table {
		if rs != nil && count[rs] == 0 {
			servers = append(servers, rs)
		}
		count[rs]++
	}
	return figures(servers, func(rs *ipvs.RealServer) string { return fmt.Sprintf("%d of %d slots", count[rs], len(table)) })
}

// Explain tells what the destination's cached server is worth.
func (s *lblc) Explain(req *Request) Explanation {
	x := Explanation{
		Rule:    "locality-based least connections: the destination's server while it stands, else the least loaded",
		State:   fmt.Sprintf("%v has no server yet", req.Dst),
		Figures: figures(s.servers, overheadPerWeight),
	}
	if e := s.cache.entries[req.Dst]; e != nil {
		stands := "does not stand any more"
		if s.stands(e.value) {
			stands = "stands"
		}
		x.State = fmt.Sprintf("%v has %s, which %s", req.Dst, name(e.value), stands)
	}
	return x
}

// Explain tells who is in the destination's set.
func (s *lblcr) Explain(req *Request) Explanation {
	x := Explanation{
		Rule:    "locality-based least connections with replication: the least loaded of the destination's servers, or one more when that is overloaded",
		State:   fmt.Sprintf("%v has no servers yet", req.Dst),
		Figures: figures(s.servers, overheadPerWeight),
	}
	if e := s.cache.entries[req.Dst]; e != nil {
		x.State = fmt.Sprintf("%v has %d servers:", req.Dst, len(e.value.members))
		for _, rs := range e.value.members {
			x.State += " " + name(rs)
		}
	}
	return x
}
