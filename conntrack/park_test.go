//go:build parkpoints

package conntrack

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// These tests stop goroutines in the middle of what they do and have another
// one do everything the table can do. If it had to wait for one that is
// stopped, the test would hang, and go test would print who waits for whom.

// actor is a goroutine that stops at steps. Only one runs at a time.
type actor struct {
	stopped chan string // at which step; closed when it is done
	resume  chan struct{}
	skip    int // steps to pass before the next stop
}

// running is the actor whose steps count; nil while the test itself is at work.
var running *actor

// passed are the names of all steps at which an actor was stopped.
var passed sync.Map

func init() {
	hook := func(name string) {
		a := running
		if a == nil {
			return
		}
		if a.skip > 0 {
			a.skip--
			return
		}
		passed.Store(name, true)
		a.stopped <- name
		<-a.resume
	}
	stepHook.Store(&hook)
}

// start runs act until its step number skip, and reports whether it stopped there.
func start(act func(), skip int) (*actor, bool) {
	a := &actor{stopped: make(chan string), resume: make(chan struct{}), skip: skip}
	running = a
	go func() {
		act()
		close(a.stopped)
	}()
	_, ok := <-a.stopped
	running = nil
	return a, ok
}

// next runs a until its next step, and reports whether it stopped there.
func (a *actor) next() bool {
	running = a
	a.resume <- struct{}{}
	_, ok := <-a.stopped
	running = nil
	return ok
}

// finish lets a run to its end.
func (a *actor) finish() {
	a.resume <- struct{}{}
	<-a.stopped
}

// scene is a small table in which something is about to happen.
type scene struct {
	tb      testing.TB
	table   *Table
	servers []*ipvs.RealServer
	now     clock.Instant
	next    int      // number of the next client that is nobody else's
	held    []uint32 // entries that were taken from the pool and not used
}

func newScene(tb testing.TB) *scene {
	reg, all := servers(2, ipvs.DirectRoute)
	return &scene{
		tb: tb, servers: all, now: t0, next: 100_000,
		table: newTable(Config{Seed: 7, Shards: 1, MaxEntries: 1 << 18, Servers: reg, FTPPorts: []uint16{21}}, 4),
	}
}

// add inserts connection n, which must not be there.
func (s *scene) add(n int, control Ref) Conn {
	spec := tcpSpec(n, s.servers[0])
	spec.Control = control
	var c Conn
	require.Equal(s.tb, Inserted, s.table.Insert(s.now, spec, &c))
	return c
}

func (s *scene) template(n int, timeout time.Duration) Conn {
	spec := templateSpec(n, s.servers[0], timeout)
	var c Conn
	require.Equal(s.tb, Inserted, s.table.Insert(s.now, spec, &c))
	return c
}

