package conntrack

import (
	"math/bits"
	"math/rand/v2"
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

// event is one call on one key as its caller saw it: when it began and ended
// in the order of a common counter, and its outcome.
type event struct {
	call, back int64
	op         opKind
	id         uint32 // whose: the mark given to, found in, or wanted of the entry
	ok         bool
}

type opKind uint8

const (
	opInsert opKind = iota // ok: id is in; not ok: id was there already
	opLookup               // ok: id is there; not ok: nobody
	opExpire               // of id
	opPacket               // of id
)

// apply is the sequential meaning of an event: state is the mark of the entry
// under the key, 0 for none.
func (e *event) apply(state uint32) (uint32, bool) {
	switch e.op {
	case opInsert:
		if e.ok {
			return e.id, state == 0
		}
		return state, state == e.id
	case opLookup:
		if e.ok {
			return state, state == e.id
		}
		return state, state == 0
	case opExpire:
		if e.ok {
			return 0, state == e.id
		}
		return state, state != e.id
	default:
		return state, e.ok == (state == e.id)
	}
}

// linearizable searches an order of the events that respects real time and
// the sequential meaning (Wing and Gong, with Lowe's memory of what was tried).
func linearizable(events []event, state uint32) (uint32, bool) {
	type tried struct {
		done  uint64
		state uint32
	}
	seen := map[tried]bool{}
	all := uint64(1)<<len(events) - 1
	var search func(done uint64, state uint32) (uint32, bool)
	search = func(done uint64, state uint32) (uint32, bool) {
		if done == all {
			return state, true
		}
		if seen[tried{done, state}] {
			return 0, false
		}
		seen[tried{done, state}] = true
		first := int64(1) << 62 // nothing that began after this ended can be next
		for rest := all &^ done; rest != 0; rest &= rest - 1 {
			first = min(first, events[bits.TrailingZeros64(rest)].back)
		}
		for rest := all &^ done; rest != 0; rest &= rest - 1 {
			i := bits.TrailingZeros64(rest)
			if events[i].call > first {
				continue
			}
			if next, ok := events[i].apply(state); ok {
				if end, ok := search(done|1<<i, next); ok {
					return end, true
				}
			}
		}
		return 0, false
	}
	return search(0, state)
}

func TestLinearizableChecker(t *testing.T) {
	good := []event{{1, 4, opInsert, 7, true}, {2, 3, opLookup, 0, false}, {5, 6, opLookup, 7, true}}
	_, ok := linearizable(good, 0)
	require.True(t, ok)
	bad := []event{{1, 2, opInsert, 7, true}, {3, 4, opLookup, 0, false}}
	_, ok = linearizable(bad, 0)
	require.False(t, ok)
	twice := []event{{1, 9, opInsert, 7, true}, {2, 8, opInsert, 8, true}}
	_, ok = linearizable(twice, 0)
	require.False(t, ok)
}

// TestLinearizable has goroutines fight over few keys of one bucket, in rounds,
// and looks for an explanation of what they saw.
func TestLinearizable(t *testing.T) {
	rounds := 1500
	if testing.Short() {
		rounds = 200
	}
	reg, all := servers(1, ipvs.DirectRoute)
	table := newTable(Config{Seed: 3, Shards: 1, MaxEntries: 1 << 12, Servers: reg}, 1)
	f := fight{table: table, rs: all[0]}
	for round := range rounds {
		f.round(t, round, func(int) {})
	}
	checkIndex(t, table)
	checkEmpty(t, table, t0, all)
}

// fight is one of fighters over few keys.
type fight struct {
	table *Table
	rs    *ipvs.RealServer
	stamp atomic.Int64
	mark  atomic.Uint32
	state [foughtOver]uint32
}

const foughtOver, fighters, blows = 2, 4, 10

// round has the fighters act, follows each act with after, which is told apart by
// a number, and looks for an explanation of what they saw.
func (f *fight) round(t *testing.T, number int, after func(blow int)) {
	t.Helper()
	var events [foughtOver][fighters][]event
	var wg sync.WaitGroup
	for w := range fighters {
		rng := rand.New(rand.NewPCG(uint64(number), uint64(w)))
		wg.Go(func() {
			one := fighter{table: f.table, rng: rng, stamp: &f.stamp, mark: &f.mark, rs: f.rs, worker: w % 3}
			for i := range blows {
				k := rng.IntN(foughtOver)
				events[k][w] = append(events[k][w], one.act(k))
				after(w*blows + i)
			}
		})
	}
	wg.Wait()
	for k := range events {
		end, ok := linearizable(slices.Concat(events[k][:]...), f.state[k])
		require.True(t, ok, "round %d key %d: %+v", number, k, events[k])
		f.state[k] = end
	}
}

// fighter does random things to a key and notes what it saw.
type fighter struct {
	table *Table
	rng   *rand.Rand
	stamp *atomic.Int64
	mark  *atomic.Uint32
	rs    *ipvs.RealServer
	known [8]Conn // what it last met under the key

	worker int
}

func (f *fighter) act(k int) (e event) {
	known := &f.known[k]
	var c Conn
	e.op = opKind(f.rng.IntN(4))
	if known.Ref.IsZero() && e.op > opLookup {
		e.op = opLookup
	}
	spec := tcpSpec(k, f.rs)
	spec.Mark = f.mark.Add(1)
	spec.Worker = uint8(f.worker)
	if f.rng.IntN(2) == 0 {
		runtime.Gosched()
	}
	e.call = f.stamp.Add(1)
	switch e.op {
	case opInsert:
		e.ok = f.table.Insert(t0, spec, &c) == Inserted
		e.id = c.Mark
	case opLookup:
		if f.rng.IntN(2) == 0 {
			e.ok = f.table.LookupIn(t0, ipvs.TCP, client(k), testVIP, &c)
		} else {
			e.ok = f.table.LookupOut(t0, ipvs.TCP, testVIP, client(k), &c)
		}
		e.id = c.Mark
		if !e.ok {
			e.id = 0
		}
	case opExpire:
		e.ok, e.id = f.table.Expire(t0, known.Ref), known.Mark
	case opPacket:
		c = *known
		e.ok, e.id = f.table.Packet(t0, &c, DirIn, TCPEvent(2)), known.Mark
	}
	e.back = f.stamp.Add(1)
	if e.ok && e.op != opExpire || e.op == opInsert {
		*known = c
	}
	return e
}

// TestStress lets many goroutines do everything at once, over keys of their
// own and keys they share, while time passes and the table grows. What a
// goroutine does with its own keys must look as if it were alone.
func TestStress(t *testing.T) {
	const workers = 8
	steps := 6000
	if testing.Short() {
		steps = 1500
	}
	reg, all := servers(4, ipvs.DirectRoute)
	table := newTable(Config{Seed: 5, Shards: 2, MaxEntries: 1 << 15, Servers: reg}, 2)
	var now atomic.Int64
	now.Store(int64(t0))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			s := stressor{tb: t, table: table, rng: rand.New(rand.NewPCG(9, uint64(w))), w: w, servers: all, clock: &now}
			for range steps {
				s.step()
				if t.Failed() {
					return
				}
			}
		})
	}
	wg.Wait()
	checkIndex(t, table)
	checkEmpty(t, table, clock.Instant(now.Load()), all)
}

