package conntrack

import "sync/atomic"

// A word stands for an entry in the index: taken 1, copy 1, leaving 1, the low
// bits of the entry's hash 35, its number 26. Those bits choose the bucket, so
// words find their place in a shard without their entries.
type word = uint64

const (
	wordTaken word = 1 << 63
	// wordCopy marks a copy where a word moves to, until it has left,
	wordCopy word = 1 << 62
	// and wordLeaving the word itself, where it comes from. Its line stays where it
	// is: it is not empty.
	wordLeaving word = 1 << 61
	wordMarks        = wordCopy | wordLeaving
	// wordClosed is in the slots of a line that somebody is about to take off.
	wordClosed word = 1

	numberBits = 26
	wordNumber = 1<<numberBits - 1
	wordHash   = wordLeaving - 1 - wordNumber
)

func makeWord(hash uint64, i uint32) word { return wordTaken | hash<<numberBits&wordHash | word(i) }

// line is a bucket, or what a bucket overflows into: one cache line.
type line struct {
	slot [lineSlots]atomic.Uint64 // words; 0: free
	meta atomic.Uint64            // lineMeta
}

const lineSlots = 7

// lineMeta is a line's last word: whole 1, moving 1, changes 30, the line
// that it overflows into 32. Flags and changes are of buckets only: a line put on
// or taken off always stands next to the bucket, so that one word tells of every
// change of a chain.
type lineMeta uint64

const (
	lineWhole   lineMeta = 1 << 63 // nothing is left to be moved here from the parent
	lineMoving  lineMeta = 1 << 62 // somebody moves words from here, to here, or within
	lineChange  lineMeta = 1 << 32
	lineNext    lineMeta = lineChange - 1
	lineChanges          = lineMoving - lineChange
	lineChain            = lineChanges | lineNext
)

func (m lineMeta) next() uint32 { return uint32(m & lineNext) }
func (m lineMeta) whole() bool  { return m&lineWhole != 0 }

// relinked is what replaces m to lead to line n.
func (m lineMeta) relinked(n uint32) lineMeta {
	return m&^(lineChanges|lineNext) | (m+lineChange)&lineChanges | lineMeta(n)
}

func (l *line) look() lineMeta { return lineMeta(l.meta.Load()) }

// seize makes the caller the only one who moves words to the bucket, from it or
// within, if nobody does and it has or has not a flag.
func (l *line) seize(flag, is lineMeta) bool {
	m := l.look()
	step("line: seize")
	return m&(flag|lineMoving) == is && l.meta.CompareAndSwap(uint64(m), uint64(m|lineMoving))
}

// yield ends what seize began, and adds a flag.
func (l *line) yield(flag lineMeta) {
	for {
		m := l.look()
		step("line: yield")
		if l.meta.CompareAndSwap(uint64(m), uint64(m&^lineMoving|flag)) {
			return
		}
	}
}

// change makes those search a bucket again who are at it.
func (l *line) change() {
	for {
		m := l.look()
		step("line: change")
		if l.meta.CompareAndSwap(uint64(m), uint64(m.relinked(m.next()))) {
			return
		}
	}
}

// pick is the smallest number among the words that differ from want in nothing
// else; if there is none, more than any number. It decides nothing by what it
// reads, so that the processor need not guess.
//
// Compiled by itself it has no branches. The compiler makes some of a minimum that
// an address is made from, so pick must not know what its result is for.
//
//go:noinline
func (l *line) pick(want word) uint64 {
	return min(l.slot[0].Load()^want, l.slot[1].Load()^want, l.slot[2].Load()^want, l.slot[3].Load()^want,
		l.slot[4].Load()^want, l.slot[5].Load()^want, l.slot[6].Load()^want)
}

// twin reports whether the line has another word that differs from w in its number
// only.
func (l *line) twin(w word) bool {
	return min((l.slot[0].Load()^w)-1, (l.slot[1].Load()^w)-1, (l.slot[2].Load()^w)-1, (l.slot[3].Load()^w)-1,
		(l.slot[4].Load()^w)-1, (l.slot[5].Load()^w)-1, (l.slot[6].Load()^w)-1) < wordNumber
}

