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
		if bucketOf(s.hash(n), size) == b {
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

// astray stops a splitter at a step before it moves the only word in a line of a
// bucket that overflows, and fills the bucket that it moves to, with others. n is
// the client of that word, old what it stands for.
func (s *scene) astray(step string) (splitter *actor, n int, old Conn, others []Conn) {
	for range lineSlots {
		s.add(s.stranger(3, 8), Ref{})
	}
	n = s.stranger(7, 8)
	old = s.add(n, Ref{})
	for range 4*perLine - lineSlots {
		s.add(s.stranger(0, 4), Ref{})
	}
	require.EqualValues(s.tb, 8, s.table.shards[0].size())
	splitter, _ = start(func() { s.table.split(&s.table.shards[0], 7) }, 0)
	splitter.until(s.tb, step)
	for range lineSlots {
		others = append(others, s.add(s.stranger(7, 8), Ref{}))
	}
	return splitter, n, old, others
}

// TestParkStray: somebody searches a bucket while a word moves from one of its
// lines to another, because its splitter believes it to be elsewhere.
func TestParkStray(t *testing.T) {
	for k := 0; ; k++ {
		s := newScene(t)
		splitter, n, old, others := s.astray("line: put")
		require.True(t, s.table.Expire(s.now, old.Ref)) // its line goes to the other bucket
		require.Equal(t, old.Ref.index(), s.add(n, Ref{}).Ref.index())
		require.True(t, s.table.Expire(s.now, others[0].Ref))
		splitter.until(t, "line: unclaim")
		splitter.until(t, "line: put")
		found := false
		searcher, stopped := start(func() { found = s.look(n) }, k)
		splitter.until(t, "split: moved")
		if stopped {
			searcher.finish()
		}
		splitter.finish()
		require.True(t, found, "step %d", k)
		s.check()
		if !stopped {
			return
		}
	}
}

// TestParkStrayTwice: a splitter moves a word out of a line that is not put on
// after all.
func TestParkStrayTwice(t *testing.T) {
	s := newScene(t)
	splitter, n, old, _ := s.astray("search: line")
	require.True(t, s.table.Expire(s.now, old.Ref))
	inserter, _ := start(func() { s.insertMaybe(tcpSpec(n, s.servers[0])) }, 0)
	inserter.until(t, "line: put on")
	splitter.until(t, "split: moved")
	splitter.finish()
	inserter.finish()
	require.True(t, s.look(n))
	s.check()
}

// TestParkFindBeyond: somebody looks for what a bucket overflows into while its
// lines are taken off and put on, and what is in them moves.
func TestParkFindBeyond(t *testing.T) {
	everyStep(t, func(s *scene) (act, meanwhile, after func()) {
		var all, others []Conn
		for i := range 2*lineSlots + 3 {
			c := s.add(s.stranger(3, 4), Ref{})
			if i%2 == 0 {
				all = append(all, c)
				continue
			}
			others = append(others, c)
		}
		missed := 0
		act = func() {
			for _, c := range all {
				for _, dir := range []Dir{DirIn, DirOut} {
					if ref, _ := find(s.table, s.now, dir, ipvs.TCP, c.Client, c.Virtual); ref != c.Ref {
						missed++
					}
				}
			}
		}
		change := func() {
			for _, c := range others {
				s.table.Expire(s.now, c.Ref)
			}
			s.double()
			for b := uint32(4); b < 8; b++ {
				s.table.split(&s.table.shards[0], b)
			}
		}
		return act, change, func() { require.Zero(t, missed) }
	})
}