type stressor struct {
	tb      testing.TB
	table   *Table
	rng     *rand.Rand
	w       int
	servers []*ipvs.RealServer
	clock   *atomic.Int64
	mine    []Conn
	next    int
}

func (s *stressor) step() {
	now := clock.Instant(s.clock.Add(int64(s.rng.IntN(int(time.Millisecond)))))
	var c Conn
	switch s.rng.IntN(12) {
	case 0, 1, 2:
		s.insertMine(now)
	case 3:
		if n := len(s.mine); n > 0 && s.table.Packet(now, &s.mine[n-1], Dir(s.rng.IntN(2)), firstTCP+Event(s.rng.IntN(5))) {
			s.check(&s.mine[n-1])
		}
	case 4:
		if n := len(s.mine); n > 0 {
			s.table.Expire(now, s.mine[n-1].Ref)
			got := s.table.LookupIn(now, ipvs.TCP, s.mine[n-1].Client, testVIP, &c)
			if got {
				s.tb.Errorf("found what was removed")
			}
			s.mine = s.mine[:n-1]
		}
	case 5:
		s.table.TickOf(s.w, now, 50)
	case 6, 7:
		s.sharedConn(now)
	case 8, 9:
		s.family(now)
	case 10:
		if s.rng.IntN(50) == 0 {
			s.clock.Add(int64(time.Duration(s.rng.IntN(20)) * time.Second))
		}
	case 11:
		if s.rng.IntN(100) == 0 {
			s.table.List(now, func(*ipvs.ConnEntry) bool { return true })
		}
	}
}

func (s *stressor) server() *ipvs.RealServer { return s.servers[s.rng.IntN(len(s.servers))] }

func (s *stressor) insertMine(now clock.Instant) {
	var c Conn
	s.next++
	spec := workerSpec(s.w, 1000+s.w*100000+s.next, s.server())
	if r := s.table.Insert(now, spec, &c); r != Inserted {
		s.tb.Errorf("own key: %v", r)
		return
	}
	s.mine = append(s.mine, c)
	if len(s.mine) > 100 {
		s.mine = s.mine[50:]
	}
	s.check(&c)
}

