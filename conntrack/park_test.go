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
	skip    int    // steps to pass before the next stop
	at      string // where it is stopped
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
	at, ok := <-a.stopped
	a.at, running = at, nil
	return a, ok
}

// next runs a until its next step, and reports whether it stopped there.
func (a *actor) next() bool {
	running = a
	a.resume <- struct{}{}
	at, ok := <-a.stopped
	a.at, running = at, nil
	return ok
}

// until runs a until it stops at the step of that name.
func (a *actor) until(tb testing.TB, name string) {
	tb.Helper()
	for a.next() {
		if a.at == name {
			return
		}
	}
	tb.Fatalf("it came to its end without %q", name)
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

// take takes n entries that nobody had yet.
func (s *scene) take(n int) (taken []uint32) {
	for range n {
		taken = append(taken, s.table.entries.grow(0))
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
		require.Equal(s.tb, Inserted, s.table.Insert(s.now, workerSpec(n%3, n, rs), &c))
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
	checkIndex(s.tb, s.table)
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
