package conntrack

import (
	"math/bits"
	"sync/atomic"
)

const (
	chunkBits = 13
	chunkSize = 1 << chunkBits
	// maxWorkers is how many workers have chunks and lists of their own.
	maxWorkers = 16
)

// pool is a slab of items named by number; 0, and any multiple of a chunk's
// size, names none. It grows by chunks up to a limit. T must hold no pointers.
//
// Beside every item stands one link, by which an item is in one stack at a
// time: a free list, or a slot of the timing wheel. A free item is on the list
// of the worker who owns its chunk and the shard that gave it back or, once
// there were many (trim.go), at home, on the list of its chunk.
//
// So a worker is given what it used before, which its processor still knows,
// whoever gave it back. Who owns a chunk decides nothing else: a worker for whom
// nothing is left takes what is the others'.
type pool[T any] struct {
	chunks []atomic.Pointer[chunk[T]]
	free   []stack // one per worker and shard
	shards uint32
	limit  uint32
	run    uint32 // how many fresh items a list is given at once
	_      [64]byte
	fresh  [maxWorkers]fresh
	homes  []home          // one per chunk
	stock  []atomic.Uint64 // a bit per chunk: there may be some at home
	some   atomic.Bool     // there may be some in any
	homed  atomic.Bool     // there ever were
	turned atomic.Int32    // chunks in use
	spares atomic.Pointer[spare[T]]
	growth *growth
	top    atomic.Uint32 // the highest one ever
	look   atomic.Uint32 // where Trim goes on
}

type chunk[T any] struct {
	item [chunkSize]T
	next [chunkSize]atomic.Uint32
}

// home is a chunk's state.
type home struct {
	// free is a stack of items of the chunk: tag 32, how many 16, the topmost's
	// number within the chunk 16. Their links hold numbers within the chunk.
	free atomic.Uint64
	turn atomic.Uint64 // turn
}

// fresh is what a worker is given for the first time: the count of the chunk's
// turn when it was chosen 32, the last number 32. That is spent if there was none
// yet, and the chunk's last if somebody else was faster to begin it: it is never
// twice the same.
type fresh struct {
	last atomic.Uint64
	_    [56]byte
}

const spent = 1<<32 - 1

// turn says who owns a chunk, 16; who began it, 16; and how often it was begun or
// given back, 32: odd while its numbers are given out or have been, even before
// that and after the chunk was given back.
type turn uint64

func (t turn) count() uint32    { return uint32(t) }
func (t turn) begun() bool      { return t&1 != 0 }
func (t turn) beginner() uint32 { return uint32(uint16(t >> 32)) }
func (t turn) owner() uint32    { return uint32(t>>48) % maxWorkers }

func (t turn) begin(worker uint32) turn {
	return turn(worker)<<48 | turn(worker)<<32 | turn(t.count()+1)
}
func (t turn) end() turn                { return turn(t.count() + 1) }
func (t turn) owned(worker uint32) turn { return t&(1<<48-1) | turn(worker)<<48 }

const (
	homeTag   = 1 << 32
	homeCount = 1 << 16
)

// stack is the head of a Treiber stack: tag in the upper half, which changes
// with every push and pop, and the number of the topmost item in the lower.
type stack struct {
	head atomic.Uint64
	_    [56]byte
}

func newPool[T any](limit uint32, shards int, g *growth) *pool[T] {
	limit += (max(limit, 1) - 1) / (chunkSize - 1) // for the numbers that name none
	chunks := limit>>chunkBits + 1
	p := &pool[T]{
		chunks: make([]atomic.Pointer[chunk[T]], chunks),
		free:   make([]stack, maxWorkers*shards),
		shards: uint32(shards),
		limit:  limit,
		run:    1,
		homes:  make([]home, chunks),
		stock:  make([]atomic.Uint64, chunks/64+1),
		growth: g,
	}
	for w := range p.fresh[1:] {
		p.fresh[w+1].last.Store(spent)
	}
	return p
}

