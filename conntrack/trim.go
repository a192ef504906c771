package conntrack

import "sync/atomic"

// What a flood of connections took is given back once it is over. Trim, which
// somebody calls now and then, sends free items home to the lists of their
// chunks; where all of a chunk's items are at home it drops the chunk. New
// items come from the lowest chunk that has one, so that those above empty.
//
// Whoever still holds a pointer into a chunk that was dropped keeps it, by the
// garbage collector, and reads of dead entries there for ever. Whoever holds a
// number only finds no chunk, or a new one, whose entries have later
// generations than any that the old one had.

const (
	// trimLeast is how many free entries are never worth the trouble.
	trimLeast = 8 * chunkSize
	// checkCost is what looking through a chunk counts of Trim's budget.
	checkCost = chunkSize / 8
)

// Trim gives memory back if the table has far more room than entries. It
// handles at most budget items or so, and reports how many chunks it dropped
// and whether it is worth while to call it again at once.
func (t *Table) Trim(budget int) (dropped int, more bool) {
	if n := t.Len(); !t.entries.roomy(n) && !t.records.roomy(n) && !t.wide.roomy(n) && !t.lines.roomy(n) {
		return 0, false
	}
	return t.trim(&budget)
}

func (t *Table) trim(budget *int) (dropped int, more bool) {
	t.entries.sendHome(budget)
	t.records.sendHome(budget)
	t.wide.sendHome(budget)
	t.lines.sendHome(budget)
	more = *budget <= 0
	dropped = t.entries.drop(budget, t.idle, t.part)
	dropped += t.records.drop(budget, nil, nil)
	dropped += t.wide.drop(budget, nil, nil)
	dropped += t.lines.drop(budget, nil, nil)
	return dropped, more || dropped > 0
}

// roomy reports whether the pool is far larger than used items need.
func (p *pool[T]) roomy(used int) bool {
	given := int(p.turned.Load()) * chunkSize
	for w := range p.fresh[1:] {
		if uint32(p.fresh[w+1].last.Load()) != spent {
			given -= chunkSize // another worker's, which is just begun
		}
	}
	return given-used >= max(trimLeast, given/2)
}

// idle reports whether no entry of chunk c, which are all at home, has a timer
// record that is yet to fire. Should one be added now, by somebody who saw the
// entry alive, it finds nothing when it fires, or an entry that has others.
func (t *Table) idle(c uint32) bool {
	in := t.entries.chunks[c].Load()
	if in == nil {
		return false // somebody else was faster
	}
	for i := range in.item {
		if timerWord(in.item[i].timer.Load()).records() != 0 {
			return false
		}
	}
	return true
}

// part notes what must outlive chunk c of entries, which nobody can get any
// more, and drops what stands beside it.
func (t *Table) part(c uint32) {
	in, last := t.entries.chunks[c].Load(), uint64(t.bases[c].Load())
	for i := range in.item {
		if ctl := control(in.item[i].ctl.Load()); ctl != 0 && newer(ctl.gen(), last) {
			last = ctl.gen()
		}
	}
	t.bases[c].Store(uint32(last))
	t.kin[c].Store(nil)
	t.sides.links[c].Store(nil)
	t.adverts[c].Store(nil)
}

// sendHome sends free items home.
func (p *pool[T]) sendHome(budget *int) {
	for s := range p.free {
		for ; *budget > 0; *budget-- {
			i := p.pop(&p.free[s].head)
			if i == 0 {
				break
			}
			p.comeHome(i)
		}
	}
}

// drop gives up chunks whose items are all at home, if idle finds them so, and
// returns how many. It calls part before a chunk goes.
func (p *pool[T]) drop(budget *int, idle func(uint32) bool, part func(uint32)) (dropped int) {
	step("trim: spares")
	p.spares.Store(nil)
	for range p.homes {
		if *budget <= 0 {
			break
		}
		c := p.look.Add(1) % uint32(len(p.homes))
		h := p.homes[c].free.Load()
		if uint32(h>>16&(homeCount-1)) != min(chunkSize-1, p.limit-c<<chunkBits) {
			continue
		}
		*budget -= checkCost
		if idle != nil && !idle(c) {
			continue
		}
		step("trim: claim")
		if !p.homes[c].free.CompareAndSwap(h, bumped(h)) {
			continue // somebody took one after all
		}
		if part != nil {
			part(c)
		}
		step("trim: drop")
		p.chunks[c].Store(nil)
		step("trim: idle")
		p.homes[c].turn.Store(uint64(p.turn(c).end()))
		p.turned.Add(-1)
		dropped++
	}
	return dropped
}

// bases has, per chunk of entries, the last generation that any of them had
// when the chunk was dropped.
type bases []atomic.Uint32

func newBases(limit uint32) bases { return make(bases, limit>>chunkBits+1) }

// of is that of entry i's chunk.
func (b bases) of(i uint32) uint64 { return uint64(b[i>>chunkBits].Load()) }