// deeds are what an actor does: prepare the scene, then act on it.
var deeds = map[string]func(s *scene) (act func()){
	"insert": func(s *scene) func() {
		return func() { s.insertMaybe(tcpSpec(1, s.servers[0])) }
	},
	"insert a child": func(s *scene) func() {
		tmpl := s.template(1, time.Minute)
		return func() {
			spec := tcpSpec(1, s.servers[0])
			spec.Control = tmpl.Ref
			s.insertMaybe(spec)
		}
	},
	"insert where one is": func(s *scene) func() {
		s.add(1, Ref{})
		return func() { s.insertMaybe(tcpSpec(1, s.servers[0])) }
	},
	"insert where one has expired": func(s *scene) func() {
		s.add(1, Ref{})
		s.now = s.now.Add(4 * time.Second)
		return func() { s.insertMaybe(tcpSpec(1, s.servers[0])) }
	},
	"insert until it grows": func(s *scene) func() {
		for n := range 4 {
			s.add(n+1, Ref{})
		}
		return func() { s.insertMaybe(tcpSpec(5, s.servers[0])) }
	},
	"look up in a new bucket": func(s *scene) func() {
		for n := range 40 {
			s.add(n+1, Ref{})
		}
		return func() {
			for n := range 40 {
				s.look(n + 1)
			}
		}
	},
	"packets": func(s *scene) func() {
		tmpl := s.template(1, time.Minute)
		c := s.add(1, tmpl.Ref)
		return func() {
			s.table.Packet(s.now, &c, DirIn, TCPEvent(2))    // SYN
			s.table.Packet(s.now, &c, DirIn, TCPEvent(16))   // ACK
			s.table.Packet(s.now, &c, DirOut, TCPEvent(16))  // ACK
			s.table.Packet(s.now, &c, DirIn, TCPEvent(16|4)) // RST: a shorter timeout
			s.table.Packet(s.now, &c, DirIn, TCPEvent(2))    // SYN
			s.table.Rearm(s.now, tmpl.Ref)
		}
	},
	"packets of a batch": func(s *scene) func() {
		c := s.add(1, Ref{})
		s.table.Packet(s.now, &c, DirIn, TCPEvent(16))
		return func() {
			s.now = s.now.Add(tick)
			var h Hot
			hit(s.table, s.now, DirIn, ipvs.TCP, client(1), testVIP, TCPEvent(16), &h)
			hit(s.table, s.now, DirOut, ipvs.TCP, client(1), testVIP, TCPEvent(16), &h)
		}
	},
	"trim": func(s *scene) func() {
		s.leave(2 * (chunkSize - 1))
		for _, i := range s.take(3) {
			s.table.entries.put(0, i)
		}
		return func() {
			budget := 5 * chunkSize
			s.table.trim(&budget)
			s.insertMaybe(tcpSpec(1, s.servers[0]))
			s.insertMaybe(tcpSpec(2, s.servers[0]))
		}
	},
	"send home": func(s *scene) func() {
		for _, i := range s.take(5) {
			s.table.entries.put(0, i)
		}
		return func() {
			budget := 3
			s.table.entries.sendHome(&budget)
			for n := range 6 {
				s.insertMaybe(tcpSpec(n+1, s.servers[0]))
			}
		}
	},
	"grow into a new chunk": func(s *scene) func() {
		s.held = append(s.held, s.take(chunkSize-2)...)
		return func() {
			for n := range 3 {
				s.insertMaybe(tcpSpec(n+1, s.servers[0]))
			}
		}
	},
	"odd timeouts": func(s *scene) func() {
		return func() {
			spec := templateSpec(1, s.servers[0], 1500*time.Millisecond)
			s.insertMaybe(spec)
			var c Conn
			s.table.FindTemplate(s.now, spec, &c)
			s.table.Update(s.now, c.Ref, &Update{Timeout: 2500 * time.Millisecond})
			s.table.Rearm(s.now, c.Ref)
		}
	},
	"shorten": func(s *scene) func() {
		c := s.add(1, Ref{})
		s.table.Packet(s.now, &c, DirIn, TCPEvent(16))
		s.pass(5 * time.Second) // the timer sleeps long
		return func() { s.table.Packet(s.now, &c, DirIn, TCPEvent(4)) }
	},
	"expire": func(s *scene) func() {
		tmpl := s.template(1, time.Minute)
		c := s.add(1, tmpl.Ref)
		s.add(2, Ref{})
		return func() {
			s.table.Expire(s.now, c.Ref)
			s.table.Expire(s.now, tmpl.Ref)
		}
	},
	"invalidate": func(s *scene) func() {
		tmpl := s.template(1, time.Minute)
		return func() { s.table.Invalidate(tmpl.Ref) }
	},
	"template outlived by its child": func(s *scene) func() {
		tmpl := s.template(1, time.Second)
		s.add(1, tmpl.Ref)
		s.now = s.now.Add(2 * time.Second)
		return func() {
			var c Conn
			s.table.LookupTemplate(s.now, ipvs.TCP, client(1).Addr(), templateSpec(1, s.servers[0], 0).Virtual, &c)
			s.table.Rearm(s.now, tmpl.Ref)
		}
	},
	"tick": func(s *scene) func() {
		tmpl := s.template(1, time.Second)
		s.add(1, tmpl.Ref)
		for n := range 6 {
			c := s.add(n+2, Ref{})
			s.table.Packet(s.now, &c, DirIn, TCPEvent(2))
			if n%2 == 0 {
				s.table.Packet(s.now, &c, DirIn, TCPEvent(4))
			}
		}
		s.now = s.now.Add(4 * time.Second)
		return func() {
			for range 3 {
				drainTicks(s.table, s.now, 1)
			}
		}
	},
	"insert into a new segment": func(s *scene) func() {
		for n := range 5 {
			s.add(n+1, Ref{})
		}
		return func() {
			for n := range 8 {
				s.insertMaybe(tcpSpec(5+n+1, s.servers[0]))
			}
		}
	},
	"prepare": func(s *scene) func() {
		for n := range 4 {
			s.add(n+1, Ref{})
		}
		return func() { s.table.Prepare(ignore) }
	},
	"grow into a chunk made ahead": func(s *scene) func() {
		s.held = append(s.held, s.take(chunkSize-2)...)
		s.table.Prepare(ignore)
		return func() {
			for n := range 3 {
				s.insertMaybe(tcpSpec(n+1, s.servers[0]))
			}
		}
	},
	"tick over a record that is too late": func(s *scene) func() {
		c := s.add(1, Ref{})
		s.table.Packet(s.now, &c, DirIn, TCPEvent(16))
		s.pass(5 * time.Second)
		s.table.Packet(s.now, &c, DirIn, TCPEvent(4))
		s.now = s.now.Add(140 * time.Second)
		return func() { drainTicks(s.table, s.now, 100) }
	},
	"an engine's template": func(s *scene) func() {
		s.insertMaybe(callSpec(1, "call", s.servers[0]))
		return func() {
			var c Conn
			s.table.FindTemplate(s.now, callSpec(1, "call", s.servers[0]), &c)
			s.table.Expire(s.now, c.Ref)
			s.table.Insert(s.now, callSpec(1, "other", s.servers[0]), &c)
		}
	},
	"the first side record": func(s *scene) func() {
		return func() { s.insertMaybe(callSpec(1, "call", s.servers[0])) }
	},
	"helper": func(s *scene) func() {
		var c, d Conn
		spec := masqueraded(ftpSpec(1, s.servers[0]))
		s.table.Insert(s.now, spec, &c)
		return func() {
			c.AppMode = 1
			s.table.StoreApp(&c)
			s.table.LookupIn(s.now, ipvs.TCP, spec.Client, spec.Virtual, &d)
			expected := masqueraded(expectedSpec(1, 5001, s.servers[0], c.Ref))
			s.table.Expect(s.now, expected, &d)
			s.table.Expect(s.now, expected, &d)
			s.table.FillPort(s.now, &d, 4000)
		}
	},
	"another director's word": func(s *scene) func() {
		c := s.add(1, Ref{})
		return func() {
			s.table.Advertise(c.Ref, 0, NewAdvert(1, 0, s.now))
			s.table.Update(s.now, c.Ref, &Update{State: TCPEstablished, Timeout: 900 * time.Second})
		}
	},
	"tick far": func(s *scene) func() {
		s.template(1, 300*time.Second)
		s.add(1, Ref{})
		s.now = s.now.Add(400 * time.Second)
		return func() { drainTicks(s.table, s.now, 3) }
	},
}