// turn is chunk c's.
func (p *pool[T]) turn(c uint32) turn { return turn(p.homes[c].turn.Load()) }

// owner is whose item i is.
func (p *pool[T]) owner(i uint32) uint32 { return p.turn(i >> chunkBits).owner() }

func (p *pool[T]) list(worker, shard uint32) *atomic.Uint64 {
	return &p.free[worker*p.shards+shard].head
}

// at is item i, or nil if its chunk was given back.
func (p *pool[T]) at(i uint32) *T {
	c := p.chunks[i>>chunkBits].Load()
	if c == nil {
		return nil
	}
	return &c.item[i&(chunkSize-1)]
}

// link is item i's link, or nil if its chunk was given back.
func (p *pool[T]) link(i uint32) *atomic.Uint32 {
	c := p.chunks[i>>chunkBits].Load()
	if c == nil {
		return nil
	}
	return &c.next[i&(chunkSize-1)]
}

// get takes an item: a used one of the worker and shard, else one at home, else
// a fresh one, else another worker's or shard's. It returns 0 if there is none.
func (p *pool[T]) get(worker, shard uint32) uint32 {
	if i := p.pop(p.list(worker, shard)); i != 0 {
		return i
	}
	if i := p.leave(worker); i != 0 {
		return i
	}
	if i, n := p.growRun(worker, p.run); i != 0 {
		if n > 1 {
			p.stow(worker, shard, i+1, n-1)
		}
		return i
	}
	return p.borrow()
}

// stow puts n items, which nobody had yet, on a list in the order of their numbers.
func (p *pool[T]) stow(worker, shard, i, n uint32) {
	last := i + n - 1
	for j := i; j < last; j++ {
		set32(p.link(j), j+1)
	}
	p.pushAll(p.list(worker, shard), linked{i, last})
}

// borrow takes an item that is anybody's, wherever it is: what is said of where
// some are at home is not asked, as somebody may sleep who is to say so.
func (p *pool[T]) borrow() uint32 {
	for l := range p.free {
		if i := p.pop(&p.free[l].head); i != 0 {
			return i
		}
	}
	for w := range uint32(maxWorkers) {
		if i := p.grow(w); i != 0 {
			return i
		}
	}
	if p.homed.Load() {
		for c := range p.homes {
			if i := p.leaveHome(uint32(c)); i != 0 {
				return i
			}
		}
	}
	return 0
}

// put gives an item back to its owner's free list of a shard.
func (p *pool[T]) put(shard, i uint32) { p.push(p.list(p.owner(i), shard), i) }

// grow takes an item of the worker that was never used, or not since its chunk
// was given back.
func (p *pool[T]) grow(worker uint32) uint32 {
	i, _ := p.growRun(worker, 1)
	return i
}

// growRun is grow for as many items as come before the next multiple of run, which
// is a power of two.
func (p *pool[T]) growRun(worker, run uint32) (first, n uint32) {
	last := &p.fresh[worker].last
	for {
		w := last.Load()
		first = uint32(w) + 1
		if first > p.limit || first&(chunkSize-1) == 0 {
			if !p.open(last, w) {
				return 0, 0
			}
			continue
		}
		if !p.ready(worker, w, first) {
			continue
		}
		n = min(run-first&(run-1), p.limit-first+1)
		step("pool: fresh")
		if last.CompareAndSwap(w, w+uint64(n)) {
			return first, n
		}
	}
}

// open has the numbers of the lowest idle chunk given out next, those of the
// last one being at an end. It reports false if there is none.
func (p *pool[T]) open(last *atomic.Uint64, w uint64) bool {
	if int(p.turned.Load()) < len(p.homes) {
		for c := range p.homes {
			if turn := p.turn(uint32(c)); !turn.begun() {
				step("pool: open")
				last.CompareAndSwap(w, uint64(turn.count())<<32|uint64(c)<<chunkBits)
				return true
			}
		}
	}
	return last.Load() != w
}

