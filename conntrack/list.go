package conntrack

import (
	"math/bits"
	"sync/atomic"
)

// A link names the node that follows in a shard's list: marked 1, linked 1,
// tag 31, number 31. Numbers from bucketBit up are buckets, others entries, 0
// is the end. Every change of a link raises its tag, so a swap that expects an
// older value fails even if the node was freed and came back.
type link = uint64

const (
	// An entry whose link is marked has left the table and is to be unlinked.
	// A bucket's word is marked until the bucket is in the list.
	linkMarked link = 1 << 63
	// linkLinked tells a bucket that was never touched (0) from an empty one.
	linkLinked link = 1 << 62

	linkTagUnit link = 1 << 31
	linkTagMask link = (1<<31 - 1) << 31
	linkNumber  link = 1<<31 - 1

	bucketBit uint32 = 1 << 30
)

// relink is what replaces old to lead to node n.
func relink(old link, n uint32) link {
	return linkLinked | (old+linkTagUnit)&linkTagMask | link(n)
}

// segment is a part of a shard's buckets: the first ones, or those that a
// doubling added.
type segment []atomic.Uint64

// maxSegments is enough for whatever bits.Len32 says.
const maxSegments = 33

// shard is one list with its buckets and timers.
type shard struct {
	id       uint32
	bits     int    // of a hash that choose the shard
	first    int    // how many bits a number in the first segment has
	max      uint32 // buckets
	segments [maxSegments]atomic.Pointer[segment]

	_     [64]byte
	size  atomic.Uint32 // buckets in use, a power of two
	_     [64]byte
	count atomic.Int64 // entries alive
	_     [64]byte
	wheel wheel
}

// segment is where bucket b's segment hangs.
func (s *shard) segment(b uint32) *atomic.Pointer[segment] {
	return &s.segments[bits.Len32(b>>(s.first&31))]
}

// at is bucket b's word. A segment's length is a power of two, as is the number
// of its first bucket.
func (g segment) at(b uint32) *atomic.Uint64 { return &g[b&uint32(len(g)-1)] }

// slot returns bucket b's word, making its segment if need be.
func (s *shard) slot(b uint32) *atomic.Uint64 {
	at := s.segment(b)
	g := at.Load()
	if g == nil {
		made := make(segment, 1<<max(bits.Len32(b)-1, s.first))
		step("bucket: segment")
		at.CompareAndSwap(nil, &made)
		g = at.Load()
	}
	return g.at(b)
}

// grow doubles the buckets once there are more entries than buckets.
func (s *shard) grow() {
	n := s.size.Load()
	if n < s.max && s.count.Load() > int64(n) {
		step("bucket: double")
		s.size.CompareAndSwap(n, 2*n)
	}
}

// bucket returns the node from which to search for entries of hash. A bucket
// touched for the first time is put into the list by whoever claims it; while
// that one has not finished, the bucket it was split from serves.
func (t *Table) bucket(s *shard, hash uint64) *atomic.Uint64 {
	b := s.bucketOf(hash)
	word := s.slot(b)
	if linked(word.Load()) {
		return word
	}
	step("bucket: claim")
	if word.CompareAndSwap(0, linkMarked) {
		t.open(s, b, word)
		return word
	}
	return s.ancestor(b)
}

// bucketOf is the number of hash's bucket, by bits above those that choose the
// shard; order is a bucket's place in the list.
func (s *shard) bucketOf(hash uint64) uint32 {
	return uint32(hash) >> (s.bits & 31) & (s.size.Load() - 1)
}
func (s *shard) order(bucket uint32) uint32 { return bits.Reverse32(bucket<<s.bits | s.id) }

func linked(l link) bool { return l&(linkMarked|linkLinked) == linkLinked }

// parent is the bucket from which b, which is not 0, was split.
func parent(b uint32) uint32 { return b &^ (1 << (bits.Len32(b) - 1)) }

// ancestor returns the nearest linked bucket from which b was split. Bucket 0
// is linked from the start.
func (s *shard) ancestor(b uint32) *atomic.Uint64 {
	for {
		b = parent(b)
		if g := s.segment(b).Load(); g != nil {
			if word := g.at(b); linked(word.Load()) {
				return word
			}
		}
	}
}

