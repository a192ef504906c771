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