// ready sees to it that the chunk of n, the number after the worker's last one as
// long as that is w, is there and known to be in use. It reports false if somebody
// else has begun it.
func (p *pool[T]) ready(worker uint32, w uint64, n uint32) bool {
	c := n >> chunkBits
	if n&(chunkSize-1) == 1 && !p.begin(worker, w, c) {
		return false
	}
	for top := p.top.Load(); top < c; top = p.top.Load() {
		step("pool: top")
		p.top.CompareAndSwap(top, c)
	}
	if p.chunks[c].Load() == nil {
		step("pool: chunk")
		p.chunks[c].CompareAndSwap(nil, p.chunk())
	}
	return true
}

// begin begins chunk c for a worker who has chosen it, unless that was done. Only
// the turn after the one that was seen then counts: as long as w is the worker's
// last, nobody was given a number in it.
func (p *pool[T]) begin(worker uint32, w uint64, c uint32) bool {
	for {
		turn, chosen := p.turn(c), uint32(w>>32)
		switch {
		case turn.count() == chosen:
			step("pool: turn")
			if p.homes[c].turn.CompareAndSwap(uint64(turn), uint64(turn.begin(worker))) {
				p.turned.Add(1)
				p.growth.tell()
				return true
			}
		case turn.count() == chosen+1 && turn.beginner() == worker:
			return true
		default:
			step("pool: lost")
			p.fresh[worker].last.CompareAndSwap(w, w|(chunkSize-1))
			return false
		}
	}
}

// highest is no less than the highest number that is given out, and mostly that.
func (p *pool[T]) highest() uint32 {
	top, high := p.top.Load(), uint32(0)
	for w := range p.fresh {
		last := uint32(p.fresh[w].last.Load())
		if last>>chunkBits == top && last&(chunkSize-1) != 0 {
			high = max(high, last)
		}
	}
	if high == 0 && p.turned.Load() > 0 { // whose that chunk was has another one by now
		high = (top+1)<<chunkBits - 1
	}
	return min(p.limit, high)
}

func (p *pool[T]) push(head *atomic.Uint64, i uint32) { p.pushAll(head, linked{i, i}) }

// linked is items that were linked with each other, to be put on a stack together.
type linked struct{ top, bottom uint32 }

// join puts item i, which is in no stack, on top of others.
func (p *pool[T]) join(l *linked, i uint32) {
	if l.top == 0 {
		l.bottom = i
	} else {
		set32(p.link(i), l.top)
	}
	l.top = i
}

func (p *pool[T]) pushAll(head *atomic.Uint64, l linked) {
	next := p.link(l.bottom)
	for {
		h := head.Load()
		set32(next, uint32(h))
		step("stack: push")
		if head.CompareAndSwap(h, bumped(h)|uint64(l.top)) {
			return
		}
	}
}

func (p *pool[T]) pop(head *atomic.Uint64) uint32 {
	for {
		h := head.Load()
		i := uint32(h)
		if i == 0 {
			return 0
		}
		next := p.link(i)
		if next == nil {
			continue // it was popped meanwhile, and its chunk given back
		}
		to := next.Load() // of no use if i was popped meanwhile: the tag tells
		step("stack: pop")
		if head.CompareAndSwap(h, bumped(h)|uint64(to)) {
			return i
		}
	}
}

func bumped(head uint64) uint64 { return (head>>32 + 1) << 32 }

// leave takes an item that is at home, of the lowest chunk that has one, so
// that high ones become idle. A worker none of whose chunks has one makes
// another's its own.
func (p *pool[T]) leave(worker uint32) uint32 {
	if !p.some.Load() {
		return 0
	}
	if i := p.leaveAny(worker, false); i != 0 {
		return i
	}
	if i := p.leaveAny(worker, true); i != 0 {
		p.adopt(worker, i>>chunkBits)
		return i
	}
	step("home: empty")
	p.some.Store(false)
	for n := range p.stock {
		if p.stock[n].Load() != 0 {
			p.some.Store(true)
		}
	}
	return 0
}

