package conntrack

import (
	"sync"
	"testing"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// provider counts the bytes it is told of, and holds their maker to leaving
// them zero.
type provider struct {
	tb           testing.TB
	calls, bytes int
}

func (p *provider) provide(b []byte) {
	p.calls++
	p.bytes += len(b)
	for i := 0; i < len(b); i += 4096 {
		require.Zero(p.tb, b[i])
		b[i] = 0
	}
}

// ignore is told of memory and leaves it as it is.
func ignore([]byte) {}

// TestPrepare: memory is made ahead of need, used, and no more of it than a
// share of what there is.
func TestPrepare(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Seed: 1, Servers: reg})
	told, late := 0, 0
	p := &provider{tb: t}
	table.Prepare(p.provide)
	require.Equal(t, 2, p.calls, "the first entries and records")
	table.OnGrowth(func() {
		if told++; table.entries.turned.Load() > 1 && table.entries.spares.Load() == nil {
			late++
		}
	})
	flood(t, table, all[0], t0, 0, 10)
	for n := 10; n < 6*chunkSize; n += 1000 {
		table.Prepare(p.provide)
		flood(t, table, all[0], t0, n, 1000)
	}
	require.GreaterOrEqual(t, told, 2*6, "of entries and records")
	require.Zero(t, late)
	require.LessOrEqual(t, table.entries.spares.Load().count(), 2*leastAhead)
	calls := p.calls
	table.Prepare(p.provide)
	require.Equal(t, calls, p.calls, "all is ready")
	checkIndex(t, table)

	table.OnGrowth(nil)
	told = 0
	flood(t, table, all[0], t0, 100_000, 3*chunkSize)
	require.Zero(t, told)
	drainTicks(table, t0.Add(newTimeout), 1<<20)
	table.Prepare(p.provide)
	require.NotNil(t, table.entries.spares.Load())
	trim(t, table)
	require.Nil(t, table.entries.spares.Load(), "given back with the rest")
	checkEmpty(t, table, t0.Add(newTimeout), all)
}

// TestPrepareRacks: buckets that a doubling adds are there before it, in one
// piece for all shards.
func TestPrepareRacks(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Seed: 1, Servers: reg})
	flood(t, table, all[0], t0, 0, perLine*firstBuckets*9/10)
	p := &provider{tb: t}
	table.prepareBuckets(p.provide)
	require.Equal(t, 1, p.calls)
	require.Equal(t, firstBuckets*64, p.bytes)
	for i := range table.shards {
		s := &table.shards[i]
		require.False(t, s.lacks(s.size()))
	}
	flood(t, table, all[0], t0, 100_000, perLine*firstBuckets)
	require.GreaterOrEqual(t, table.Buckets(), 2*firstBuckets)
	checkIndex(t, table)
}

// TestPrepareChangesNothing: the same entries get the same numbers in the same
// order, whether or not memory is made ahead.
func TestPrepareChangesNothing(t *testing.T) {
	histories := [2][]Ref{}
	for i := range histories {
		reg, all := servers(1, ipvs.DirectRoute)
		table := New(Config{Seed: 1, Servers: reg})
		for n := range 12 {
			refs := flood(t, table, all[0], t0, n*2000, 2000)
			histories[i] = append(histories[i], refs...)
			if i > 0 {
				table.Prepare(ignore)
			}
			for _, r := range refs[:200] {
				table.Expire(t0, r)
			}
		}
	}
	require.Equal(t, histories[0], histories[1])
}

// TestPrepareConcurrently: connections come while several prepare.
func TestPrepareConcurrently(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Seed: 1, Servers: reg})
	var wg sync.WaitGroup
	table.OnGrowth(func() {
		wg.Go(func() { table.Prepare(ignore) })
	})
	for w := range 2 {
		wg.Go(func() {
			var c Conn
			for i := range 3 * chunkSize {
				table.Insert(t0, tcpSpec(w*1_000_000+i, all[0]), &c)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 6*chunkSize, table.Len())
	checkIndex(t, table)
	checkEmpty(t, table, t0, all)
}