// take takes n entries that nobody had yet.
func (s *scene) take(n int) (taken []uint32) {
	for range n {
		taken = append(taken, s.table.entries.grow())
	}
	return taken
}

// leave has n entries that nobody had yet be at home, and all that are free.
func (s *scene) leave(n int) {
	for _, i := range s.take(n) {
		s.table.entries.put(0, i)
	}
	budget := 1 << 20
	s.table.entries.sendHome(&budget)
}

func masqueraded(spec *Spec) *Spec {
	spec.Method = ipvs.Masquerade
	return spec
}

func (s *scene) insertMaybe(spec *Spec) {
	var c Conn
	s.table.Insert(s.now, spec, &c)
}

func (s *scene) look(n int) bool {
	var c Conn
	return s.table.LookupIn(s.now, ipvs.TCP, client(n), testVIP, &c)
}

func (s *scene) pass(d time.Duration) {
	s.now = s.now.Add(d)
	drainTicks(s.table, s.now, 1<<20)
}

// work does everything a table can do, with the entries the stopped ones are
// busy with and with others. stopped is how many there are.
func (s *scene) work(stopped int) {
	s.contend()
	s.mine(stopped)
	s.contend()
	s.side()
	n := 0
	s.table.List(s.now, func(*ipvs.ConnEntry) bool { n++; return true })
	require.LessOrEqual(s.tb, n, int(s.table.entries.highest()))
}