// leaveAny takes an item at home in a chunk of the worker's or, if others is set,
// anybody's.
func (p *pool[T]) leaveAny(worker uint32, others bool) uint32 {
	for n := range p.stock {
		for w := p.stock[n].Load(); w != 0; w &= w - 1 {
			c := uint32(n*64 + bits.TrailingZeros64(w))
			if !others && p.turn(c).owner() != worker {
				continue
			}
			if i := p.leaveHome(c); i != 0 {
				return i
			}
			step("home: none")
			p.stock[n].And(^(uint64(1) << (c % 64)))
			if p.homes[c].free.Load()>>16&(homeCount-1) != 0 {
				p.inStock(c) // somebody came home meanwhile
			}
		}
	}
	return 0
}

// adopt makes chunk c, of which the caller holds an item, the worker's.
func (p *pool[T]) adopt(worker, c uint32) {
	if was := p.turn(c); was.owner() != worker {
		step("home: adopt")
		p.homes[c].turn.CompareAndSwap(uint64(was), uint64(was.owned(worker)))
	}
}

func (p *pool[T]) leaveHome(c uint32) uint32 {
	for {
		h := p.homes[c].free.Load()
		if h&(1<<32-1) == 0 {
			return 0
		}
		in := p.chunks[c].Load()
		if in == nil {
			continue // h is an old one
		}
		at := uint32(uint16(h))
		next := in.next[at&(chunkSize-1)].Load()
		step("home: leave")
		if p.homes[c].free.CompareAndSwap(h, bumped(h)|(h&(homeTag-1)-homeCount)&^(homeCount-1)|uint64(uint16(next))) {
			return c<<chunkBits | at
		}
	}
}

// comeHome puts an item that is in no list on that of its chunk.
func (p *pool[T]) comeHome(i uint32) {
	c := i >> chunkBits
	h := &p.homes[c].free
	in := p.chunks[c].Load()
	if !p.homed.Load() {
		step("home: first")
		p.homed.Store(true)
	}
	for {
		was := h.Load()
		in.next[i&(chunkSize-1)].Store(uint32(uint16(was)))
		step("home: come")
		if h.CompareAndSwap(was, bumped(was)|(was&(homeTag-1)+homeCount)&^(homeCount-1)|uint64(i&(chunkSize-1))) {
			break
		}
	}
	p.inStock(c)
}

// inStock says that chunk c may have items at home.
func (p *pool[T]) inStock(c uint32) {
	if w := &p.stock[c/64]; w.Load()&(1<<(c%64)) == 0 {
		step("home: stock")
		w.Or(1 << (c % 64))
	}
	if !p.some.Load() {
		step("home: some")
		p.some.Store(true)
	}
}

// beside is what only some tables have, or some parts of one, of each entry. Its
// chunks are made when first needed, and given back with the entries'.
type beside[T any] []atomic.Pointer[[chunkSize]T]

func newBeside[T any](limit uint32) beside[T] { return make(beside[T], limit>>chunkBits+1) }

// at is that of entry i.
func (b beside[T]) at(i uint32) *T {
	if of := b.peek(i); of != nil {
		return of
	}
	c := &b[i>>chunkBits]
	for {
		step("beside: chunk")
		c.CompareAndSwap(nil, new([chunkSize]T))
		if of := c.Load(); of != nil {
			return &of[i&(chunkSize-1)]
		}
	}
}

// peek is at, or nil if it was not made yet.
func (b beside[T]) peek(i uint32) *T {
	if c := b[i>>chunkBits].Load(); c != nil {
		return &c[i&(chunkSize-1)]
	}
	return nil
}
