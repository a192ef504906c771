package director

import (
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// tallySlots is how many real servers a worker counts for side by side.
const tallySlots = 64

// settleEvery is how far the counters that all workers share may lag behind a
// worker that gets one full batch after the other.
const settleEvery = time.Millisecond

// tally is what a worker has counted and not yet added to the counters that all
// workers share. A real server has its slot by its number;
// another one that wants it has it settled.
type tally struct {
	slots [tallySlots]account
	used  [tallySlots]uint8 // slots in use, in the order of their first use
	n     int
	total counts        // of all servers
	last  clock.Instant // when all of it was added
}

// account is what was counted of one real server.
type account struct {
	server *ipvs.RealServer
	counts
}

// counts are new connections, and packets from clients and to them.
type counts struct {
	conns   int
	in, out sum
}

func (c *counts) merge(o *counts) {
	c.conns += o.conns
	c.in.merge(o.in)
	c.out.merge(o.out)
}

// addTo adds what was counted to shared counters.
func (c *counts) addTo(shared *ipvs.Counters) {
	if c.conns > 0 {
		shared.Conns.Add(uint64(c.conns))
	}
	if c.in.packets > 0 {
		shared.In(c.in.packets, c.in.bytes)
	}
	if c.out.packets > 0 {
		shared.Out(c.out.packets, c.out.bytes)
	}
}

type sum struct{ packets, bytes int }

func (s *sum) add(bytes int) {
	s.packets++
	s.bytes += bytes
}

func (s *sum) merge(o sum) {
	s.packets += o.packets
	s.bytes += o.bytes
}

// countIn counts a packet from a client. Nothing is counted for a server that
// was deleted (ipvs.md 4.6).
func (w *Worker) countIn(rs *ipvs.RealServer, bytes int) {
	if rs != nil && rs.Available() {
		w.tally.of(rs).in.add(bytes)
	}
}

// countOut counts a packet to a client, as countIn does.
func (w *Worker) countOut(rs *ipvs.RealServer, bytes int) {
	if rs != nil && rs.Available() {
		w.tally.of(rs).out.add(bytes)
	}
}

// of is the server's account.
func (t *tally) of(rs *ipvs.RealServer) *account {
	if a := &t.slots[rs.Index%tallySlots]; a.server == rs {
		return a
	}
	return t.take(rs)
}

// take makes the server's slot its account.
func (t *tally) take(rs *ipvs.RealServer) *account {
	i := rs.Index % tallySlots
	a := &t.slots[i]
	if a.server != nil {
		t.settle()
	}
	a.server = rs
	t.used[t.n] = uint8(i)
	t.n++
	return a
}

// settle adds what was counted of servers to their counters and their services'.
func (t *tally) settle() {
	var vs *ipvs.VirtualService // of the last servers, and what it has of them
	var sub counts
	for _, i := range t.used[:t.n] {
		a := &t.slots[i]
		a.addTo(&a.server.Counters)
		if s := a.server.Service(); s != vs {
			settleService(vs, &sub)
			vs, sub = s, counts{}
		}
		sub.merge(&a.counts)
		t.total.merge(&a.counts)
		*a = account{}
	}
	settleService(vs, &sub)
	t.n = 0
}

func settleService(vs *ipvs.VirtualService, c *counts) {
	if vs != nil {
		c.addTo(&vs.Counters)
	}
}

// settle adds what was counted to the shared counters.
func (w *Worker) settle() {
	w.tally.settle()
	w.tally.total.addTo(&w.d.Totals)
	w.tally.total = counts{}
	w.tally.last = w.now
}

// settleDue is by when that is to happen again.
func (w *Worker) settleDue() clock.Instant { return w.tally.last.Add(settleEvery) }