// contend uses the connections the deeds are about.
func (s *scene) contend() {
	for n := 1; n <= 8; n++ {
		var c Conn
		if r := s.table.Insert(s.now, tcpSpec(n, s.servers[0]), &c); r != Inserted {
			require.Equal(s.tb, Exists, r)
		}
		require.True(s.tb, s.look(n))
		require.True(s.tb, s.table.LookupOut(s.now, ipvs.TCP, testVIP, client(n), &c))
		require.True(s.tb, s.table.Packet(s.now, &c, DirIn, TCPEvent(2)))
		if n%2 == 0 {
			require.True(s.tb, s.table.Expire(s.now, c.Ref))
			require.False(s.tb, s.look(n))
			require.Equal(s.tb, Inserted, s.table.Insert(s.now, tcpSpec(n, s.servers[0]), &c))
		}
		spec := templateSpec(n, s.servers[0], time.Minute)
		if r := s.table.Insert(s.now, spec, &c); r != Inserted {
			require.Equal(s.tb, Exists, r)
		}
		require.True(s.tb, s.table.Rearm(s.now, c.Ref))
	}
}

// side uses the side records the deeds are about.
func (s *scene) side() {
	var c, d Conn
	spec := callSpec(1, "call", s.servers[0])
	require.LessOrEqual(s.tb, s.table.Insert(s.now, spec, &c), Exists)
	require.True(s.tb, s.table.FindTemplate(s.now, spec, &c))
	require.Equal(s.tb, "call", string(c.PEData))
	require.True(s.tb, s.table.Expire(s.now, c.Ref))
	require.False(s.tb, s.table.FindTemplate(s.now, spec, &c))

	control := masqueraded(ftpSpec(1, s.servers[0]))
	require.LessOrEqual(s.tb, s.table.Insert(s.now, control, &c), Exists)
	c.AppMode++
	require.True(s.tb, s.table.StoreApp(&c))
	require.LessOrEqual(s.tb, s.table.Expect(s.now, masqueraded(expectedSpec(1, 5001, s.servers[0], c.Ref)), &d), Exists)
	vip := netip.AddrPortFrom(ftpVIP.Addr(), 5001)
	require.True(s.tb, s.table.LookupIn(s.now, ipvs.TCP, netip.AddrPortFrom(client(1).Addr(), 4000), vip, &d))
	if d.Flags&FlagNoCPort != 0 {
		require.True(s.tb, s.table.FillPort(s.now, &d, 4000))
	}
	require.True(s.tb, s.table.Expire(s.now, d.Ref))
}

// mine inserts connections nobody else knows, enough for the table to grow,
// and has them expire. A stopped goroutine may hold up one of them.
func (s *scene) mine(stopped int) {
	rs, first := s.servers[1], s.next
	s.next += 50
	for n := first; n < s.next; n++ {
		var c Conn
		require.Equal(s.tb, Inserted, s.table.Insert(s.now, tcpSpec(n, rs), &c))
		require.True(s.tb, s.table.Packet(s.now, &c, DirIn, TCPEvent(2)))
		require.True(s.tb, s.look(n))
	}
	for _, d := range []time.Duration{time.Second, 30 * time.Second, 45 * time.Second, tick} {
		s.pass(d)
	}
	for n := first; n < s.next; n++ {
		require.False(s.tb, s.look(n))
	}
	require.LessOrEqual(s.tb, int(rs.References()), stopped)
}

// check verifies that nothing was lost once all are through.
func (s *scene) check() {
	for _, i := range s.held {
		s.table.entries.put(0, i)
	}
	s.held = nil
	checkLists(s.tb, s.table)
	checkEmpty(s.tb, s.table, s.now, s.servers)
}

// TestParkAtEveryStep stops one goroutine at each of its steps in turn.
func TestParkAtEveryStep(t *testing.T) {
	for _, name := range deedNames() {
		for k := 0; ; k++ {
			s := newScene(t)
			a, stopped := start(deeds[name](s), k)
			if stopped {
				s.work(1)
				a.finish()
			}
			s.check()
			if t.Failed() {
				t.Fatalf("%s, step %d", name, k)
			}
			if !stopped {
				break
			}
		}
	}
}

