package conntrack

import (
	"time"

	"usvs/clock"
)

const (
	// maxRecords bounds the timer records of one entry: the one it relies on,
	// and those that became too late when its expiry was brought forward.
	maxRecords = 7
	// manyRecords is when an entry's timer starts to look every second instead
	// of adding to what becomes too late.
	manyRecords = 4
	// spareRecords allows for goroutines that hold records no entry counts.
	spareRecords = 4096
	// recordRun is how many new records a shard is given together, so that those
	// of one slot are mostly near each other: whose links fit a cache line.
	recordRun = 16

	// A timer that wakes too early sleeps again until the entry's expiry, but at
	// most this long, or four times as long as before: the expiry may be brought
	// forward, and the record would outlive its entry for that time.
	shortSleep = 128 * time.Second
	longerBy   = 4
)

// A record is a word: when it wakes (38 bits), which entry slot it is for (26).
// It belongs to the slot: when the slot is used again, so is the record.
func makeRecord(i uint32, at uint64) uint64      { return at<<26 | uint64(i) }
func splitRecord(r uint64) (i uint32, at uint64) { return uint32(r & (1<<26 - 1)), r >> 26 }

// timerWord says what an entry slot relies on: records 4, seconds the earliest
// of them sleeps 20, when it wakes 38 (offset by one, so that zero is none).
type timerWord uint64

func makeTimer(records int, sleep time.Duration, at uint64) timerWord {
	secs := min(uint64(max(sleep, 0)/time.Second), 1<<20-1)
	return timerWord(records)<<60 | timerWord(secs)<<tickBits | timerWord(at+1)&never
}

func (w timerWord) records() int         { return int(w >> 60) }
func (w timerWord) fewer() int           { return max(w.records()-1, 0) } // see Trim for none
func (w timerWord) sleep() time.Duration { return time.Duration(w>>tickBits&(1<<20-1)) * time.Second }

// at is when the earliest record wakes, or never.
func (w timerWord) at() uint64 { return uint64(w-1) & never }

// wake returns the tick at which a living entry's end is to be seen to. One that
// controls others waits a tick: the last of them, a template's connection whose
// time began anew with the same packet, may end in the same moment. The kernel's
// timers take that one first, and its template goes with it.
func (e *entry) wake() (uint64, bool) {
	ctl := control(e.ctl.Load())
	if ctl.life() != alive {
		return 0, false
	}
	at := expiry(e.ends.Load()).tick()
	if ctl.controls() {
		at = min(at+1, never-1)
	}
	return at, true
}

// wheel is where entry i's next record belongs: beside the free lists and the
// count that its end will change. Earlier ones may be elsewhere, as the entry may
// have been in another shard; they are as good.
func (t *Table) wheel(i uint32, e *entry) *wheel {
	return &t.portion(t.entries.owner(i)).wheels[t.shardOf(e).id]
}

// arm ensures that a record wakes no later than entry i expires. It is called
// after every change of an expiry, unless there is one already, as mostly.
func (t *Table) arm(now clock.Instant, i uint32) {
	e := t.entries.at(i)
	if e == nil {
		return
	}
	for {
		at, ok := e.wake()
		step("timer: look")
		tw := timerWord(e.timer.Load())
		if !ok || tw.at() <= at || tw.records() >= maxRecords {
			return
		}
		step("timer: arm")
		if e.timer.CompareAndSwap(uint64(tw), uint64(makeTimer(tw.records()+1, tickInstant(at).Sub(now), at))) {
			t.add(now, t.wheel(i, e), i, at)
			return
		}
	}
}

// add files a new record, which the timer word counts already.
func (t *Table) add(now clock.Instant, w *wheel, i uint32, at uint64) {
	for {
		r := t.records.get(w.owner, w.shard)
		if r == 0 {
			return // cannot be: there is one for each that entries may count
		}
		set64(t.records.at(r), makeRecord(i, at))
		if t.file(now, w, r, at) {
			return
		}
		var ok bool
		if at, ok = t.overtaken(w, i, at); !ok {
			return
		}
	}
}

// refile files a record that was taken out of the wheel.
func (t *Table) refile(now clock.Instant, w *wheel, r, i uint32, at uint64) {
	if t.file(now, w, r, at) {
		return
	}
	if at, ok := t.overtaken(w, i, at); ok {
		t.add(now, w, i, at)
	}
}

