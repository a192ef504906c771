//go:build parkpoints

package conntrack

import (
	"testing"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// TestParkChunkLost: workers begin chunks at the same time, and want the same one.
func TestParkChunkLost(t *testing.T) {
	everyStep(t, func(s *scene) (act, meanwhile, after func()) {
		insert := func(worker, n int) {
			require.Equal(t, Inserted, s.table.Insert(s.now, workerSpec(worker, n, s.servers[0]), new(Conn)))
		}
		return func() { insert(1, 1) },
			func() { insert(2, 2); insert(1, 3) },
			func() {
				insert(2, 4)
				require.Equal(t, 4, s.table.Len())
			}
	})
}

// TestParkWithTheLimit: who is stopped while he begins a chunk, the last one, or
// makes one his own, keeps no more than one entry from the others.
func TestParkWithTheLimit(t *testing.T) {
	const limit = 10
	for _, home := range []bool{false, true} {
		everyStep(t, func(s *scene) (act, meanwhile, after func()) {
			s.table = newTable(Config{Seed: 7, Shards: 1, MaxEntries: limit, Servers: s.table.servers}, 4)
			if home {
				s.leave(limit)
			}
			insert := func(worker, n int) Result {
				return s.table.Insert(s.now, workerSpec(worker, n, s.servers[0]), new(Conn))
			}
			return func() { require.Equal(t, Inserted, insert(1, 1)) },
				func() {
					for n := range limit - 1 {
						require.Equal(t, Inserted, insert(2+n%2, 2+n))
					}
				},
				func() {
					require.Equal(t, Full, insert(4, 100))
					require.Equal(t, limit, s.table.Len())
					require.True(t, s.table.LookupIn(s.now, ipvs.TCP, client(1), testVIP, new(Conn)))
				}
		})
	}
}

// TestParkEndings: who is stopped while connections end by their timers keeps no
// more entries from the others than he has looked at together, and none when he has
// gone on.
func TestParkEndings(t *testing.T) {
	const limit, ending = foreseen + 10, 8
	everyStep(t, func(s *scene) (act, meanwhile, after func()) {
		s.table = newTable(Config{Seed: 7, Shards: 1, MaxEntries: limit, Servers: s.table.servers}, 4)
		s.fill(ending)
		s.now = s.now.Add(newTimeout)
		first := s.next
		return func() { drainTicks(s.table, s.now, 100) },
			func() { s.fill(limit - ending) },
			func() {
				s.fill(ending)
				require.Equal(t, Full, s.table.Insert(s.now, tcpSpec(s.next, s.servers[0]), new(Conn)))
				require.Equal(t, limit, s.table.Len())
				for n := first; n < s.next; n++ {
					require.True(t, s.look(n))
				}
			}
	})
}

// getting takes items from a pool and notes those that were given twice.
type getting struct {
	t   *testing.T
	p   *pool[wide]
	had map[uint32]bool
}

func newGetting(t *testing.T) *getting {
	return &getting{t, newPool[wide](4*chunkSize, 1, new(growth)), map[uint32]bool{}}
}

func (g *getting) get(worker uint32) {
	i := g.p.get(worker, 0)
	if i == 0 || g.had[i] {
		g.t.Errorf("worker %d gets %d", worker, i)
	}
	g.had[i] = true
}

// some takes n items.
func (g *getting) some(worker uint32, n int) {
	for range n {
		g.get(worker)
	}
}

// TestParkChosenAgain: somebody sleeps about to choose a chunk for his worker, who
// begins it meanwhile, uses it up and loses the next one: none of its numbers is
// given out again.
func TestParkChosenAgain(t *testing.T) {
	g := newGetting(t)
	late, _ := start(func() { g.get(1) }, 0)
	require.Equal(t, "pool: open", late.at)
	g.some(1, chunkSize-1)
	loser, _ := start(func() { g.get(1) }, 0)
	loser.until(t, "pool: turn")
	g.get(2)
	loser.until(t, "pool: lost")
	require.True(t, loser.next())
	late.finish()
	loser.finish()
	require.Equal(t, chunkSize+2, len(g.had))
}

// TestParkHighest: who has chosen the highest chunk, which another worker began and
// used up before going on to a lower one, hides nothing in it.
func TestParkHighest(t *testing.T) {
	g := newGetting(t)
	g.some(2, chunkSize-1)
	chosen, _ := start(func() { g.get(1) }, 0)
	chosen.until(t, "pool: turn")
	g.some(2, chunkSize-1)
	for i := range uint32(chunkSize - 1) {
		g.p.put(0, 1+i)
		delete(g.had, 1+i)
	}
	budget := 1 << 20
	g.p.sendHome(&budget)
	require.Equal(t, 1, g.p.drop(&budget, nil, nil))
	g.get(2)
	if i := g.p.get(2, 0); i>>chunkBits != 0 {
		t.Errorf("it got %d", i)
	}
	require.GreaterOrEqual(t, int(g.p.highest()), 2*chunkSize-1)
	chosen.finish()
}

// TestParkHidden: who finds nothing at home just as others come there, and sleeps
// before he says so, keeps nothing from anybody, nor when he is awake again.
func TestParkHidden(t *testing.T) {
	for k := 0; ; k++ {
		p := newPool[wide](6, 1, new(growth))
		for range 6 {
			require.NotZero(t, p.get(0, 0))
		}
		p.comeHome(1)
		require.EqualValues(t, 1, p.get(0, 0))
		got := uint32(0)
		a, stopped := start(func() { got = p.get(1, 0) }, 0)
		require.Equal(t, "home: none", a.at)
		for i := range uint32(5) {
			p.comeHome(1 + i)
		}
		for range k {
			stopped = stopped && a.next()
		}
		for range 4 {
			require.NotZero(t, p.get(2, 0), "step %d, %q", k, a.at)
		}
		if !stopped {
			require.NotZero(t, got)
			return
		}
		a.finish()
		p.comeHome(6)
		require.True(t, p.some.Load())
		require.NotZero(t, p.get(2, 0))
	}
}
