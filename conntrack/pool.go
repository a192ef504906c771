package conntrack

import (
	"math/bits"
	"sync/atomic"
)

const (
	chunkBits = 13
	chunkSize = 1 << chunkBits
)

// pool is a slab of items named by number; 0, and any multiple of a chunk's
// size, names none. It grows by chunks up to a limit. T must hold no pointers.
//
// Beside every item stands one link, by which an item is in one stack at a
// time: a free list, or a slot of the timing wheel. A free item is on the list
// of the shard that gave it back or, once that had many (trim.go), at home, on
// the list of its chunk.
type pool[T any] struct {
	chunks []atomic.Pointer[chunk[T]]
	free   []stack // one per shard
	limit  uint32
	_      [64]byte
	fresh  atomic.Uint64 // tag 32, the last number that was given out for the first time 32
	_      [64]byte
	homes  []home          // one per chunk
	stock  []atomic.Uint64 // a bit per chunk: there may be some at home
	some   atomic.Bool     // there may be some in any
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
	// turn is odd while the chunk's numbers are given out or have been, even
	// before that and after the chunk was given back.
	turn atomic.Uint32
}

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
	return &pool[T]{
		chunks: make([]atomic.Pointer[chunk[T]], chunks),
		free:   make([]stack, shards),
		limit:  limit,
		homes:  make([]home, chunks),
		stock:  make([]atomic.Uint64, chunks/64+1),
		growth: g,
	}
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

// get takes an item: a used one of the shard, else one at home, else a fresh
// one, else a used one of another shard. It returns 0 if there is none.
func (p *pool[T]) get(shard uint32) uint32 {
	if i := p.pop(&p.free[shard].head); i != 0 {
		return i
	}
	if i := p.leave(); i != 0 {
		return i
	}
	if i := p.grow(); i != 0 {
		return i
	}
	for s := range p.free {
		if i := p.pop(&p.free[s].head); i != 0 {
			return i
		}
	}
	return 0
}

// put gives an item back to a shard's free list.
func (p *pool[T]) put(shard, i uint32) { p.push(&p.free[shard].head, i) }

// grow takes an item that was never used, or not since its chunk was given back.
func (p *pool[T]) grow() uint32 {
	for {
		w := p.fresh.Load()
		n := uint32(w) + 1
		if n > p.limit || n&(chunkSize-1) == 0 {
			if !p.open(w) {
				return 0
			}
			continue
		}
		if !p.ready(w, n>>chunkBits) {
			continue
		}
		step("pool: fresh")
		if p.fresh.CompareAndSwap(w, bumped(w)|uint64(n)) {
			return n
		}
	}
}

// open has the numbers of the lowest idle chunk given out next, those of the
// last one being at an end. It reports false if there is none.
func (p *pool[T]) open(w uint64) bool {
	if int(p.turned.Load()) < len(p.homes) {
		for c := range p.homes {
			if p.homes[c].turn.Load()&1 == 0 {
				step("pool: open")
				p.fresh.CompareAndSwap(w, bumped(w)|uint64(c)<<chunkBits)
				return true
			}
		}
	}
	return p.fresh.Load() != w
}

// ready sees to it that chunk c, whose turn it is as long as fresh is w, is
// there and known to be in use.
func (p *pool[T]) ready(w uint64, c uint32) bool {
	turn := p.homes[c].turn.Load()
	if turn&1 == 0 {
		if p.fresh.Load() != w {
			return false
		}
		step("pool: turn")
		if p.homes[c].turn.CompareAndSwap(turn, turn+1) {
			p.turned.Add(1)
			p.growth.tell()
		}
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

// highest is the highest number ever given out.
func (p *pool[T]) highest() uint32 {
	top, last := p.top.Load(), uint32(p.fresh.Load())
	if last>>chunkBits == top {
		return last
	}
	return min(p.limit, (top+1)<<chunkBits-1)
}

func (p *pool[T]) push(head *atomic.Uint64, i uint32) {
	next := p.link(i)
	for {
		h := head.Load()
		next.Store(uint32(h))
		step("stack: push")
		if head.CompareAndSwap(h, bumped(h)|uint64(i)) {
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
// that high ones become idle.
func (p *pool[T]) leave() uint32 {
	if !p.some.Load() {
		return 0
	}
	for n := range p.stock {
		for w := p.stock[n].Load(); w != 0; w = p.stock[n].Load() {
			c := uint32(n*64 + bits.TrailingZeros64(w))
			if i := p.leaveHome(c); i != 0 {
				return i
			}
			step("home: none")
			p.stock[n].CompareAndSwap(w, w&(w-1))
			if p.homes[c].free.Load()>>16&(homeCount-1) != 0 {
				p.stock[n].Or(1 << (c % 64)) // somebody came home meanwhile
			}
		}
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
	for {
		was := h.Load()
		in.next[i&(chunkSize-1)].Store(uint32(uint16(was)))
		step("home: come")
		if h.CompareAndSwap(was, bumped(was)|(was&(homeTag-1)+homeCount)&^(homeCount-1)|uint64(i&(chunkSize-1))) {
			break
		}
	}
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
