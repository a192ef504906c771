package conntrack

import "sync/atomic"

// portion is what a table has once per worker: what changes with every one of
// its entries, so that no processor waits for what another one has changed. An
// entry is of the portion of who owns its number (pool.go). Anyone may change it,
// only not as fast.
type portion struct {
	counts [maxShards]atomic.Int32 // by shard: entries alive that its own count leaves out
	wheels []wheel                 // one per shard
}

// countBatch is how many entries a portion counts before it tells the shard.
const countBatch = 32

// Join makes what a worker has for himself. Otherwise his first connection would
// wait for that, and for the system to provide its memory.
func (t *Table) Join(worker int) { t.portion(uint32(worker) % maxWorkers) }

// portion is the worker's.
func (t *Table) portion(worker uint32) *portion {
	if p := t.portions[worker%maxWorkers].Load(); p != nil {
		return p
	}
	return t.newPortion(worker)
}

func (t *Table) newPortion(worker uint32) *portion {
	step("portion: first")
	wheels := make([]wheel, len(t.shards))
	for i := range wheels {
		wheels[i].owner, wheels[i].shard = worker%maxWorkers, uint32(i)
	}
	t.portions[worker%maxWorkers].CompareAndSwap(nil, &portion{wheels: wheels})
	return t.portion(worker)
}

// count counts an entry in or out of shard s, and returns how many the portion has
// beside the shard's count.
func (p *portion) count(s *shard, d int32) int32 {
	n := p.counts[s.id&(maxShards-1)].Add(d)
	if uint32(n+countBatch) >= 2*countBatch {
		return p.tell(s, n)
	}
	return n
}

// tell adds n of the entries that were counted to the shard's count.
func (p *portion) tell(s *shard, n int32) int32 {
	step("portion: tell")
	p.counts[s.id].Add(-n)
	step("portion: told")
	s.count.Add(int64(n))
	return 0
}

// size is how many entries shard s has; they may become more or fewer meanwhile.
func (t *Table) size(s *shard) int64 {
	n := s.count.Load()
	for w := range t.portions {
		if p := t.portions[w].Load(); p != nil {
			n += int64(p.counts[s.id].Load())
		}
	}
	return n
}
