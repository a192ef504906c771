package conntrack

import (
	"math/bits"
	"sync/atomic"
	"time"

	"usvs/clock"
)

// The wheel counts time in ticks of 10 ms, the kernel's HZ=100. A slot of
// level l spans 32^l ticks; 6 levels of 32 slots reach 124 days ahead.
const (
	tick       = 10 * time.Millisecond
	levelBits  = 5
	levelSlots = 1 << levelBits
	levels     = 6
	tickBits   = 38 // 87 years
	never      = 1<<tickBits - 1
)

// dueTick is the first tick by which at has come; nowTick the last that has come.
func dueTick(at clock.Instant) uint64 {
	return min((uint64(max(at, 0))+uint64(tick)-1)/uint64(tick), never-1)
}
func nowTick(now clock.Instant) uint64    { return min(uint64(max(now, 0)/clock.Instant(tick)), never-1) }
func tickSpan(n uint64) time.Duration     { return time.Duration(n) * tick }
func tickInstant(tk uint64) clock.Instant { return clock.Instant(tk) * clock.Instant(tick) }

// wheel is a hierarchical timing wheel (Varghese and Lauck, 1987) whose slots
// are stacks of timer records.
//
// Slots of ticks up to cursor.hi have been reached: those up to lo are drained,
// those in between are being drained, by all who come along. A record is filed
// after hi only. Whoever files one reads the cursor again afterwards; if it has
// not reached the slot by then, the slot's draining is yet to begin and will
// find the record.
type wheel struct {
	owner, shard uint32        // whose, and of whose entries
	cursor       atomic.Uint64 // cursor
	// busy has, per level, a bit for every slot that may hold records, and in
	// the upper half a version that changes whenever a bit is set.
	busy [levels]atomic.Uint64
	_    [64]byte
	slot [levels][levelSlots]atomic.Uint64 // stacks
}

// cursor is a wheel's progress: started 1, lo 38, hi-lo 25.
type cursor uint64

const (
	cursorStarted   cursor = 1 << 63
	cursorSpanBits         = 25
	cursorSpan      cursor = 1<<cursorSpanBits - 1
	longestStepBits        = 20 // that a step may cover
)

func makeCursor(lo, hi uint64) cursor {
	return cursorStarted | cursor(lo)<<cursorSpanBits | cursor(hi-lo)
}
func (c cursor) lo() uint64 { return uint64(c &^ cursorStarted >> cursorSpanBits) }
func (c cursor) hi() uint64 { return c.lo() + uint64(c&cursorSpan) }

// begin sets the wheel to the time at which it is first used, so that it need
// not turn there from zero.
func (w *wheel) begin(now clock.Instant) cursor {
	c := cursor(w.cursor.Load())
	if c == 0 {
		step("wheel: begin")
		w.cursor.CompareAndSwap(0, uint64(makeCursor(nowTick(now), nowTick(now))))
		c = cursor(w.cursor.Load())
	}
	return c
}

// place chooses the slot for a record that is to wake at tick at: the finest
// level with a slot that is after hi and not shared with one being drained. The
// way step chooses hi ensures that there is one. A wake out of reach gets the
// farthest slot; it will be filed again from there.
func (c cursor) place(at uint64) (level int, pos uint64) {
	lo, hi := c.lo(), c.hi()
	at = max(at, hi+1)
	for level = range levels {
		shift := level * levelBits
		pos = at >> shift
		if pos > hi>>shift && pos-lo>>shift <= levelSlots {
			return level, pos
		}
	}
	return level, hi>>(level*levelBits) + levelSlots - 1
}

// file puts record r, to wake at tick at, into its slot. It reports false if
// the slot's time came meanwhile, so that the record may lie there until the
// wheel has turned once more.
func (t *Table) file(now clock.Instant, w *wheel, r uint32, at uint64) bool {
	level, pos := w.begin(now).place(at)
	slot := pos % levelSlots
	t.records.push(&w.slot[level][slot], r)
	if w.busy[level].Load()&(1<<slot) == 0 {
		w.setBusy(level, slot)
	}
	if cursor(w.cursor.Load()).hi() < pos<<(level*levelBits) {
		return true // nobody drains it yet, so nobody was about to clear its bit
	}
	w.setBusy(level, slot)
	return false
}

// setBusy sets a slot's bit, and makes those fail who are about to clear it.
func (w *wheel) setBusy(level int, slot uint64) {
	for {
		b := w.busy[level].Load()
		step("wheel: busy")
		if w.busy[level].CompareAndSwap(b, (b+1<<32)|1<<slot) {
			return
		}
	}
}