// TestParkBetweenSteps lets a goroutine go on one step at a time, and
// everything change between any two.
func TestParkBetweenSteps(t *testing.T) {
	for _, name := range deedNames() {
		s := newScene(t)
		a, stopped := start(deeds[name](s), 0)
		for n := 0; stopped && n < 300; n++ {
			s.work(1)
			stopped = a.next()
		}
		if stopped {
			a.finish() // it chases a table that changes between any two steps
		}
		s.check()
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// TestParkWhileTimePasses lets a goroutine go on slowly, while the others only
// keep the clock.
func TestParkWhileTimePasses(t *testing.T) {
	for _, name := range deedNames() {
		for k := 0; ; k++ {
			s := newScene(t)
			a, stopped := start(deeds[name](s), k)
			last := !stopped
			for stopped {
				s.pass(time.Duration(1+k%7) * time.Second)
				stopped = a.next()
			}
			s.check()
			if t.Failed() {
				t.Fatalf("%s, step %d", name, k)
			}
			if last {
				break
			}
		}
	}
}

func deedNames() []string { return slices.Sorted(maps.Keys(deeds)) }

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
		p.put(0, p.grow())
	}
	var got uint32
	a, stopped := start(func() { got = p.get(0) }, 0)
	require.True(t, stopped)
	first, second := p.get(0), p.get(0)
	p.put(0, first)
	a.finish()
	require.Equal(t, first, got)
	for range 2 {
		require.NotContains(t, []uint32{0, first, second}, p.get(0))
	}
}

// TestParkMany stops several goroutines somewhere at the same time, and lets
// them go on at the same time.
func TestParkMany(t *testing.T) {
	names := deedNames()
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s := newScene(t)
		var actors []*actor
		story := ""
		for range 2 + rng.IntN(4) {
			name, skip := names[rng.IntN(len(names))], rng.IntN(40)
			story += fmt.Sprintf("%s at %d; ", name, skip)
			act := s.improvise(name)
			if a, ok := start(act, skip); ok {
				actors = append(actors, a)
			}
			if rng.IntN(3) == 0 {
				s.now = s.now.Add(time.Duration(rng.IntN(5000)) * time.Millisecond)
			}
		}
		s.work(len(actors))
		var wg sync.WaitGroup
		for _, a := range actors {
			wg.Go(a.finish)
		}
		wg.Wait()
		s.check()
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, story)
		}
	}
}

// improvise prepares a deed in a scene where others are at it already.
func (s *scene) improvise(name string) func() {
	for n := range 50 {
		c := Conn{}
		if s.table.LookupIn(s.now, ipvs.TCP, client(n), testVIP, &c) {
			s.table.Expire(s.now, c.Ref)
		}
		if s.table.LookupTemplate(s.now, ipvs.TCP, client(n).Addr(), templateSpec(n, s.servers[0], 0).Virtual, &c) {
			s.table.Invalidate(c.Ref)
		}
	}
	return deeds[name](s)
}

// TestParkJostle runs the concurrent tests with goroutines that give way at
// random steps, so that they meet where they otherwise rarely do.
func TestParkJostle(t *testing.T) {
	stop := stepHook.Load()
	defer stepHook.Store(stop)
	var n atomic.Uint64
	jostle := func(string) {
		if mix := n.Add(1) * 0x9e3779b97f4a7c15; mix>>61 == 0 {
			runtime.Gosched()
		}
	}
	stepHook.Store(&jostle)
	t.Run("linearizable", TestLinearizable)
	t.Run("stress", TestStress)
}

// TestParkSteps holds the tests above to having stopped somebody at every step
// there is in the source. It runs last.
func TestParkSteps(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	call := regexp.MustCompile(`\bstep\("([^"]+)"\)`)
	for _, file := range files {
		src, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range call.FindAllStringSubmatch(string(src), -1) {
			if _, ok := passed.Load(m[1]); !ok {
				t.Errorf("%s: nobody was stopped at %q", file, m[1])
			}
		}
	}
}
