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

// astray stops a splitter at a step of moving the only word in a line that a bucket
// overflows into, and fills the bucket that it moves to, with others. n is the
// client of that word, old what it stands for.
func (s *scene) astray(step string) (splitter *actor, n int, old Conn) {
	for range lineSlots {
		s.add(s.stranger(3, 8), Ref{})
	}
	n = s.stranger(7, 8)
	old = s.add(n, Ref{})
	for range 4*perLine - lineSlots {
		s.add(s.stranger(0, 4), Ref{})
	}
	shard := &s.table.shards[0]
	require.EqualValues(s.tb, 8, shard.size())
	splitter, _ = start(func() { s.table.split(shard, 7) }, 0)
	splitter.until(s.tb, step)
	for !shard.line(7).full() {
		s.add(s.stranger(7, 8), Ref{})
	}
	return splitter, n, old
}

// again ends a connection and inserts it again, mostly with the same number.
func (s *scene) again(n int, old Conn) Conn {
	require.True(s.tb, s.table.Expire(s.now, old.Ref))
	return s.add(n, Ref{})
}

// TestParkReused: while a splitter moves a word, the connection ends and comes back
// several times: with its number, its hash and the slot that it has left, which is
// the other bucket's by then.
func TestParkReused(t *testing.T) {
	for _, step := range []string{"move: begin", "move: leaving", "line: put", "line: claimed", "move: copied", "move: moved"} {
		for times := range 4 {
			s := newScene(t)
			splitter, n, c := s.astray(step)
			for range times {
				was, other := c, s.add(s.stranger(0, 4), Ref{})
				require.True(t, s.table.Expire(s.now, was.Ref))
				require.True(t, s.table.Expire(s.now, other.Ref))
				if s.table.shards[0].line(7).full() {
					s.add(s.stranger(0, 4), Ref{})
				} else { // the copy was taken
					s.add(s.stranger(7, 8), Ref{})
				}
				c = s.add(n, Ref{})
				require.Equal(t, was.Ref.index(), c.Ref.index())
				require.True(t, s.look(n))
			}
			for more := true; more; more = splitter.next() {
				require.True(t, s.look(n), "after %q, %d times", step, times)
			}
			require.True(t, s.look(n), "after %q, %d times", step, times)
			s.check()
		}
	}
}

// TestParkStray: somebody searches a bucket while a splitter believes that one of its
// lines is that of another, and makes a mark there.
func TestParkStray(t *testing.T) {
	for j := 0; ; j++ {
		for k := 0; ; k++ {
			s := newScene(t)
			splitter, n, old := s.astray("move: begin")
			s.again(n, old) // its line goes to the other bucket
			on := true
			for range j {
				on = on && splitter.next()
			}
			found := false
			searcher, stopped := start(func() { found = s.look(n) }, k)
			if on {
				splitter.finish()
			}
			if stopped {
				searcher.finish()
			}
			require.True(t, found, "steps %d and %d", j, k)
			s.check()
			if !on {
				return
			}
			if !stopped {
				break
			}
		}
	}
}

// TestParkStrayTwice: a splitter makes a mark in a line that is not put on yet, and
// perhaps not at all.
func TestParkStrayTwice(t *testing.T) {
	for _, put := range []bool{true, false} {
		for j := 0; ; j++ {
			s := newScene(t)
			splitter, n, old := s.astray("move: begin")
			require.True(t, s.table.Expire(s.now, old.Ref))
			inserter, _ := start(func() { s.insertMaybe(tcpSpec(n, s.servers[0])) }, 0)
			inserter.until(t, "line: put on")
			on := true
			for range j {
				on = on && splitter.next()
			}
			if !put {
				s.add(s.stranger(7, 8), Ref{}) // puts on another one
			}
			inserter.finish()
			if on {
				splitter.finish()
			}
			require.True(t, s.look(n), "step %d", j)
			s.check()
			if !on {
				break
			}
		}
	}
}

// TestParkGather: a word comes to its bucket's own line, where there is room again,
// while somebody looks for it, ends it, brings it back or doubles the buckets.
func TestParkGather(t *testing.T) {
	split := func(s *scene) {
		s.double()
		for b := uint32(4); b < 8; b++ {
			s.table.split(&s.table.shards[0], b)
		}
	}
	others := map[string]func(s *scene, c Conn, n int){
		"look":   func(s *scene, c Conn, n int) {},
		"expire": func(s *scene, c Conn, n int) { s.table.Expire(s.now, c.Ref) },
		"again, and split": func(s *scene, c Conn, n int) {
			s.again(n, c)
			split(s)
		},
		"insert": func(s *scene, c Conn, n int) {
			s.add(s.stranger(3, 4), Ref{})
			s.add(s.stranger(7, 8), Ref{})
		},
	}
	for name, other := range others {
		for j, gathering := 0, true; gathering; j++ {
			for k, acting := 0, true; acting; k++ {
				s := newScene(t)
				first := s.add(s.stranger(3, 4), Ref{})
				for range lineSlots - 1 {
					s.add(s.stranger(3, 4), Ref{})
				}
				n := s.stranger(7, 8)
				c := s.add(n, Ref{})
				stays := s.stranger(3, 8)
				s.add(stays, Ref{})
				var gatherer, actor *actor
				gatherer, gathering = start(func() { s.table.Expire(s.now, first.Ref) }, j)
				found := false
				actor, acting = start(func() {
					other(s, c, n)
					found = s.look(stays)
				}, k)
				require.True(t, s.look(stays), "%s, steps %d and %d", name, j, k)
				if gathering {
					gatherer.finish()
				}
				if acting {
					actor.finish()
				}
				require.True(t, found, "%s, steps %d and %d", name, j, k)
				require.Equal(t, name != "expire", s.look(n), "%s, steps %d and %d", name, j, k)
				s.check()
			}
		}
	}
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
