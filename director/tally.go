package director

import "usvs/ipvs"

// tally is what a worker has counted and not yet added to the counters that all
// workers share: everything of one real server since another was counted, and
// of all servers since the batch began.
type tally struct {
	server  *ipvs.RealServer
	in, out sum
	total   [2]sum // in, out
}

type sum struct{ packets, bytes int }

func (s *sum) add(bytes int) {
	s.packets++
	s.bytes += bytes
}

// countIn counts a packet from a client. Nothing is counted for a server that
// was deleted (ipvs.md 4.6).
func (w *Worker) countIn(rs *ipvs.RealServer, bytes int) {
	if w.tallies(rs) {
		w.tally.in.add(bytes)
		w.tally.total[0].add(bytes)
	}
}

// countOut counts a packet to a client, as countIn does.
func (w *Worker) countOut(rs *ipvs.RealServer, bytes int) {
	if w.tallies(rs) {
		w.tally.out.add(bytes)
		w.tally.total[1].add(bytes)
	}
}

// tallies makes the tally rs's, if something is to be counted for it.
func (w *Worker) tallies(rs *ipvs.RealServer) bool {
	if rs == nil || !rs.Available() {
		return false
	}
	if w.tally.server != rs {
		w.tally.settle()
		w.tally.server = rs
	}
	return true
}

// settle adds what was counted of the server to its counters and its service's.
func (t *tally) settle() {
	if t.server == nil {
		return
	}
	t.in.addTo((*ipvs.Counters).In, &t.server.Counters)
	t.out.addTo((*ipvs.Counters).Out, &t.server.Counters)
	if vs := t.server.Service(); vs != nil {
		t.in.addTo((*ipvs.Counters).In, &vs.Counters)
		t.out.addTo((*ipvs.Counters).Out, &vs.Counters)
	}
	t.server, t.in, t.out = nil, sum{}, sum{}
}

// settle ends a batch's counting.
func (w *Worker) settle() {
	w.tally.settle()
	w.tally.total[0].addTo((*ipvs.Counters).In, &w.d.Totals)
	w.tally.total[1].addTo((*ipvs.Counters).Out, &w.d.Totals)
	w.tally.total = [2]sum{}
}

func (s sum) addTo(add func(c *ipvs.Counters, packets, bytes int), c *ipvs.Counters) {
	if s.packets > 0 {
		add(c, s.packets, s.bytes)
	}
}
