//go:build parkpoints

package conntrack

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// everyStep has a goroutine do act in a fresh scene, stopped at each of its
// steps in turn; meanwhile happens then, and after once it has gone on.
func everyStep(t *testing.T, prepare func(*scene) (act, meanwhile, after func())) {
	for k := 0; ; k++ {
		s := newScene(t)
		act, meanwhile, after := prepare(s)
		a, stopped := start(act, k)
		meanwhile()
		for more := stopped; more; {
			more = a.next()
		}
		after()
		s.check()
		if t.Failed() {
			t.Fatalf("step %d", k)
		}
		if !stopped {
			return
		}
	}
}

// TestParkPacketOrEnd: if somebody ends a connection at the moment somebody
// else, whose clock is a little behind, has a packet for it, then either the
// packet finds it ended or it lives on.
func TestParkPacketOrEnd(t *testing.T) {
	everyStep(t, func(s *scene) (act, meanwhile, after func()) {
		c := s.add(1, Ref{})
		before, end := c.Expires-1, c.Expires
		used := false
		return func() { drainTicks(s.table, end, 10) },
			func() { used = s.table.Packet(before, &c, DirIn, EventNone) },
			func() {
				s.now = end
				require.Equal(t, used, s.look(1))
			}
	})
}

// TestParkShorten: a packet brings the end of a connection forward while its
// timer is deciding to sleep until the old end.
func TestParkShorten(t *testing.T) {
	everyStep(t, func(s *scene) (act, meanwhile, after func()) {
		c := s.add(1, Ref{})
		s.table.Packet(s.now, &c, DirIn, TCPEvent(16))
		s.now = s.now.Add(newTimeout)
		return func() { drainTicks(s.table, s.now, 10) },
			func() { require.True(t, s.table.Packet(s.now, &c, DirIn, TCPEvent(4))) },
			func() {
				s.now = c.Expires
				drainTicks(s.table, s.now, 10)
				require.Zero(t, s.table.Len())
			}
	})
}

// TestParkTickExact: whatever is inserted while somebody is turning the wheel
// ends in its tick.
func TestParkTickExact(t *testing.T) {
	insert := map[string]func(*scene){
		"many": func(s *scene) {
			for n := range 40 {
				s.template(n+10, time.Duration(n)*tick)
				s.template(n+100, time.Duration(n*levelSlots)*tick)
			}
		},
	}
	for n := range levelSlots { // alone in each slot
		insert[fmt.Sprint(n)] = func(s *scene) { s.template(10, time.Duration(n+1)*tick) }
	}
	for _, insert := range insert {
		everyStep(t, func(s *scene) (act, meanwhile, after func()) {
			s.add(1, Ref{})
			s.template(1, 5*time.Second)
			s.now = s.now.Add(4 * time.Second)
			return func() { drainTicks(s.table, s.now, 10) },
				func() {
					drainTicks(s.table, s.now, 100)
					insert(s)
				},
				s.tickToTheEnd
		})
	}
}

// tickToTheEnd goes from deadline to deadline until the table is empty.
func (s *scene) tickToTheEnd() {
	drainTicks(s.table, s.now, 100)
	for next := s.now.Add(tick); next != clock.Never; {
		s.now = next
		next = drainTicks(s.table, s.now, 100)
		require.Zero(s.tb, overdue(s.table, s.now))
	}
	require.Zero(s.tb, s.table.Len())
}

// TestParkStrand: somebody files a timer in a slot whose time comes while he
// sleeps, and somebody else sleeps about to call that slot empty.
func TestParkStrand(t *testing.T) {
	for k := 0; ; k++ {
		for j := 0; ; j++ {
			s := newScene(t)
			s.add(1, Ref{})
			filer, filing := start(func() { s.insertMaybe(tcpSpec(2, s.servers[0])) }, k)
			s.now = s.now.Add(newTimeout)
			drainer, draining := start(func() { drainTicks(s.table, s.now, 100) }, j)
			if filing {
				filer.finish()
			}
			if draining {
				drainer.finish()
			}
			s.check()
			if t.Failed() {
				t.Fatalf("steps %d and %d", k, j)
			}
			if !filing {
				return
			}
			if !draining {
				break
			}
		}
	}
}

