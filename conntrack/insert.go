package conntrack

import (
	"fmt"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// Insert puts a new connection or template into the table and copies it to c.
// If there is a live one with that key already, c is that one.
func (t *Table) Insert(now clock.Instant, n *Spec, c *Conn) Result {
	k := t.specKey(n)
	s := t.shard(k.hash)
	from := t.bucket(s, k.hash)
	i := uint32(0) // the entry, once it was built
	for {
		w := walk{t: t, s: s}
		if w.seek(from, &k) {
			if t.occupied(now, &w, c) {
				t.discard(s, i, n)
				return Exists
			}
			continue
		}
		if i == 0 {
			if !n.Template && w.crowded(&k) {
				return Full
			}
			var r Result
			if i, r = t.build(now, s, n, &k); r != Inserted {
				return r
			}
		}
		e := t.entries.at(i)
		ctl := control(e.ctl.Load())
		t.read(i, e, ctl.gen(), c) // now: as soon as it is linked, others may end it
		e.next.Store(relink(e.next.Load(), uint32(w.link&linkNumber)))
		step("insert: link")
		if w.prev.CompareAndSwap(w.link, relink(w.link, i)) {
			t.publish(now, i, ctl)
			s.grow()
			if n.First != EventNone && established(n.Protocol, ctl.state()) {
				t.assure(n.Control)
			}
			return Inserted
		}
	}
}

// occupied reports whether the entry found in the place of a new one lives on,
// and copies it to c. One whose time is over makes way.
func (t *Table) occupied(now clock.Instant, w *walk, c *Conn) bool {
	switch t.take(now, w, c) {
	case taken:
		return true
	case expired:
		t.lapse(now, w.current(), w.ctl.gen())
	}
	return false
}

// build makes an entry that is not in the list yet, with everything it counts
// on: its real server's count and its controller's.
func (t *Table) build(now clock.Instant, s *shard, n *Spec, k *key) (uint32, Result) {
	i := t.entries.get(s.id)
	if i == 0 {
		return 0, Full
	}
	real, ok := t.widen(s.id, n, k)
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
	e.ctl.Store(uint64(ctl))
	m := k.meta | n.meta()
	if app := t.app(n); sided(n, app) && t.sides.attach(s.id, i, gen, n, app) {
		m |= metaSide
	}
	e.meta.Store(uint64(m))
	e.pair.Store(pairOf(k.virtual, k.client))
	e.place.Store(uint64(makePlace(k.order, real) | t.relate(i, n)))
	e.usage.Store(uint64(makeUsage(gen, n.server(), packets)))
	e.ends.Store(uint64(t.expiryAfter(i, gen, now, timeout)))
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
func (t *Table) widen(shard uint32, n *Spec, k *key) (uint32, bool) {
	real := pack(n.Real.Addr())
	if !(k.meta | n.meta()).has(metaWide) {
		return uint32(real.lo), true
	}
	r := t.wide.get(shard)
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

// publish makes an entry that is in the list alive and sees to its timer. Any
// goroutine that finds an embryo may do so, in case its maker sleeps.
func (t *Table) publish(now clock.Instant, i uint32, ctl control) {
	e := t.entries.at(i)
	if e == nil {
		return // it has ended, and its chunk was given back
	}
	s := t.shardOf(e) // now: once alive it may end, and be another shard's
	step("insert: publish")
	if e.ctl.CompareAndSwap(uint64(ctl), uint64(ctl.living(alive))) {
		step("insert: count")
		s.count.Add(1)
	}
	t.arm(now, i)
}

// discard undoes build for an entry that did not get into the list.
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

// free gives an entry that is dead and in no list back, with what belongs to it.
func (t *Table) free(shard, i uint32) {
	e := t.entries.at(i)
	m := meta(e.meta.Load())
	if m.has(metaSide) {
		t.sides.detach(shard, i)
	}
	t.narrow(shard, m, place(e.place.Load()).real())
	t.entries.put(shard, i)
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
