package conntrack

import (
	"fmt"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

const (
	// insertTries bounds how often those who insert the same key at the same time
	// may send each other back,
	insertTries = 256
	// and patience how often in a row one may do so who does not get on.
	patience = 16
)

// Insert puts a new connection or template into the table and copies it to c.
// If there is a live one with that key already, c is that one.
//
// Two with one key cannot both live: each stands in the index before it looks
// for others, so that whoever comes later sees the other. One that lives wins. Of
// two that do not yet, the one with the higher number makes way, or is killed; but
// one for which others have made way again and again, because it sleeps, is killed
// by them.
func (t *Table) Insert(now clock.Instant, n *Spec, c *Conn) Result {
	k := t.specKey(n)
	s := t.shard(k.hash)
	i := uint32(0) // the entry, once it was built
	var w waiting
	for range insertTries {
		found, run := t.present(now, s, &k, c)
		if found {
			t.discard(s, i, n)
			return Exists
		}
		if i == 0 {
			if !n.Template && run >= maxRun {
				return Full
			}
			var r Result
			if i, r = t.build(now, s, n, &k); r != Inserted {
				return r
			}
		}
		switch t.enter(now, s, i, &k, c, &w) {
		case entered:
			step("insert: count")
			more := t.portion(t.entries.owner(i)).count(s, 1)
			t.arm(now, i)
			t.grow(s, more)
			if n.First != EventNone && established(n.Protocol, c.State) {
				t.assure(n.Control)
			}
			return Inserted
		case noRoom:
			t.discard(s, i, n)
			return Full
		}
	}
	t.discard(s, i, n)
	return Full
}

// present reports whether there is an entry with that key, and copies it to c.
// One whose time is over makes way. If there is none, run is how many have the
// same hash.
func (t *Table) present(now clock.Instant, s *shard, k *key, c *Conn) (found bool, run int) {
	if _, none := t.guess(s, k.hash); none {
		return false, 0
	}
again:
	q := t.search(s, k.hash)
	for i := q.next(); i != 0; i = q.next() {
		run++
		e, ctl := t.match(i, k)
		if e == nil {
			continue
		}
		switch t.take(now, i, e, ctl, c) {
		case taken:
			return true, 0
		case expired:
			t.lapse(now, i, ctl.gen(), nil)
		}
		run = 0
		goto again
	}
	if !q.complete() {
		run = 0
		goto again
	}
	return false, run
}

// How an entry's entering the table ended.
type entrance uint8

const (
	entered entrance = iota
	noRoom
	sentBack // by somebody else with that key, or because the table doubled
)

// enter puts an entry that was built into the index and makes it alive.
func (t *Table) enter(now clock.Instant, s *shard, i uint32, k *key, c *Conn, wait *waiting) entrance {
	e, w := t.entries.at(i), makeWord(k.hash, i)
	was := control(e.ctl.Load())
	begin := was.living(embryo)
	if begin != was { // it was killed
		e.ctl.Store(uint64(begin))
	}
	size := s.size()
	b := bucketOf(k.hash, size)
	t.split(s, b)
	slot := t.claim(s, s.line(b), w)
	if slot == nil {
		return noRoom
	}
	step("insert: claimed")
	if s.size() != size || t.rivaled(s, size, i, k, wait) {
		t.unclaim(s, slot, w)
		return sentBack
	}
	t.read(i, e, begin.gen(), c) // now: as soon as it lives, others may end it
	step("insert: live")
	if !e.ctl.CompareAndSwap(uint64(begin), uint64(begin.living(alive))) {
		t.unclaim(s, slot, w)
		return sentBack
	}
	return entered
}

// rivaled reports whether i has to make way for another entry with that key, and
// kills those that are about to live and need not be made way for.
func (t *Table) rivaled(s *shard, size, i uint32, k *key, wait *waiting) bool {
	l := s.line(bucketOf(k.hash, size))
	if several := l.several(makeWord(k.hash, i)); !several && s.size() == size {
		return false // only i itself
	}
	for {
		q := t.search(s, k.hash)
		for n := q.next(); n != 0; n = q.next() {
			if n != i && t.rival(i, n, k, wait) {
				return true
			}
		}
		if q.complete() {
			return false
		}
	}
}

// rival reports whether i has to make way for entry n, and kills that if it is
// about to live and need not be made way for.
func (t *Table) rival(i, n uint32, k *key, wait *waiting) bool {
	for {
		e := t.entries.at(n)
		if e == nil {
			return false
		}
		ctl := control(e.ctl.Load())
		step("insert: rival")
		if ctl.life() == dead || ctl.has(ctlInvalid) || !t.same(n, ctl.gen(), e, k) {
			return false
		}
		switch step("insert: kill"); {
		case control(e.ctl.Load()) != ctl:
		case ctl.life() == alive, n < i && wait.on(n):
			return true
		case e.ctl.CompareAndSwap(uint64(ctl), uint64(ctl.living(dead))):
			return false
		}
	}
}

// waiting is for which entry an insertion made way last, and how often in a row.
type waiting struct {
	entry uint32
	times int
}

// on reports whether there is patience to make way for entry n once more.
func (w *waiting) on(n uint32) bool {
	if w.entry != n {
		w.entry, w.times = n, 0
	}
	w.times++
	return w.times <= patience
}

// build makes an entry that is not in the index yet, with everything it counts
// on: its real server's count and its controller's.
func (t *Table) build(now clock.Instant, s *shard, n *Spec, k *key) (uint32, Result) {
	worker := uint32(n.Worker) % maxWorkers
	i := t.entries.get(worker, s.id)
	if i == 0 {
		return 0, Full
	}
	real, ok := t.widen(worker, s.id, n, k)
	if !ok {
		t.entries.put(s.id, i)
		return 0, Full
	}
	if r := t.hold(now, n.Control); r != Inserted {
		t.narrow(s.id, k.meta|n.meta(), real)
		t.entries.put(s.id, i)
		return 0, r
	}
	e := t.entries.at(i)
	gen := t.nextGen(i, e)
	step("insert: generation")
	ctl, timeout, packets := t.begin(n)
	ctl |= control(gen)<<genShift | embryo
	set64(&e.ctl, uint64(ctl))
	m := k.meta | n.meta()
	if app := t.app(n); sided(n, app) && t.sides.attach(worker, s.id, i, gen, n, app) {
		m |= metaSide
	}
	set64(&e.meta, uint64(m))
	set64(&e.pair, pairOf(k.virtual, k.client))
	set64(&e.hash, k.hash)
	set64(&e.place, uint64(makePlace(real)|t.relate(i, n)))
	set64(&e.usage, uint64(makeUsage(gen, n.server(), packets)))
	set64(&e.ends, uint64(t.expiryAfter(i, gen, now, timeout)))
	if !n.replaces {
		bind(n.Server, n.Template, !ctl.has(ctlInactive))
	}
	if n.Flags&FlagNoCPort != 0 {
		t.noCPort.Add(1)
	}
	return i, Inserted
}

// begin is how a new entry starts: with its first packet, if that is known.
func (t *Table) begin(n *Spec) (ctl control, timeout time.Duration, packets uint32) {
	ctl, timeout = n.control(), n.timeout()
	if n.First == EventNone {
		return ctl, timeout, 0
	}
	ctl = ctl.transition(n.Protocol, DirIn, n.First, t.secure.Load())
	return ctl, t.timeout(n.Protocol, ctl.state(), timeout), 1
}

// nextGen is the generation after the one entry i had last. One whose chunk was
// given back meanwhile goes on from where the chunk stopped.
func (t *Table) nextGen(i uint32, e *entry) uint64 {
	last := control(e.ctl.Load())
	if last == 0 {
		return (t.bases.of(i) + 1) & genMask
	}
	return (last.gen() + 1) & genMask
}

// widen returns what a new entry's place leads to: the real server's IPv4
// address or, if any address is of IPv6, the number of a record with all.
func (t *Table) widen(worker, shard uint32, n *Spec, k *key) (uint32, bool) {
	real := pack(n.Real.Addr())
	if !(k.meta | n.meta()).has(metaWide) {
		return uint32(real.lo), true
	}
	r := t.wide.get(worker, shard)
	if r == 0 {
		return 0, false
	}
	t.wide.at(r).store(k.client, k.virtual, real)
	return r, true
}

// narrow gives the record back that widen took.
func (t *Table) narrow(shard uint32, m meta, real uint32) {
	if m.has(metaWide) {
		t.wide.put(shard, real)
	}
}

// relate notes what few entries have.
func (t *Table) relate(i uint32, n *Spec) place {
	if n.Control.IsZero() && n.Mark == 0 {
		return 0
	}
	k := t.kin.at(i)
	k.controller.Store(n.Control.word)
	k.mark.Store(n.Mark)
	return placeKin
}

// discard undoes build for an entry that did not get into the table.
func (t *Table) discard(s *shard, i uint32, n *Spec) {
	if i == 0 {
		return
	}
	e := t.entries.at(i)
	ctl := control(e.ctl.Load())
	if !n.replaces {
		unbind(n.Server, n.Template, !ctl.has(ctlInactive))
	}
	if n.Flags&FlagNoCPort != 0 {
		t.noCPort.Add(-1)
	}
	t.release(n.Control)
	step("insert: discard")
	e.ctl.Store(uint64(ctl.living(dead)))
	t.free(s.id, i)
}

// free gives an entry that is dead and not in the index back to its owner, with
// what belongs to it.
func (t *Table) free(shard, i uint32) {
	t.strip(shard, i)
	t.entries.put(shard, i)
}

// strip gives back what belongs to an entry that is dead and not in the index.
func (t *Table) strip(shard, i uint32) {
	e := t.entries.at(i)
	m := meta(e.meta.Load())
	if m.has(metaSide) {
		t.sides.detach(shard, i)
	}
	t.narrow(shard, m, place(e.place.Load()).real())
}

func (n *Spec) server() uint32 {
	if n.Server == nil {
		return 0
	}
	if n.Server.Index == 0 {
		panic(fmt.Sprintf("conntrack: real server %v is in no registry", n.Server.ID))
	}
	return n.Server.Index
}

func (n *Spec) timeout() time.Duration {
	if n.Template || n.Timeout != 0 {
		return clampTimeout(n.Timeout)
	}
	return newTimeout
}

// active reports whether the connection counts as an active one from the start.
func (n *Spec) active() bool {
	return n.Flags&FlagActive != 0 && !n.Template && n.counted()
}

// counted reports whether the entry is of a real server. The one that another
// director told of may not be known here.
func (n *Spec) counted() bool { return n.Server != nil || n.Flags&FlagSync != 0 }

// control is the state a new entry starts in: inactive unless it says
// otherwise, and silent unless its real server answers through the director. A
// bypass has neither (ipvs.md 2.3).
func (n *Spec) control() (c control) {
	c = c.with(n.State)
	if n.counted() {
		if !n.active() {
			c |= ctlInactive
		}
		if n.Method != ipvs.Masquerade {
			c |= ctlNoOutput
		}
	}
	if n.Template {
		c |= ctlTemplate
	}
	if n.Flags&FlagNoCPort != 0 {
		c |= ctlNoCPort
	}
	if n.Flags&FlagSync != 0 {
		c |= ctlSync
	}
	return c
}

func (n *Spec) meta() meta {
	m := meta(n.Method&7)<<17 | meta(n.Real.Port())
	if !n.Real.Addr().Is4() {
		m |= metaRealV6
	}
	return m
}