// TestParkTwins: two insert the same connection; one of them does.
func TestParkTwins(t *testing.T) {
	everyStep(t, func(s *scene) (act, meanwhile, after func()) {
		var results [2]Result
		var conns [2]Conn
		insert := func(i int) func() {
			return func() { results[i] = s.table.Insert(s.now, tcpSpec(1, s.servers[i]), &conns[i]) }
		}
		return insert(0), insert(1), func() {
			require.ElementsMatch(t, []Result{Inserted, Exists}, results[:])
			require.Equal(t, conns[0], conns[1])
			require.Equal(t, 1, s.table.Len())
		}
	})
}

// TestParkSearch: an entry that a search looks at becomes another one.
func TestParkSearch(t *testing.T) {
	for _, search := range []string{"in", "out"} {
		everyStep(t, func(s *scene) (act, meanwhile, after func()) {
			rs := s.servers[0]
			var near, far, c Conn
			require.Equal(t, Inserted, s.table.Insert(s.now, tcpSpec(1, rs), &near))
			spec := tcpSpec(1, rs)
			spec.Virtual = ap("10.9.0.2:80")
			require.Equal(t, Inserted, s.table.Insert(s.now, spec, &far))
			found := false
			act = func() { found = s.table.LookupIn(s.now, ipvs.TCP, spec.Client, spec.Virtual, &c) }
			if search == "out" {
				act = func() { found = s.table.LookupOut(s.now, ipvs.TCP, spec.Virtual, spec.Client, &c) }
			}
			return act, func() {
					require.True(t, s.table.Expire(s.now, near.Ref))
					other, o := tcpSpec(2, rs), Conn{}
					other.Virtual = ap("10.9.0.9:80")
					require.Equal(t, Inserted, s.table.Insert(s.now, other, &o))
					require.Equal(t, near.Ref.index(), o.Ref.index())
				}, func() {
					require.True(t, found)
					require.Equal(t, far, c)
				}
		})
	}
}

// TestParkPop: somebody stops while taking an item off a stack, and finds the
// same item on top of another one later (the ABA problem).
func TestParkPop(t *testing.T) {
	p := newPool[atomic.Uint64](100, 1, new(growth))
	for range 4 {
		p.put(0, p.grow(0))
	}
	var got uint32
	a, stopped := start(func() { got = p.get(0, 0) }, 0)
	require.True(t, stopped)
	first, second := p.get(0, 0), p.get(0, 0)
	p.put(0, first)
	a.finish()
	require.Equal(t, first, got)
	for range 2 {
		require.NotContains(t, []uint32{0, first, second}, p.get(0, 0))
	}
}

// TestParkSplit stops somebody who splits a bucket, and at the same time somebody
// else who takes away or puts in what is moved, each at every step.
func TestParkSplit(t *testing.T) {
	others := map[string]func(s *scene, all []Conn){
		"expire": func(s *scene, all []Conn) {
			for _, c := range all {
				s.table.Expire(s.now, c.Ref)
			}
		},
		"expire and insert": func(s *scene, all []Conn) {
			for i, c := range all {
				s.table.Expire(s.now, c.Ref)
				s.insertMaybe(crowdSpec(2, i, s.servers[0]))
			}
		},
		"insert": func(s *scene, _ []Conn) {
			s.insertMaybe(crowdSpec(2, 11, s.servers[0]))
			s.insertMaybe(crowdSpec(2, 12, s.servers[0]))
		},
	}
	for name, other := range others {
		for k := 0; ; k++ {
			stopped := false
			for j := 0; ; j++ {
				s := newScene(t)
				all := s.crowd(2, 10)
				stay, all := all[:6], all[6:]
				s.fill(4*perLine + 1 - 10)
				s.table.grow(&s.table.shards[0], 0)
				shard := &s.table.shards[0]
				splitter, on := start(func() {
					for b := shard.size() / 2; b < shard.size(); b++ {
						s.table.split(shard, b)
					}
				}, k)
				stopped = on
				actor, acting := start(func() { other(s, all) }, j)
				for _, c := range stay {
					require.True(t, s.table.LookupIn(s.now, ipvs.TCP, c.Client, c.Virtual, new(Conn)))
				}
				if stopped {
					splitter.finish()
				}
				if acting {
					actor.finish()
				}
				s.check()
				if t.Failed() {
					t.Fatalf("%s: steps %d and %d", name, k, j)
				}
				if !acting {
					break
				}
			}
			if !stopped {
				break
			}
		}
	}
}
