package conntrack

import "sync/atomic"

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

// pool is a slab of items named by number; 0 names none. It grows by chunks
// up to a limit and gives no memory back. T must hold no pointers.
//
// Beside every item stands one link, by which an item is in one stack at a
// time: a free list, or a slot of the timing wheel.
type pool[T any] struct {
	chunks []atomic.Pointer[chunk[T]]
	free   []stack // one per shard
	limit  uint32
	_      [64]byte
	fresh  atomic.Uint32 // items ever used
}

type chunk[T any] struct {
	item [chunkSize]T
	next [chunkSize]atomic.Uint32
}

// stack is the head of a Treiber stack: tag in the upper half, which changes
// with every push and pop, and the number of the topmost item in the lower.
type stack struct {
	head atomic.Uint64
	_    [56]byte
}

func newPool[T any](limit uint32, shards int) *pool[T] {
	return &pool[T]{
		chunks: make([]atomic.Pointer[chunk[T]], limit/chunkSize+1),
		free:   make([]stack, shards),
		limit:  limit,
	}
}

func (p *pool[T]) at(i uint32) *T {
	return &p.chunks[i>>chunkBits].Load().item[i&(chunkSize-1)]
}

// get takes an item: a used one of the shard, else a fresh one, else a used
// one of another shard. It returns 0 if there is none.
func (p *pool[T]) get(shard uint32) uint32 {
	if i := p.pop(&p.free[shard].head); i != 0 {
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

// grow takes an item that was never used.
func (p *pool[T]) grow() uint32 {
	for {
		n := p.fresh.Load()
		if n >= p.limit {
			return 0
		}
		if c := &p.chunks[(n+1)>>chunkBits]; c.Load() == nil {
			step("pool: chunk")
			c.CompareAndSwap(nil, new(chunk[T]))
		}
		step("pool: fresh")
		if p.fresh.CompareAndSwap(n, n+1) {
			return n + 1
		}
	}
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
		next := p.link(i).Load() // of no use if i was popped meanwhile: the tag tells
		step("stack: pop")
		if head.CompareAndSwap(h, bumped(h)|uint64(next)) {
			return i
		}
	}
}

func (p *pool[T]) link(i uint32) *atomic.Uint32 {
	return &p.chunks[i>>chunkBits].Load().next[i&(chunkSize-1)]
}

func bumped(head uint64) uint64 { return (head>>32 + 1) << 32 }