// open puts bucket b, claimed by the caller, into the list. Until it is there
// nobody but the caller changes its word; from then on anybody may, and the
// first to do so removes the mark.
//
// The bucket that b was split from comes first, if nobody else is at it. No
// packet might ever ask for that one itself, and the search for b's place would
// begin ever further off.
func (t *Table) open(s *shard, b uint32, word *atomic.Uint64) {
	if from := s.slot(parent(b)); from.Load() == 0 {
		step("bucket: claim parent")
		if from.CompareAndSwap(0, linkMarked) {
			t.open(s, parent(b), from)
		}
	}
	k := key{order: s.order(b)}
	from := s.ancestor(b)
	for {
		w := walk{t: t, s: s}
		w.seek(from, &k)
		l := linkMarked | relink(word.Load(), uint32(w.link&linkNumber))
		word.Store(l)
		step("bucket: link")
		if w.prev.CompareAndSwap(w.link, relink(w.link, b|bucketBit)) {
			step("bucket: opened")
			word.CompareAndSwap(l, l&^linkMarked)
			return
		}
	}
}

// walk is a place in a list: prev is the word that leads to the current node,
// link its value when read. prev still holding link proves that the current
// node is in the list, at this place.
type walk struct {
	t    *Table
	s    *shard
	prev *atomic.Uint64
	link link

	// The current node, set by load.
	e     *entry // nil for a bucket or the end
	next  link   // e's
	ctl   control
	order uint32

	run int // entries of the sought order that seek has passed
}

func (w *walk) start(from *atomic.Uint64) {
	w.prev, w.link = from, from.Load()
}

// load reads the node the link leads to, unlinking dead entries on its way
// (Michael 2002). It reports false if the list changed here: begin again.
func (w *walk) load() bool {
	for {
		n := uint32(w.link & linkNumber)
		if n == 0 {
			w.e, w.order = nil, ^uint32(0)
			return true
		}
		if n&bucketBit != 0 {
			w.e, w.order = nil, w.s.order(n&^bucketBit)
			return true
		}
		e := w.t.entries.at(n)
		if e == nil {
			return false // the link is an old one, and the entry's chunk was given back
		}
		w.e, w.next, w.ctl, w.order = e, e.next.Load(), control(e.ctl.Load()), place(e.place.Load()).order()
		step("list: look")
		if w.prev.Load() != w.link {
			return false
		}
		switch {
		case w.next&linkMarked != 0:
			if !w.unlink(n) {
				return false
			}
		case w.ctl.life() == dead:
			step("list: mark")
			e.next.CompareAndSwap(w.next, relink(w.next, uint32(w.next&linkNumber))|linkMarked)
		default:
			return true
		}
	}
}

// unlink takes the marked entry n out of the list and frees it.
func (w *walk) unlink(n uint32) bool {
	to := relink(w.link, uint32(w.next&linkNumber))
	step("list: unlink")
	if !w.prev.CompareAndSwap(w.link, to) {
		return false
	}
	w.link = to
	step("list: free")
	w.t.free(w.s.id, n)
	return true
}

// advance moves past the node load has read.
func (w *walk) advance() {
	if w.e != nil {
		w.prev, w.link = &w.e.next, w.next
		return
	}
	w.start(w.s.slot(uint32(w.link&linkNumber) &^ bucketBit))
}

// current is the number of the entry load has read.
func (w *walk) current() uint32 { return uint32(w.link & linkNumber) }

// seek goes to the first node not before k, and reports whether it is the
// entry with that key. Invalid templates are never that one and stand before it.
func (w *walk) seek(from *atomic.Uint64, k *key) bool {
again:
	w.run = 0
	for w.start(from); ; w.advance() {
		if !w.load() {
			goto again
		}
		if w.order > k.order || w.atEnd() {
			return false
		}
		if w.e == nil || w.order < k.order {
			continue
		}
		step("list: compare")
		c := w.t.compare(w.e, k)
		if c == 0 && k.meta.has(metaTemplate) {
			c = w.t.compareEngine(w.current(), w.ctl.gen(), w.e, k)
		}
		if ctl := control(w.e.ctl.Load()); ctl.gen() != w.ctl.gen() || ctl.life() == dead {
			goto again // what was compared may be another incarnation, or its records another's
		}
		if c > 0 || c == 0 && !w.ctl.has(ctlInvalid) {
			return c == 0
		}
		w.run++
	}
}

func (w *walk) atEnd() bool { return w.link&linkNumber == 0 }

// crowded reports whether maxRun entries share one place in the order: those
// of one client address, port and protocol. It goes on from where a seek
// ended; it only looks, and may be wrong while others change the list.
func (w walk) crowded(k *key) bool {
	for w.e != nil && w.order == k.order && w.run < maxRun {
		w.run++
		w.advance()
		if !w.load() {
			return false
		}
	}
	return w.run >= maxRun
}
