package director

import (
	"sync/atomic"
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
)

const (
	// sweepSlots bounds how many of the table's slots one call sweeps, and
	// sampleBuckets how many buckets one call looks at for drop_entry.
	sweepSlots    = 8192
	sampleBuckets = 512

	defencePeriod = time.Second // ipvs.md 2.9
	sampledShare  = 32          // one of so many buckets is looked at in a period
	lotteryIdle   = time.Minute // an entry has to be idle so long to take part
	lotteryMost   = 8           // and have had at most so many packets
)

// upkeep is what settings want done by itself, a slice at a time, by whichever
// worker comes by. All of it may be touched by all workers.
type upkeep struct {
	due    atomic.Int64  // when there is something to do; every change is to another value
	wakes  atomic.Int64  // counts snapshots
	sweep  atomic.Uint64 // the slot from which the sweep goes on; 0: there is none
	second atomic.Int64  // when the defences are due
	sample atomic.Int64  // buckets still to be looked at in this period

	random  atomic.Uint64                 // the seed, counted on
	turn    atomic.Int64                  // packets until drop_packet's turn
	lottery [lotteryMost + 1]atomic.Int64 // entries until drop_entry's turn, by their packets
}

// keepUp does a slice of what is due, and returns when it wants to be called
// again.
func (w *Worker) keepUp() clock.Instant {
	due := clock.Instant(w.d.upkeep.due.Load())
	if w.now < due {
		return due
	}
	return w.keepUpFrom(due)
}

func (w *Worker) keepUpFrom(due clock.Instant) clock.Instant {
	w.snap = w.d.snap.Load() // the one that asked for it, or a later one
	more, next := w.sweep(), clock.Never
	if w.snap.defends() {
		more = w.defend() || more
		next = clock.Instant(w.d.upkeep.second.Load())
	}
	if more {
		next = w.now
	}
	// Who publishes changes due last, so what there is to do was seen above, or
	// this fails.
	w.d.upkeep.due.CompareAndSwap(int64(due), int64(next))
	return next
}

// publish arranges for what the snapshot that replaces old wants done.
func (u *upkeep) publish(now clock.Instant, old, s *Snapshot) {
	if s.Deletions != old.Deletions {
		u.sweep.Store(1)
	}
	if s.defends() && !old.defends() {
		u.second.Store(int64(now.Add(defencePeriod)))
	}
	u.due.Store(-u.wakes.Add(1))
}

// sweep ends connections and templates of deleted servers in the next slots,
// if there was a deletion, and reports whether it will have to go on.
func (w *Worker) sweep() (more bool) {
	t, at := w.d.Table, &w.d.upkeep.sweep
	first := at.Load()
	if first == 0 {
		return false
	}
	next := first + sweepSlots
	if next > uint64(t.Slots()) {
		next = 0
	}
	if !at.CompareAndSwap(first, next) {
		return true
	}
	t.Sweep(w.now, uint32(first), uint32(first+sweepSlots), &w.tmpl, w.orphan)
	return next != 0
}

// endOrphan ends a connection whose server was deleted, and what controlled it
// unless that controls others (expire_nodest_conn, ipvs.md 2.8).
func (w *Worker) endOrphan(c *conntrack.Conn) {
	if c.Server != nil && !c.Server.Available() && w.d.Table.Expire(w.now, c.Ref) {
		w.d.Table.Expire(w.now, c.Control)
	}
}

// defends reports whether a defence does something every second.
func (s *Snapshot) defends() bool { return s.Sysctls.DropEntry > 1 || s.Sysctls.DropPacket == 2 }

// defend does what is due once a second, in slices, and reports whether there
// is more of it now.
func (w *Worker) defend() (more bool) {
	u, s := &w.d.upkeep, w.snap
	if at := u.second.Load(); int64(w.now) >= at && u.second.CompareAndSwap(at, int64(w.now.Add(defencePeriod))) {
		if s.Sysctls.DropPacket == 2 {
			u.turn.Store(int64(s.DropRate))
		}
		if s.Sysctls.DropEntry > 1 {
			u.sample.Store(int64(w.d.Table.Buckets() / sampledShare))
		}
	}
	left := u.sample.Load()
	if left == 0 {
		return false
	}
	n := min(left, sampleBuckets)
	if !u.sample.CompareAndSwap(left, left-n) {
		return true
	}
	for range n {
		w.thin(uint32(u.draw()))
	}
	return left > n
}

// draw returns a random number (SplitMix64).
func (u *upkeep) draw() uint64 {
	x := u.random.Add(0x9e3779b97f4a7c15)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// thin ends entries of a bucket that can be done without (drop_entry, ipvs.md 2.9).
func (w *Worker) thin(bucket uint32) {
	var buf [64]conntrack.Ref // more than that are few enough to allocate
	t, c := w.d.Table, &w.tmpl
	for _, r := range t.Bucket(bucket, buf[:0]) {
		if !t.Controls(r) && t.Get(r, c) && w.dispensable(c) {
			t.Remove(w.now, c)
		}
	}
}

// dispensable reports whether a connection that controls nobody is to be
// dropped: half-open ones are, and of idle ones some.
func (w *Worker) dispensable(c *conntrack.Conn) bool {
	switch {
	case c.Template() && w.onePacketTemplate(c):
		return w.loses(c)
	case c.Template():
		return c.State != conntrack.TemplateAssured
	case c.Protocol == ipvs.TCP && c.State != conntrack.TCPEstablished:
		return c.State == conntrack.TCPSynReceived || c.State == conntrack.TCPSynACK
	case c.Protocol == ipvs.SCTP && c.State != conntrack.SCTPEstablished:
		return c.State == conntrack.SCTPInit1 || c.State == conntrack.SCTPInit
	}
	return w.loses(c)
}

func (w *Worker) onePacketTemplate(c *conntrack.Conn) bool {
	if c.Server == nil {
		return false
	}
	svc := w.snap.service(c.Server.Service().ID)
	return svc != nil && svc.Spec.Flags&ipvs.FlagOnePacket != 0
}

// loses draws a lot for an entry that has been idle for a minute: of those with
// n packets every n-th loses.
func (w *Worker) loses(c *conntrack.Conn) bool {
	if w.now.Sub(c.Expires)+c.Timeout < lotteryIdle {
		return false
	}
	n := c.InPackets
	if n == 0 || n > lotteryMost {
		return false
	}
	turn := &w.d.upkeep.lottery[n]
	if turn.Add(-1) > 0 {
		return false
	}
	turn.Store(int64(n))
	return true
}

// unlucky reports whether drop_packet's turn has come (ipvs.md 2.9).
func (w *Worker) unlucky() bool {
	turn := &w.d.upkeep.turn
	hit := turn.Add(-1) <= 0
	if hit {
		turn.Store(int64(w.snap.DropRate))
	}
	if w.recorder != nil {
		w.record(Step{Stage: StageDefence, Quoted: w.quoted(), OK: !hit})
	}
	return hit
}

// AdoptTurn makes drop_packet's turn come when another director's does.
func (d *Director) AdoptTurn(from *Director) { d.upkeep.turn.Store(from.upkeep.turn.Load()) }