// advance turns the wheel to tick to, handling at most *budget records. It
// reports false if there are more.
func (t *Table) advance(w *wheel, to uint64, budget *int) bool {
	for {
		c := w.begin(tickInstant(to))
		switch {
		case c.lo() < c.hi():
			if t.drain(w, c, budget) {
				step("wheel: drained")
				w.cursor.CompareAndSwap(uint64(c), uint64(makeCursor(c.hi(), c.hi())))
			} else if *budget <= 0 {
				return false
			}
		case c.lo() >= to:
			return true
		default:
			step("wheel: turn")
			hi := stepTo(c.lo(), min(to, w.next(c)))
			w.cursor.CompareAndSwap(uint64(c), uint64(makeCursor(c.lo(), hi)))
		}
	}
}

// stepTo returns how far, from lo towards due, the cursor may go at once: only
// within one block of 32 slots of some level, from slot end to slot end. Then
// at every level the slots being drained and those records are filed in differ.
func stepTo(lo, due uint64) uint64 {
	level := min(bits.TrailingZeros64(lo+1)/levelBits, longestStepBits/levelBits-1)
	for ; ; level-- {
		unit := uint64(1) << (level * levelBits)
		block := unit << levelBits
		hi := min((due+1)/unit*unit, (lo+1)/block*block+block) - 1
		if hi > lo {
			return hi
		}
	}
}

// next returns the tick at which a slot has to be drained next, or never.
func (w *wheel) next(c cursor) uint64 {
	lo, first := c.lo(), uint64(never)
	if c.hi() > lo {
		return c.hi()
	}
	for level := range levels {
		b := uint32(w.busy[level].Load())
		if b == 0 {
			continue
		}
		shift := level * levelBits
		pos := lo>>shift + 1
		pos += uint64(bits.TrailingZeros32(bits.RotateLeft32(b, -int(pos%levelSlots))))
		first = min(first, pos<<shift)
	}
	return first
}

// drain empties the slots after lo up to hi, coarse ones first because their
// records may belong into fine ones. It reports false if the budget ended, or
// the cursor moved, before. Records are handled as of the time hi, so that a
// late call ends things in the same order as one in time.
func (t *Table) drain(w *wheel, c cursor, budget *int) bool {
	for level := levels - 1; level >= 0; level-- {
		from, to := c.lo()>>(level*levelBits)+1, c.hi()>>(level*levelBits)
		to = min(to, from+levelSlots-1)
		for pos := from; pos <= to; pos++ {
			if !t.drainSlot(w, c, level, pos%levelSlots, budget) {
				return false
			}
		}
	}
	return true
}

// drainSlot empties a slot.
func (t *Table) drainSlot(w *wheel, c cursor, level int, slot uint64, budget *int) bool {
	for {
		b := w.busy[level].Load()
		if b&(1<<slot) == 0 {
			return true
		}
		if *budget <= 0 || cursor(w.cursor.Load()) != c {
			return false
		}
		if !t.drainSome(w, c, &w.slot[level][slot], budget) {
			step("wheel: idle")
			w.busy[level].CompareAndSwap(b, b&^(1<<slot))
		}
	}
}

// drainSome has the next records of a slot fire, and reports false if there was
// none. It takes them out one by one, so that a goroutine that stops here holds up
// no more than one; what ended connections leave is given back for all together.
func (t *Table) drainSome(w *wheel, c cursor, stack *atomic.Uint64, budget *int) bool {
	f := freed{owner: w.owner, shard: w.shard}
	known := t.foresee(stack, c.hi())
	r := t.records.pop(stack)
	some := r != 0
	for r != 0 {
		*budget--
		t.fire(w, r, c.hi(), &f)
		if known--; known <= 0 || *budget <= 0 || cursor(w.cursor.Load()) != c {
			break
		}
		r = t.records.pop(stack)
	}
	f.giveBack(t)
	return some
}

// foreseen is how many records a slot's draining looks at together.
const foreseen = 32

// foresee begins to read what the next records of a stack will need when they
// fire, all together, so that none waits for another's memory. It returns how
// many they are. It only looks, at what others may be changing.
func (t *Table) foresee(stack *atomic.Uint64, hi uint64) int {
	var next [foreseen]uint32
	n := 0
	for r := uint32(stack.Load()); r != 0 && n < foreseen; n++ {
		link := t.records.link(r)
		if link == nil {
			break
		}
		next[n], r = r, link.Load()
	}
	k := 0
	for _, r := range next[:n] {
		if word := t.records.at(r); word != nil {
			if i, at := splitRecord(word.Load()); at <= hi {
				next[k] = i
				k++
			}
		}
	}
	t.touchEnding(next[:k], hi)
	return n
}

// touchEnding begins to read what the removal of entries will need of those
// whose time will be over at tick hi. It does so in rounds, as Touch does.
func (t *Table) touchEnding(next []uint32, hi uint64) {
	var entries [foreseen]*entry
	k := 0
	for _, i := range next {
		if e, link := t.entries.at(i), t.entries.link(i); e != nil && link != nil {
			link.Load()
			e.ends.Load()
			entries[k] = e
			k++
		}
	}
	for _, e := range entries[:k] {
		if expiry(e.ends.Load()).tick() <= hi {
			hash := e.hash.Load()
			t.shard(hash).bucket(hash).look()
		}
	}
}
