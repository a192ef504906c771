package director

import "usvs/ipvs"

// tallySlots is how many real servers a worker counts for side by side.
const tallySlots = 64

// tally is what a worker has counted since the batch began and not yet added to
// the counters that all workers share. A real server has its slot by its number;
// another one that wants it has it settled.
type tally struct {
	slots [tallySlots]account
	used  [tallySlots]uint8 // slots in use, in the order of their first use
	n     int
	total [2]sum // of all servers: in, out
}

// account is what was counted of one real server.
type account struct {
	server  *ipvs.RealServer
	in, out sum
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
	var in, out sum
	for _, i := range t.used[:t.n] {
		a := &t.slots[i]
		addTo(&a.server.Counters, a.in, a.out)
		if s := a.server.Service(); s != vs {
			settleService(vs, in, out)
			vs, in, out = s, sum{}, sum{}
		}
		in.merge(a.in)
		out.merge(a.out)
		t.total[0].merge(a.in)
		t.total[1].merge(a.out)
		*a = account{}
	}
	settleService(vs, in, out)
	t.n = 0
}

func settleService(vs *ipvs.VirtualService, in, out sum) {
	if vs != nil {
		addTo(&vs.Counters, in, out)
	}
}

// settle ends a batch's counting.
func (w *Worker) settle() {
	w.tally.settle()
	addTo(&w.d.Totals, w.tally.total[0], w.tally.total[1])
	w.tally.total = [2]sum{}
}

func addTo(c *ipvs.Counters, in, out sum) {
	if in.packets > 0 {
		c.In(in.packets, in.bytes)
	}
	if out.packets > 0 {
		c.Out(out.packets, out.bytes)
	}
}