// several reports whether the line may have another word that differs from w in
// its number only, or its bucket others elsewhere.
func (l *line) several(w word) bool {
	m := l.look()
	step("line: several")
	return l.twin(w) || !m.alone()
}

// only reports whether a hash has no other word than that of entry i, wherever its
// bucket overflows into. That was l, and must be still: else others may have left it.
func (t *Table) only(l *line, hash uint64, i uint32) bool {
	m, w := l.look(), makeWord(hash, i)
	step("line: only")
	return !l.twin(w) && (m.alone() || m.still() && !t.twinBeyond(m, w) && l.look() == m) && t.shard(hash).bucket(hash) == l
}

// twinBeyond reports whether a bucket that was m may overflow into a line with a
// twin of w.
func (t *Table) twinBeyond(m lineMeta, w word) bool {
	for n := m.next(); n != 0; {
		l := t.lines.at(n)
		if l == nil || l.twin(w) {
			return true
		}
		step("line: twin beyond")
		n = l.look().next()
	}
	return false
}

// pickBeyond is pick in what bucket l overflows into.
func (t *Table) pickBeyond(l *line, want word) uint64 {
	for n := l.look().next(); n != 0; {
		if l = t.lines.at(n); l == nil {
			break
		}
		if n := l.pick(want); n <= wordNumber {
			return n
		}
		step("line: pick beyond")
		n = l.look().next()
	}
	return wordNumber + 1
}

// still reports whether no word of the bucket has a mark, or has yet to come from
// the parent, as long as nothing is doubled.
func (m lineMeta) still() bool { return m&(lineWhole|lineMoving) == lineWhole }

// alone reports whether that is so and all words are in the bucket's own line. That
// must be known before they are read: what is moved to the line afterwards is
// missed, and then the bucket is still.
func (m lineMeta) alone() bool { return m&(lineWhole|lineMoving|lineNext) == lineWhole }

// put puts a word into a free slot, and returns that, or nil if there is none.
func (l *line) put(w word) *atomic.Uint64 {
	for i := range l.slot {
		if l.slot[i].Load() == 0 {
			step("line: put")
			if l.slot[i].CompareAndSwap(0, w) {
				return &l.slot[i]
			}
		}
	}
	return nil
}

// full reports whether no slot is free.
func (l *line) full() bool {
	for i := range l.slot {
		if l.slot[i].Load() == 0 {
			return false
		}
	}
	return true
}

// remove takes a word out, and reports whether it was there.
func (l *line) remove(w word) bool {
	for i := range l.slot {
		if l.slot[i].Load() == w {
			step("line: remove")
			if l.slot[i].CompareAndSwap(w, 0) {
				return true
			}
		}
	}
	return false
}

// close has nobody put anything into a line that is empty. It reports false, and
// changes nothing, if it is not.
func (l *line) close() bool {
	for i := range l.slot {
		step("line: close")
		if !l.slot[i].CompareAndSwap(0, wordClosed) {
			l.reopen(i)
			return false
		}
	}
	return true
}

// reopen undoes close for the first n slots.
func (l *line) reopen(n int) {
	for i := range l.slot[:n] {
		step("line: reopen")
		l.slot[i].Store(0)
	}
}

// claim puts a word into a bucket's chain, and returns where; nil: no room. It
// puts a line on only where all are full: else who keeps the last ones full, and
// lets go what is in the others, makes a chain as long as he likes.
func (t *Table) claim(s *shard, bucket *line, w word) *atomic.Uint64 {
	for {
		m := bucket.look()
		if slot := t.claimAmong(bucket, m, w); slot != nil {
			step("line: claimed")
			if bucket.look()&lineChain == m&lineChain {
				return slot
			}
			t.unclaim(s, slot, w) // the line may have been another bucket's by then
			continue
		}
		n, slot := t.spareLine(s, w)
		if n == 0 || t.putOn(bucket, m, n) {
			return slot
		}
		t.unclaim(s, slot, w)
		t.lines.put(s.id, n)
	}
}

