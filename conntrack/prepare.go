package conntrack

import "sync/atomic"

// Memory that is made when it is needed keeps packets waiting: the system
// provides it page by page. Prepare makes it ahead, elsewhere; what is not there
// in time is made when needed.

const (
	// leastAhead and mostAhead bound how many chunks are made at once, and
	// aheadShare is how they grow with the pool.
	leastAhead = 4
	mostAhead  = 32
	aheadShare = 16
)

// growth tells whoever wants to know that a table grows.
type growth struct{ hear atomic.Pointer[func()] }

func (g *growth) tell() {
	if hear := g.hear.Load(); hear != nil {
		(*hear)()
	}
}

// OnGrowth has hear called when Prepare would be of use; nil: nobody cares. It
// is called on a packet's way, by anyone who uses the table, and must return at
// once.
func (t *Table) OnGrowth(hear func()) {
	if hear == nil {
		t.growth.hear.Store(nil)
		return
	}
	t.growth.hear.Store(&hear)
}

// Prepare makes the memory that the table will need next if it goes on growing.
// It hands each piece to provide, which may have the system provide it and must
// leave it zero. What Prepare does shows in nothing but in how long other calls
// take.
func (t *Table) Prepare(provide func([]byte)) {
	t.entries.prepare(provide)
	t.records.prepare(provide)
	if t.wide.turned.Load() > 0 { // IPv6 is not everywhere
		t.wide.prepare(provide)
	}
	if t.lines.turned.Load() > 0 {
		t.lines.prepare(provide)
	}
	t.prepareBuckets(provide)
}

// spare is a chunk that was made ahead, and those made before it.
type spare[T any] struct {
	chunk *chunk[T]
	next  *spare[T]
	n     int // chunks, from this one on
}

func (s *spare[T]) count() int {
	if s == nil {
		return 0
	}
	return s.n
}

// prepare makes chunks ahead, many in one piece of memory: few pieces are less
// work for the garbage collector, and may be few pages.
func (p *pool[T]) prepare(provide func([]byte)) {
	used := int(p.turned.Load())
	n := min(leastAhead+used/aheadShare, mostAhead, len(p.homes)-used)
	if used == 0 {
		n = 1
	}
	if 2*p.spares.Load().count() >= n {
		return
	}
	block := make([]chunk[T], n)
	provide(bytesOf(block))
	for i := range block {
		p.spend(&block[len(block)-1-i])
	}
}

// spend makes c the chunk that is used next.
func (p *pool[T]) spend(c *chunk[T]) {
	for {
		next := p.spares.Load()
		step("pool: spend")
		if p.spares.CompareAndSwap(next, &spare[T]{c, next, next.count() + 1}) {
			return
		}
	}
}

// chunk is one that was made ahead, or else a new one.
func (p *pool[T]) chunk() *chunk[T] {
	for {
		s := p.spares.Load()
		if s == nil {
			return new(chunk[T])
		}
		step("pool: spare")
		if p.spares.CompareAndSwap(s, s.next) {
			return s.chunk
		}
	}
}

// prepareBuckets makes the racks of shards that will soon double.
func (t *Table) prepareBuckets(provide func([]byte)) {
	for i := range t.shards {
		s := &t.shards[i]
		if n := s.size(); t.size(s) > perLine*int64(n/2+n/4) && s.lacks(n) {
			t.prepareRacks(n, provide)
		}
	}
}

// lacks reports whether the shard, which has n buckets, has no place for as many
// more.
func (s *shard) lacks(n uint32) bool {
	return n < s.max && s.size() == n && s.racks[racksOf(2*n)-1].Load() == nil
}

// prepareRacks makes those of all shards that lack some after their n buckets, as
// shards double at about the same time, in one piece.
func (t *Table) prepareRacks(n uint32, provide func([]byte)) {
	var to []*shard
	for i := range t.shards {
		if s := &t.shards[i]; s.lacks(n) {
			to = append(to, s)
		}
	}
	from, end := racksOf(n), racksOf(2*n)
	block := make([]rack, len(to)*int(end-from))
	provide(bytesOf(block))
	for _, s := range to {
		for i := from; i < end; i++ {
			step("shard: rack ahead")
			s.racks[i].CompareAndSwap(nil, &block[0])
			block = block[1:]
		}
	}
}