// check looks an entry of the goroutine's own up. It may have expired: the
// clock is everybody's.
func (s *stressor) check(want *Conn) {
	var c Conn
	now := clock.Instant(s.clock.Load())
	if !s.table.LookupIn(now, ipvs.TCP, want.Client, testVIP, &c) {
		if want.Expires > clock.Instant(s.clock.Load()) {
			s.tb.Errorf("lost %v: expires %v, now %v", want.Client, want.Expires, now)
		}
		return
	}
	if c.Ref != want.Ref || c.Server != want.Server || c.State != want.State {
		s.tb.Errorf("got %+v, want %+v", c, *want)
	}
}

func (s *stressor) sharedConn(now clock.Instant) {
	var c Conn
	spec := workerSpec(s.w, s.rng.IntN(20), s.server())
	if s.table.Insert(now, spec, &c) > Exists {
		s.tb.Errorf("shared key")
	}
	s.table.Packet(now, &c, Dir(s.rng.IntN(2)), firstTCP+Event(s.rng.IntN(5)))
	if s.rng.IntN(3) == 0 {
		s.table.Expire(now, c.Ref)
	}
}

// family works on shared templates and their children.
func (s *stressor) family(now clock.Instant) {
	var tmpl, c Conn
	spec := tcpSpec(s.rng.IntN(5), s.server())
	spec.Client, spec.Template, spec.Timeout = masked(spec.Client), true, time.Duration(1+s.rng.IntN(10))*time.Second
	spec.Mark = uint32(spec.Virtual.Port())
	if s.table.Insert(now, spec, &tmpl) > Exists {
		s.tb.Errorf("shared template")
		return
	}
	child := tcpSpec(500+s.rng.IntN(100), tmpl.Server)
	child.Control = tmpl.Ref
	switch s.table.Insert(now, child, &c) {
	case Inserted:
		s.table.Rearm(now, tmpl.Ref)
	case Full:
		s.tb.Errorf("full")
	}
	s.table.Packet(now, &c, DirIn, TCPEvent(16))
	switch s.rng.IntN(6) {
	case 0:
		s.table.Invalidate(tmpl.Ref)
	case 1:
		s.table.Expire(now, tmpl.Ref)
	case 2:
		s.table.Expire(now, c.Ref)
	}
}

// TestUniqueWhileGrowing has goroutines fight over few keys while the table
// doubles again and again, and looks for an explanation of what they saw.
func TestUniqueWhileGrowing(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 60
	}
	reg, all := servers(2, ipvs.DirectRoute)
	for round := range rounds {
		table := newTable(Config{Seed: uint64(round), Shards: 1, MaxEntries: 1 << 12, Servers: reg}, 1)
		f := fight{table: table, rs: all[0]}
		f.round(t, round, func(blow int) {
			for n := range 16 {
				var c Conn
				require.Equal(t, Inserted, table.Insert(t0, workerSpec(blow%3, 1000+blow*16+n, all[1]), &c))
			}
		})
		require.Greater(t, table.Buckets(), 32)
		checkIndex(t, table)
		checkEmpty(t, table, t0, all)
	}
}

// TestOverflow has goroutines insert, find and end connections of few clients, so
// that buckets overflow and are relieved all the time. What a goroutine does with
// its own must look as if it were alone.
func TestOverflow(t *testing.T) {
	const workers, mine = 4, 20
	steps := 20_000
	if testing.Short() {
		steps = 4000
	}
	reg, all := servers(1, ipvs.DirectRoute)
	table := newTable(Config{Seed: 5, Shards: 2, MaxEntries: 1 << 12, Servers: reg}, 2)
	var wg sync.WaitGroup
	for w := range workers {
		rng := rand.New(rand.NewPCG(11, uint64(w)))
		wg.Go(func() {
			var live [2][mine]Ref
			for range steps {
				n, i := rng.IntN(2), rng.IntN(mine)
				spec, c := crowdSpec(n, w*mine+i, all[0]), Conn{}
				found := table.LookupIn(t0, ipvs.TCP, spec.Client, spec.Virtual, &c)
				if found != !live[n][i].IsZero() || found && c.Ref != live[n][i] {
					t.Errorf("found %v, %v; put in %v", found, c.Ref, live[n][i])
					return
				}
				if !found {
					if r := table.Insert(t0, spec, &c); r != Inserted {
						t.Error(r)
						return
					}
					live[n][i] = c.Ref
				} else if table.Expire(t0, c.Ref) {
					live[n][i] = Ref{}
				}
			}
		})
	}
	wg.Wait()
	checkIndex(t, table)
	checkEmpty(t, table, t0, all)
}
