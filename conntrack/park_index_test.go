//go:build parkpoints

package conntrack

import (
	"testing"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

func (s *scene) hash(n int) uint64 { return s.table.key(ipvs.TCP, client(n), testVIP, false).hash }

// stranger is a connection that is nobody else's, and in bucket b among size.
func (s *scene) stranger(b, size uint32) int {
	for {
		n := s.next
		s.next++
		if s.table.shards[0].bucketOf(s.hash(n), size) == b {
			return n
		}
	}
}

// double inserts connections until the shard has doubled; nothing is moved yet.
func (s *scene) double() (all []Conn) {
	shard := &s.table.shards[0]
	for size := shard.size(); shard.size() == size; s.next++ {
		all = append(all, s.add(s.next, Ref{}))
	}
	return all
}

// TestParkFindMoved: what somebody looks for is moved meanwhile.
func TestParkFindMoved(t *testing.T) {
	everyStep(t, func(s *scene) (act, meanwhile, after func()) {
		all, missed := s.double(), 0
		act = func() {
			for _, c := range all {
				if !s.table.LookupIn(s.now, ipvs.TCP, c.Client, c.Virtual, new(Conn)) {
					missed++
				}
			}
		}
		split := func() {
			for b := uint32(4); b < 8; b++ {
				s.table.split(&s.table.shards[0], b)
			}
		}
		return act, split, func() { require.Zero(t, missed) }
	})
}

// TestParkMovedTwin: of two who insert the same connection one is in the old
// bucket and the other in the new one, while somebody moves what is in the old one.
func TestParkMovedTwin(t *testing.T) {
	for k := 0; ; k++ {
		s := newScene(t)
		n := s.stranger(7, 8)
		var results [2]Result
		insert := func(i int) func() {
			return func() { results[i] = s.table.Insert(s.now, tcpSpec(n, s.servers[i]), new(Conn)) }
		}
		first, _ := start(insert(0), 0)
		first.until(t, "insert: live")
		s.double()
		splitter, _ := start(func() { s.table.split(&s.table.shards[0], 7) }, 1)
		second, stopped := start(insert(1), k)
		splitter.finish()
		first.finish()
		if !stopped {
			return
		}
		second.finish()
		require.ElementsMatch(t, []Result{Inserted, Exists}, results[:], "step %d", k)
		s.check()
	}
}
