package conntrack

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// TestWorkersKeepApart: in the long run a worker gets only numbers, lines of
// memory, that it had before, whoever removes what it inserted.
func TestWorkersKeepApart(t *testing.T) {
	const workers, each = 3, 50
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	had := [workers]map[uint32]bool{}
	now, next := t0, 0
	for round := range 20 {
		var live []Ref
		for i := range workers * each {
			w := i % workers
			var c Conn
			require.Equal(t, Inserted, table.Insert(now, workerSpec(w, next, all[0]), &c))
			next++
			n := c.Ref.index()
			require.EqualValues(t, w, table.entries.owner(n))
			for v := range workers {
				require.True(t, v == w || !had[v][n], "entry %d was another worker's", n)
			}
			if had[w] == nil {
				had[w] = map[uint32]bool{}
			}
			had[w][n] = true
			live = append(live, c.Ref)
		}
		if round%2 == 0 {
			now = now.Add(newTimeout)
			drainTicks(table, now, 1000)
		}
		for _, r := range live {
			table.Expire(now, r)
		}
		require.Zero(t, table.Len())
	}
	for w := range workers {
		require.LessOrEqual(t, len(had[w]), 5*each)
		require.NotNil(t, table.portions[w].Load())
	}
	for r := uint32(1); r <= table.records.highest(); r++ {
		if word := table.records.at(r); word != nil && word.Load() != 0 {
			i, _ := splitRecord(word.Load())
			require.Equal(t, table.entries.owner(i), table.records.owner(r))
		}
	}
	checkEmpty(t, table, now, all)
}

// TestWorkersShareTheLimit: a table is full when all is used, whoever had it.
func TestWorkersShareTheLimit(t *testing.T) {
	const limit = 2*chunkSize + 100
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg, MaxEntries: limit, Shards: 2})
	var refs []Ref
	insert := func(worker int) Result {
		var c Conn
		r := table.Insert(t0, workerSpec(worker, len(refs), all[0]), &c)
		if r == Inserted {
			refs = append(refs, c.Ref)
		}
		return r
	}
	for i := range limit {
		require.Equal(t, Inserted, insert(min(i, 5)), i)
	}
	for w := range 2 * maxWorkers {
		require.Equal(t, Full, insert(w))
	}
	require.Equal(t, limit, table.Len())
	for w := range 5 {
		require.True(t, table.Expire(t0, refs[w]))
		require.Equal(t, Inserted, insert(w+1), "with what was another's")
		require.Equal(t, Full, insert(w))
	}
	checkIndex(t, table)
	checkEmpty(t, table, t0, all)
}

// TestTrimWithOwners: chunks that are all at home go, whoever owned them, and who
// takes from one that stays makes it his own.
func TestTrimWithOwners(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	const each = 5 * chunkSize
	var c Conn
	for i := range 2 * each {
		require.Equal(t, Inserted, table.Insert(t0, workerSpec(1+i%2, i, all[0]), &c))
	}
	require.EqualValues(t, 2*(each/(chunkSize-1)+1), table.entries.turned.Load())
	now := at(newTimeout)
	drainTicks(table, now, 1<<20)
	require.Positive(t, trim(t, table))
	stay := table.entries.turned.Load()
	require.LessOrEqual(t, int(stay), trimLeast/chunkSize)
	table.trim(new(1 << 20)) // sends home what is left, which may be all
	for i := range 3000 {
		w := 3 + i%2
		require.Equal(t, Inserted, table.Insert(now, workerSpec(w, i, all[0]), &c))
		if i >= 2 {
			require.EqualValues(t, w, table.entries.owner(c.Ref.index()))
		}
	}
	checkIndex(t, table)
	checkEmpty(t, table, now, all)
}

// TestTrimIgnoresFewBegun: chunks that workers have just begun are no reason to
// trim.
func TestTrimIgnoresFewBegun(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	for w := range maxWorkers {
		require.Equal(t, Inserted, table.Insert(t0, workerSpec(w, w, all[0]), new(Conn)))
	}
	require.EqualValues(t, maxWorkers, table.entries.turned.Load())
	require.False(t, table.entries.roomy(table.Len()))
}

// TestTickOf: what is due at the same time is ended in the order of who asks,
// and what is due earlier first in any case.
func TestTickOf(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	for worker := range 4 {
		table := New(Config{Servers: reg})
		var refs []Ref
		insert := func(w int, d time.Duration) {
			var c Conn
			require.Equal(t, Inserted, table.Insert(at(d), workerSpec(w, len(refs), all[0]), &c))
			refs = append(refs, c.Ref)
		}
		insert((worker+1)%4, 0)
		for w := range 4 {
			insert(w, time.Second)
		}
		gone := func() (n int) {
			for _, r := range refs {
				if e, _ := table.living(r); e == nil {
					n++
				}
			}
			return n
		}
		now := at(time.Minute)
		for n, want := range []Ref{refs[0], refs[1+worker]} { // the earliest, and its own
			for gone() <= n {
				table.TickOf(worker, now, 1)
			}
			e, _ := table.living(want)
			require.Nil(t, e)
		}
		checkEmpty(t, table, now, all)
	}
}

