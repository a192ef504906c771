package conntrack

import "sync/atomic"

// A shard doubles its buckets when it has more than perLine entries in each, on
// average. That adds buckets, which are empty, and says so; what belongs to them
// is moved later, bucket by bucket. Who inserts an entry moves what belongs to
// its bucket, and to a few of those that nobody asks for. One goroutine at a time
// moves to a bucket; while it sleeps, the others find what they seek in either
// place. When all are whole, the shard may double again.

const (
	perLine = 5
	// splitsAtOnce is how many buckets are split along with an insertion.
	splitsAtOnce = 2
)

// grow doubles the buckets if there are too few, or goes on with splitting. The
// shard has more entries than its count, as far as one portion knows.
func (t *Table) grow(s *shard, more int32) {
	x := s.extent()
	if !x.settled() {
		t.splitSome(s, x.size())
		return
	}
	n := x.size()
	if n >= s.max || s.count.Load()+int64(more) <= perLine*int64(n) {
		return
	}
	s.addRacks(2 * n)
	step("split: double")
	s.growth.CompareAndSwap(uint64(x), uint64(makeExtent(2*n, 0)))
}

// splitSome splits the next few buckets of a shard that has size.
func (t *Table) splitSome(s *shard, size uint32) {
	for range splitsAtOnce {
		t.split(s, size/2+s.turn.Add(1)&(size/2-1))
	}
}

// settle goes on with splitting where nobody inserts anything.
func (t *Table) settle() {
	for i := range t.shards {
		if x := t.shards[i].extent(); !x.settled() {
			t.splitSome(&t.shards[i], x.size())
		}
	}
}

// split moves to bucket b what belongs there, unless somebody is at it or at the
// bucket that it comes from.
func (t *Table) split(s *shard, b uint32) {
	to := s.line(b)
	if to.look()&(lineWhole|lineMoving) != 0 || !to.seize(lineWhole, 0) {
		return
	}
	from := s.line(parent(b))
	if !from.seize(0, 0) {
		to.yield(0)
		return
	}
	size := s.size()
	whole := t.moveAll(s, from, to, b, size)
	if whole {
		to.yield(lineWhole)
		step("split: count")
		s.growth.Add(1)
	} else {
		to.yield(0)
	}
	t.gather(s, from, parent(b), size)
	from.yield(0)
	t.takeOff(s, from)
}

// moveAll moves bucket b's words from its parent. It reports false if there is no
// room for one.
func (t *Table) moveAll(s *shard, from, to *line, b, size uint32) bool {
	for {
		q := t.searchChain(s, from, b, size)
		for i := q.next(); i != 0; i = q.next() {
			if !t.move(s, &q, to) {
				return false
			}
		}
		step("split: look again")
		if from.look() == q.parent {
			return true
		}
	}
}

// gather moves words of bucket b among size from lines that it overflows into to
// its own, as long as there is room. The caller had seized it when that was the
// size: then somebody who has put a word there while it was another finds it.
func (t *Table) gather(s *shard, bucket *line, b, size uint32) {
	for range lineSlots {
		if bucket.look().next() == 0 || bucket.full() {
			return
		}
		q := t.searchChain(s, bucket, b, size)
		q.i = lineSlots
		if q.next() == 0 || !t.move(s, &q, bucket) {
			return
		}
	}
}

// move moves the word that q has found to a bucket, unless somebody takes it away
// meanwhile or its line was taken off. He who takes it away may take the copy
// along, or leave it to us.
//
// Nobody else moves that word, so the marks are ours: should another entry get its
// number, hash and slot, we take the word of that for what it is.
func (t *Table) move(s *shard, q *search, to *line) bool {
	w, from := q.word, q.slot()
	step("move: begin")
	if !from.CompareAndSwap(w, w|wordLeaving) {
		return true
	}
	step("move: leaving")
	var at *atomic.Uint64
	stands := q.bucket.look()&lineChain == q.parent&lineChain // and now its line stays
	if stands {
		at = t.copyTo(s, q, to)
	}
	if at == nil {
		from.CompareAndSwap(w|wordLeaving, w)
		return !stands
	}
	step("move: copied")
	moved := word(0)
	if from.CompareAndSwap(w|wordLeaving, 0) {
		moved = w
	}
	step("move: moved")
	at.CompareAndSwap(w|wordCopy, moved)
	return true
}

// copyTo puts a copy of the word that q has found into another bucket, or its own
// bucket's own line; nil: no room.
func (t *Table) copyTo(s *shard, q *search, to *line) *atomic.Uint64 {
	if to != q.bucket {
		return t.claim(s, to, q.word|wordCopy)
	}
	at := to.put(q.word | wordCopy)
	if at != nil {
		to.change() // who searches may have passed it
	}
	return at
}