// claimAmong puts a word into one of the bucket's lines.
func (t *Table) claimAmong(bucket *line, m lineMeta, w word) *atomic.Uint64 {
	if slot := bucket.put(w); slot != nil {
		return slot
	}
	for n := m.next(); n != 0; {
		l := t.lines.at(n)
		if l == nil {
			break
		}
		if slot := l.put(w); slot != nil {
			return slot
		}
		n = l.look().next()
	}
	return nil
}

// spareLine gets a line with a word in it. Somebody who believes it to be where
// it was before may hold its slots, then another one has to do.
func (t *Table) spareLine(s *shard, w word) (uint32, *atomic.Uint64) {
	n := t.lines.get(t.entries.owner(uint32(w&wordNumber)), s.id)
	if n == 0 {
		return 0, nil
	}
	if slot := t.lines.at(n).put(w); slot != nil {
		return n, slot
	}
	other, slot := t.spareLine(s, w)
	t.lines.put(s.id, n)
	return other, slot
}

// putOn has a bucket that was m overflow into line n.
func (t *Table) putOn(bucket *line, m lineMeta, n uint32) bool {
	t.lines.at(n).meta.Store(uint64(m.next()))
	step("line: put on")
	return bucket.meta.CompareAndSwap(uint64(m), uint64(m.relinked(n)))
}

// unclaim takes back what claim has put into slot. A word that was moved since
// is looked for; a copy that is gone was taken along with it.
func (t *Table) unclaim(s *shard, slot *atomic.Uint64, w word) {
	step("line: unclaim")
	switch {
	case w&wordCopy == 0 && !strike(slot, w):
		t.clear(s, w)
	case w&wordCopy == 0 || slot.CompareAndSwap(w, 0):
		t.takeOff(s, s.bucket(w>>numberBits))
	}
}

// strike takes a word out of a slot, whatever mark it has there, and reports
// whether that was more than a copy.
func strike(slot *atomic.Uint64, w word) bool {
	for {
		v := slot.Load()
		if v&^wordMarks != w {
			return false
		}
		step("line: strike")
		if slot.CompareAndSwap(v, 0) {
			return v&wordCopy == 0
		}
	}
}

// clear takes an entry's word out of the index, and copies of it. A copy alone
// proves nothing: it may be that of an earlier entry of that number and hash, which
// its mover is yet to take back.
func (t *Table) clear(s *shard, w word) {
	if l := s.bucket(w >> numberBits); l.remove(w) {
		t.tidy(s, l, w>>numberBits)
		return
	}
	for {
		q := t.search(s, w>>numberBits)
		for i := q.next(); i != 0; i = q.next() {
			if i == uint32(w&wordNumber) && strike(q.slot(), w) {
				t.takeOff(s, q.bucket)
				return
			}
		}
		if q.complete() {
			return
		}
	}
}

// tidy makes use of a free slot in the bucket that is, or was, that of a hash.
func (t *Table) tidy(s *shard, bucket *line, hash uint64) {
	if bucket.look().next() == 0 {
		return
	}
	if bucket.seize(lineWhole, lineWhole) {
		if size := s.size(); bucket == s.line(bucketOf(hash, size)) {
			t.gather(s, bucket, bucketOf(hash, size), size)
		}
		bucket.yield(0)
	}
	t.takeOff(s, bucket)
}

// takeOff takes lines off a bucket that nobody needs any more.
func (t *Table) takeOff(s *shard, bucket *line) {
	for {
		m := bucket.look()
		if m.next() == 0 {
			return
		}
		l := t.lines.at(m.next())
		if l == nil || !l.close() {
			return
		}
		next := l.look().next()
		step("line: take off")
		off := bucket.meta.CompareAndSwap(uint64(m), uint64(m.relinked(next)))
		l.reopen(lineSlots)
		if !off {
			return
		}
		t.lines.put(s.id, m.next())
	}
}
