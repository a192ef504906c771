package conntrack

import "sync/atomic"

// search goes through the words of one hash, wherever they may stand: in its
// bucket's chain and, if not all was moved there yet, before that in the chain
// of the bucket it was split from. A word that moves is in the one before it
// leaves the other, so the search does not miss it; one that moves within a chain
// has the search begin again.
type search struct {
	t    *Table
	s    *shard
	want word // all but the number
	care word // the bits that must be so

	size   uint32
	last   *line    // the bucket,
	lastly lineMeta // and its meta when the search began
	bucket *line    // whose chain is looked through: the parent's, then last
	parent lineMeta // the first one's meta when the search began

	at   *line
	i    int
	left uint32 // the line after at
	word word   // that next has found
}

func (t *Table) search(s *shard, hash uint64) search {
	q := search{t: t, s: s, want: makeWord(hash, 0), care: ^wordMarks, size: s.size()}
	b := bucketOf(hash, q.size)
	q.last = s.line(b)
	q.lastly = q.last.look()
	q.bucket = q.last
	if !q.lastly.whole() {
		q.bucket = s.line(parent(b))
	}
	q.parent = q.bucket.look()
	q.enter(q.parent)
	return q
}

// searchChain goes through the words in one chain only that belong to bucket b
// among size and have no mark.
func (t *Table) searchChain(s *shard, bucket *line, b, size uint32) search {
	low := uint64(size - 1)
	q := search{t: t, s: s, want: makeWord(uint64(b), 0), care: wordTaken | wordMarks | low<<numberBits | wordNumber}
	q.last, q.bucket, q.parent = bucket, bucket, bucket.look()
	q.enter(q.parent)
	return q
}

// enter begins with a chain.
func (q *search) enter(m lineMeta) {
	step("search: chain")
	q.at, q.i, q.left = q.bucket, 0, m.next()
}

// next is the number in the next word, or 0 at the end.
func (q *search) next() uint32 {
	for q.at != nil {
		for q.i < lineSlots {
			w := q.at.slot[q.i].Load()
			q.i++
			q.word = w
			if n := (w ^ q.want) & q.care; n-1 < wordNumber {
				return uint32(n)
			}
		}
		q.advance()
	}
	return 0
}

// advance goes to the next line.
func (q *search) advance() {
	step("search: line")
	switch {
	case q.left != 0:
		q.at, q.i = q.t.lines.at(q.left), 0
		if q.at != nil {
			q.left = q.at.look().next()
		}
	case q.bucket != q.last:
		q.bucket = q.last
		q.enter(q.lastly)
	default:
		q.at = nil
	}
}

// slot is where next has found the last word.
func (q *search) slot() *atomic.Uint64 { return &q.at.slot[q.i-1] }

// complete reports whether an entry that was there all the time would have been
// seen: no line was put on or taken off, and nothing doubled.
func (q *search) complete() bool {
	step("search: complete")
	return q.s.size() == q.size && q.last.look() == q.lastly && (q.lastly.whole() || q.from().look() == q.parent)
}

// from is the bucket that the sought one was split from.
func (q *search) from() *line { return q.s.line(parent(bucketOf(q.want>>numberBits, q.size))) }

// guess is the number of the entry that most likely is the one sought, or 0: of
// the only word in the bucket's own line, mostly. It is sure to be none if none
// is true.
func (t *Table) guess(s *shard, hash uint64) (i uint32, none bool) {
	size := s.size()
	l := s.line(bucketOf(hash, size))
	m := l.look()
	step("search: guess")
	if n := l.pick(makeWord(hash, 0)); n <= wordNumber {
		return uint32(n), false
	}
	return 0, m.alone() && s.size() == size
}

// match returns the entry with that number if it lives and has that key.
func (t *Table) match(i uint32, k *key) (*entry, control) {
	e := t.entries.at(i)
	if e == nil {
		return nil, 0
	}
	ctl := control(e.ctl.Load())
	step("search: compare")
	if ctl.life() != alive || !t.same(i, ctl.gen(), e, k) {
		return nil, 0
	}
	now := control(e.ctl.Load())
	if !now.is(ctl.gen()) || now.has(ctlInvalid) {
		return nil, 0 // what was compared may be another incarnation
	}
	return e, now
}

// same reports whether incarnation gen of entry i has that key. What it reads may
// be torn: its caller looks at the generation afterwards.
func (t *Table) same(i uint32, gen uint64, e *entry, k *key) bool {
	return t.compare(e, k) == 0 && (!k.meta.has(metaTemplate) || t.sameEngine(i, gen, e, k))
}