// overtaken deals with a record that was filed in a slot just as the wheel
// reached it. It may have been found or may lie there for a while; unless it
// was found, the entry relies on another one, which the caller adds.
func (t *Table) overtaken(w *wheel, i uint32, at uint64) (uint64, bool) {
	e := t.entries.at(i)
	for e != nil {
		tw := timerWord(e.timer.Load())
		if tw.at() != at || tw.records() >= maxRecords {
			return 0, false
		}
		to := max(at, cursor(w.cursor.Load()).hi()+1)
		step("timer: overtaken")
		if e.timer.CompareAndSwap(uint64(tw), uint64(makeTimer(tw.records()+1, tw.sleep(), to))) {
			return to, true
		}
	}
	return 0, false
}

// fire handles record r, taken out of a slot that the wheel, now at tick hi,
// has reached. It changes the timer word first and looks at the expiry again
// afterwards, as arm is called after a change of expiry and looks at the timer
// word then: one of the two sees the other.
func (t *Table) fire(w *wheel, r uint32, hi uint64, f *freed) {
	now := tickInstant(hi)
	i, at := splitRecord(t.records.at(r).Load())
	if at > hi {
		t.refile(now, w, r, i, at) // from a coarse slot to a finer one
		return
	}
	e := t.entries.at(i)
	for {
		if e == nil {
			f.record(t, r)
			return
		}
		tw := timerWord(e.timer.Load())
		if tw.at() != at {
			step("timer: superseded")
			if e.timer.CompareAndSwap(uint64(tw), uint64(makeTimer(tw.fewer(), tw.sleep(), tw.at()))) {
				f.record(t, r)
				return
			}
			continue
		}
		to, ok := t.expire(now, i, e, f)
		step("timer: decide")
		if !ok {
			step("timer: done")
			if e.timer.CompareAndSwap(uint64(tw), uint64(makeTimer(tw.fewer(), 0, never))) {
				f.record(t, r)
				t.arm(now, i)
				return
			}
			continue
		}
		to = tw.doze(now, to)
		step("timer: doze")
		if e.timer.CompareAndSwap(uint64(tw), uint64(makeTimer(tw.records(), tickInstant(to).Sub(now), to))) {
			set64(t.records.at(r), makeRecord(i, to))
			t.refile(now, w, r, i, to)
			t.arm(now, i)
			return
		}
	}
}

// expire ends whatever entry i is if its time is over, and returns when the
// time of what is there then will be.
func (t *Table) expire(now clock.Instant, i uint32, e *entry, f *freed) (uint64, bool) {
	if ctl := control(e.ctl.Load()); ctl.life() == alive {
		t.lapse(now, i, ctl.gen(), f)
	}
	return e.wake()
}

// doze returns when a record that has woken too early is to wake next.
func (w timerWord) doze(now clock.Instant, expires uint64) uint64 {
	most := max(shortSleep, longerBy*w.sleep())
	if w.records() >= manyRecords {
		most = time.Second
	}
	return min(expires, dueTick(now.Add(most)))
}

// Tick ends what has expired by now, in the order of time, handling at most
// budget timers. It returns when it wants to be called again: now or earlier if
// there are more, clock.Never if there is nothing to wait for. Anyone may call
// it at any time.
func (t *Table) Tick(now clock.Instant, budget int) clock.Instant { return t.TickOf(0, now, budget) }

// TickOf is Tick for a worker, who begins with what it inserted itself.
func (t *Table) TickOf(worker int, now clock.Instant, budget int) clock.Instant {
	first := uint32(worker) % maxWorkers
	due := nowTick(now)
	t.settle()
	for {
		next := t.next()
		to := min(next, due)
		for w := range t.portions {
			if !t.turn(t.portions[(first+uint32(w))%maxWorkers].Load(), to, &budget) {
				return tickInstant(to)
			}
		}
		if next == never {
			return clock.Never
		}
		if next > due {
			return tickInstant(next)
		}
	}
}

// SameTick reports whether Tick, having done all it had to at one time, has
// nothing more to do at the other, whatever was put into the table meanwhile.
func SameTick(a, b clock.Instant) bool { return nowTick(a) == nowTick(b) }

// next returns the tick at which a wheel has to turn next, or never.
func (t *Table) next() uint64 {
	first := uint64(never)
	for i := range t.portions {
		if p := t.portions[i].Load(); p != nil {
			for s := range p.wheels {
				w := &p.wheels[s]
				first = min(first, w.next(cursor(w.cursor.Load())))
			}
		}
	}
	return first
}

// turn advances a portion's wheels, if it is there.
func (t *Table) turn(p *portion, to uint64, budget *int) bool {
	if p == nil {
		return true
	}
	for i := range p.wheels {
		if !t.advance(&p.wheels[i], to, budget) {
			return false
		}
	}
	return true
}
