package conntrack

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

// split moves to bucket b what belongs there, unless somebody is at it.
func (t *Table) split(s *shard, b uint32) {
	to := s.line(b)
	m := to.look()
	if m&(lineWhole|lineSplitting) != 0 {
		return
	}
	step("split: begin")
	if !to.meta.CompareAndSwap(uint64(m), uint64(m|lineSplitting)) {
		return
	}
	from := s.line(parent(b))
	flag := lineMeta(0)
	if t.moveAll(s, from, to, b, s.size()) {
		flag = lineWhole
	}
	for {
		m := to.look()
		step("split: end")
		if to.meta.CompareAndSwap(uint64(m), uint64(m&^lineSplitting|flag)) {
			break
		}
	}
	if flag != 0 {
		step("split: count")
		s.growth.Add(1)
	}
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

// move moves the word that q has found to another bucket, unless somebody takes it
// away meanwhile. He may take the copy along, or leave it to us.
func (t *Table) move(s *shard, q *search, to *line) bool {
	w := q.word
	at := t.claim(s, to, w|wordMoving)
	if at == nil {
		return false
	}
	if q.at != q.bucket {
		to.change() // that line may be one of to's by now, and a search of it on its way there
	}
	step("split: move")
	moved := word(0)
	if q.slot().CompareAndSwap(w, 0) {
		moved = w
	}
	step("split: moved")
	at.CompareAndSwap(w|wordMoving, moved)
	return true
}