// TestWorkersCount: who inserts and who removes makes no difference to how many
// there are, nor to when the table grows.
func TestWorkersCount(t *testing.T) {
	const n = 15_000
	reg, all := servers(1, ipvs.DirectRoute)
	one, many := New(Config{Servers: reg}), New(Config{Servers: reg})
	var refs []Ref
	for i := range n {
		var c Conn
		require.Equal(t, Inserted, one.Insert(t0, tcpSpec(i, all[0]), &c))
		require.Equal(t, Inserted, many.Insert(t0, workerSpec(i%7, i, all[0]), &c))
		refs = append(refs, c.Ref)
	}
	require.Equal(t, one.Buckets(), many.Buckets())
	require.Equal(t, n, many.Len())
	for i, r := range refs {
		require.True(t, many.Expire(t0, r))
		if i%1000 == 0 {
			require.Equal(t, n-i-1, many.Len())
		}
	}
	checkIndex(t, many)
	checkEmpty(t, many, t0, nil)
	checkEmpty(t, one, t0, all)
}

// TestPoolModel compares a pool with a set of numbers: none is given twice, and
// none is refused while there is one.
func TestPoolModel(t *testing.T) {
	const limit, workers, shards = 2*chunkSize + 50, 4, 2
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 3))
		p := newPool[wide](limit, shards, new(growth))
		p.run = 1 << (2 * (seed % 3))
		var held []uint32
		is := map[uint32]bool{}
		for range 60_000 {
			switch worker, shard := rng.Uint32N(workers), rng.Uint32N(shards); rng.IntN(12) {
			default:
				i := p.get(worker, shard)
				require.Equal(t, len(held) == int(p.limit-p.limit>>chunkBits), i == 0, "%d held", len(held))
				if i == 0 {
					continue
				}
				require.False(t, is[i], "%d twice", i)
				require.NotZero(t, i&(chunkSize-1))
				is[i] = true
				held = append(held, i)
			case 6, 7, 8, 9:
				if n := len(held); n > 0 {
					at := rng.IntN(n)
					i := held[at]
					held[at], held = held[n-1], held[:n-1]
					delete(is, i)
					p.put(shard, i)
				}
			case 10:
				if rng.IntN(100) == 0 {
					budget := rng.IntN(limit)
					p.sendHome(&budget)
					p.drop(&budget, nil, nil)
				}
			case 11:
				if rng.IntN(500) == 0 { // an ebb
					for ; len(held) > 10; held = held[:len(held)-1] {
						delete(is, held[len(held)-1])
						p.put(shard, held[len(held)-1])
					}
				}
			}
		}
		require.Equal(t, given(p), freeItems(p)+len(held), "seed %d", seed)
	}
}

// TestPoolTogether has workers fight over the last items of a pool, and for
// chunks, while somebody trims it.
func TestPoolTogether(t *testing.T) {
	const limit, workers, most = 3 * chunkSize, 4, 6000
	p := newPool[wide](limit, 1, new(growth))
	p.run = recordRun
	used := make([]bool, p.limit+1) // by its holder
	var all sync.WaitGroup
	for w := range uint32(workers) {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 4))
			var held []uint32
			for range 20 {
				for n := 1 + rng.IntN(most); len(held) < n; {
					i := p.get(w, 0)
					if i == 0 {
						t.Error("none is left")
						return
					}
					if used[i] {
						t.Errorf("%d twice", i)
					}
					used[i] = true
					held = append(held, i)
				}
				for n := rng.IntN(len(held) + 1); len(held) > n; held = held[:len(held)-1] {
					used[held[len(held)-1]] = false
					p.put(0, held[len(held)-1])
				}
				budget := chunkSize
				p.sendHome(&budget)
				p.drop(&budget, nil, nil)
			}
			for _, i := range held {
				used[i] = false
				p.put(0, i)
			}
		})
	}
	all.Wait()
	require.Equal(t, given(p), freeItems(p))
}

// TestJoin: who joins again, or with another's number, changes nothing, and nobody
// waits for what he may have to do.
func TestJoin(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	for worker := range 2 * maxWorkers {
		table.Join(worker)
		p := table.portions[worker%maxWorkers].Load()
		require.NotNil(t, p)
		table.Join(worker)
		require.Same(t, p, table.portion(uint32(worker)))
		require.Equal(t, clock.Never, table.TickOf(worker, t0, 1))
	}
	require.Equal(t, Inserted, table.Insert(t0, workerSpec(1, 1, all[0]), new(Conn)))
	drainTicks(table, t0.Add(newTimeout), 1)
	require.Zero(t, table.Len())
}
