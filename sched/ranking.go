package sched

import "usvs/ipvs"

// rankedFrom is how many servers are too many to look at for each connection.
var rankedFrom = 48

// rank is how a server stands: the one with the smallest load per weight is
// picked, of equal ones the first in the list. With weight 0, which is nobody's,
// it may not be picked.
//
// Products of a load and a weight are exact up to 16 million active connections
// of a server and any weight.
type rank struct{ load, weight int64 }

// outOfRank is behind everyone.
var outOfRank = rank{load: 1}

func rankOf(rs *ipvs.RealServer, load, weight int64) rank {
	if weight <= 0 || !usable(rs) {
		return outOfRank
	}
	return rank{load, weight}
}

func byOverhead(rs *ipvs.RealServer) rank { return rankOf(rs, overhead(rs), 1) }

func byOverheadPerWeight(rs *ipvs.RealServer) rank {
	return rankOf(rs, overhead(rs), int64(rs.Weight()))
}

func byDelayPerWeight(rs *ipvs.RealServer) rank {
	return rankOf(rs, expectedDelay(rs), int64(rs.Weight()))
}

// byIdleness puts the idle in front, in the order of the list.
func byIdleness(rs *ipvs.RealServer) rank {
	if rs.Active() == 0 {
		return rankOf(rs, 0, 1)
	}
	return byDelayPerWeight(rs)
}

// byLightness puts the greatest weight in front.
func byLightness(rs *ipvs.RealServer) rank { return rankOf(rs, 1, int64(rs.Weight())) }

func byLightnessNotFull(rs *ipvs.RealServer) rank {
	if !notFull(rs, rs.Weight()) {
		return outOfRank
	}
	return byLightness(rs)
}

// ranking keeps many servers in a heap by rank. A server whose load rises says
// nothing: its entry claims a better rank than it has, which shows when it comes
// to the top. One whose load falls, or that was edited, tells the watch. So an
// entry never claims a worse rank than the server has once the watch is empty,
// and a top that claims the truth is the server that looking at all would find.
type ranking struct {
	watch ipvs.Watch
	notes []ipvs.Note // by place; as many as there is room for below
	heap  []entry     // the best at the top
	at    []int32     // where in the heap a place's entry is
	stale bool        // the list changed: the heap is made anew when it is needed
}

// entry is a server in the heap.
type entry struct {
	rank
	place int32 // in the list
}

func (a *entry) before(b *entry) bool {
	x, y := a.load*b.weight, b.load*a.weight
	if x != y {
		return x < y
	}
	return a.place < b.place
}

// renew makes room for n servers.
func (r *ranking) renew(n int) {
	r.stale = true
	if n > len(r.notes) {
		room := n + n/4
		r.notes, r.heap, r.at = r.watch.Notes(room), make([]entry, room), make([]int32, room)
	}
	r.heap, r.at = r.heap[:n], r.at[:n]
}

// first returns the server that ranks first, or nil if none may be picked.
func (r *ranking) first(servers []*ipvs.RealServer, rankOf func(*ipvs.RealServer) rank) *ipvs.RealServer {
	if r.stale {
		r.build(servers, rankOf)
	}
	for n := r.watch.Take(); n != nil; {
		var place int
		if place, n = n.Release(); place < len(servers) {
			r.set(int(r.at[place]), rankOf(servers[place]))
		}
	}
	top := &r.heap[0]
	for range servers { // everyone's rank is known by then at the latest
		now := rankOf(servers[top.place])
		if now == top.rank {
			break
		}
		r.set(0, now)
	}
	if top.weight == 0 {
		return nil
	}
	return servers[top.place]
}

func (r *ranking) build(servers []*ipvs.RealServer, rankOf func(*ipvs.RealServer) rank) {
	r.stale = false
	for i, rs := range servers {
		r.watch.Follow(rs, &r.notes[i]) // and only then look
		r.heap[i], r.at[i] = entry{rankOf(rs), int32(i)}, int32(i)
	}
	for i := len(servers)/2 - 1; i >= 0; i-- {
		r.down(i)
	}
}

// set gives the entry at i another rank and moves it to where that belongs.
func (r *ranking) set(i int, to rank) {
	r.heap[i].rank = to
	if !r.up(i) {
		r.down(i)
	}
}

// up moves the entry at i towards the top, and reports whether it had to.
func (r *ranking) up(i int) bool {
	e, start := r.heap[i], i
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&r.heap[parent]) {
			break
		}
		r.put(i, r.heap[parent])
		i = parent
	}
	r.put(i, e)
	return i != start
}

func (r *ranking) down(i int) {
	e, n := r.heap[i], len(r.heap)
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && r.heap[child+1].before(&r.heap[child]) {
			child++
		}
		if !r.heap[child].before(&e) {
			break
		}
		r.put(i, r.heap[child])
		i = child
	}
	r.put(i, e)
}

func (r *ranking) put(i int, e entry) {
	r.heap[i] = e
	r.at[e.place] = int32(i)
}
