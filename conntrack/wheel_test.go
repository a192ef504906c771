package conntrack

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTicks(t *testing.T) {
	assert.Equal(t, uint64(0), dueTick(0))
	assert.Equal(t, uint64(0), dueTick(-5))
	assert.Equal(t, uint64(1), dueTick(1))
	assert.Equal(t, uint64(1), dueTick(clock.Instant(tick)))
	assert.Equal(t, uint64(2), dueTick(clock.Instant(tick)+1))
	assert.Equal(t, uint64(0), nowTick(clock.Instant(tick)-1))
	assert.Equal(t, uint64(1), nowTick(clock.Instant(tick)))
	assert.Equal(t, uint64(0), nowTick(-1))
	assert.Less(t, nowTick(clock.Never), uint64(never))
	assert.Less(t, dueTick(clock.Never), uint64(never))
}

func TestWords(t *testing.T) {
	w := makeTimer(7, time.Hour, 1<<36)
	assert.Equal(t, []any{7, time.Hour, uint64(1 << 36)}, []any{w.records(), w.sleep(), w.at()})
	assert.Equal(t, uint64(never), timerWord(0).at())
	assert.Equal(t, timerWord(0), makeTimer(0, -time.Second, never))
	assert.Equal(t, time.Duration(1<<20-1)*time.Second, makeTimer(1, math.MaxInt64, 5).sleep())
	i, at := splitRecord(makeRecord(1<<26-1, 1<<38-1))
	assert.Equal(t, []any{uint32(1<<26 - 1), uint64(1<<38 - 1)}, []any{i, at})
	c := makeCursor(1<<36, 1<<36+1<<20)
	assert.Equal(t, []uint64{1 << 36, 1<<36 + 1<<20}, []uint64{c.lo(), c.hi()})

	x := makeExpiry(12345, at10(10*time.Hour+1), 77)
	assert.Equal(t, at10(10*time.Hour+tick), x.at(), "rounded up to the tick")
	assert.Equal(t, expiry(77), x&expiryTimeout)
	assert.True(t, x.of(12345))
	assert.True(t, x.of(12345+1<<expiryGenBits))
	assert.False(t, x.of(12346))
	assert.True(t, (x | expiryClosed).of(12345))
	assert.True(t, (x | expiryClosed).over(0))
	assert.Equal(t, x.at(), (x | expiryClosed).at())
	assert.Positive(t, makeExpiry(1, clock.Never, oddTimeout).at())
	for _, d := range []time.Duration{0, time.Second, 16382 * time.Second} {
		code, ok := shortTimeout(d)
		assert.True(t, ok)
		assert.Equal(t, d, time.Duration(code)*time.Second)
	}
	for _, d := range []time.Duration{time.Millisecond, 16383 * time.Second, maxTimeout} {
		_, ok := shortTimeout(d)
		assert.False(t, ok)
	}
	u := makeUsage(1<<usageGenBits+5, usageServers, 1<<32-1)
	assert.Equal(t, []any{uint32(usageServers), uint32(1<<32 - 1), true, false}, []any{u.server(), u.packets(), u.of(5), u.of(6)})
	assert.Equal(t, makeUsage(5, usageServers, 9), u.with(9))
	assert.Equal(t, uint32(0xdeadbeef), (makePlace(0xdeadbeef) | placeKin).real())
	assert.Equal(t, clock.Instant(0), makeExpiry(1, -7, oddTimeout).at())
}

func at10(d time.Duration) clock.Instant { return clock.Instant(d) }

// TestPlace checks what the wheel relies on: from any cursor that step can
// make, every wake has a slot that is after the cursor, is not late, and is
// none of those being drained.
func TestPlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	far := func(most int) uint64 { return rng.Uint64N(1 << rng.IntN(most)) }
	for range 30_000 {
		lo := far(37)
		if rng.IntN(2) == 0 {
			lo |= 1<<(levelBits*(1+rng.IntN(4))) - 1 // the end of a block
		}
		hi := lo
		if rng.IntN(4) != 0 {
			due := lo + 1 + far(30)
			hi = stepTo(lo, due)
			require.Greater(t, hi, lo)
			require.LessOrEqual(t, hi, due)
			require.LessOrEqual(t, hi-lo, uint64(1)<<longestStepBits)
		}
		at := hi + far(31)
		level, pos := makeCursor(lo, hi).place(at)
		shift := level * levelBits
		start := pos << shift
		msg := fmt.Sprintf("lo %d hi %d at %d: level %d pos %d", lo, hi, at, level, pos)
		require.Greater(t, start, hi, msg)
		require.True(t, start <= at || at <= hi, msg)
		require.False(t, pos-levelSlots > lo>>shift && pos-levelSlots <= hi>>shift, "drained now: %s", msg)
		require.LessOrEqual(t, pos-lo>>shift, uint64(levelSlots), msg)
	}
}

// TestStepsAreFew: the cursor crosses any idle time in a few steps.
func TestStepsAreFew(t *testing.T) {
	lo, due, steps := uint64(360_000), uint64(360_000+31*24*3600*100), 0
	for ; lo < due; steps++ {
		lo = stepTo(lo, due)
	}
	assert.LessOrEqual(t, steps, 300)
}

// TestExactEnds lets templates with all kinds of timeouts end, going from
// deadline to deadline: each ends in its tick, and the deadlines are few.
func TestExactEnds(t *testing.T) {
	const n = 3000
	rng := rand.New(rand.NewPCG(3, 3))
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg, Shards: 4})
	ends := map[uint64]int{}
	for i := range n {
		spec := tcpSpec(i*60000, all[0])
		spec.Client, spec.Template = masked(spec.Client), true
		spec.Timeout = time.Duration(math.Exp(rng.Float64()*math.Log(31*24*3600*1000))) * time.Millisecond
		var c Conn
		require.Equal(t, Inserted, table.Insert(t0, spec, &c))
		ends[dueTick(t0.Add(spec.Timeout))]++
	}
	now, left, deadlines := t0, n, 0
	for left > 0 {
		next := drainTicks(table, now, 7)
		for tk := range ends {
			if tk <= nowTick(now) {
				left -= ends[tk]
				delete(ends, tk)
			}
		}
		require.Equal(t, left, table.Len())
		require.Equal(t, left, int(all[0].Persistent()))
		now = next
		deadlines++
	}
	assert.Equal(t, clock.Never, now)
	assert.Less(t, deadlines, n*levels)
	assert.Empty(t, lost(table))
}

// TestLateTick: a table nobody ticks for long ends everything at once.
func TestLateTick(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	for i := range 1000 {
		var c Conn
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[0]), &c))
		table.Packet(t0, &c, DirIn, Event(int(firstTCP)+i%5))
	}
	require.Equal(t, clock.Never, table.Tick(at(40*24*time.Hour), 1<<20))
	assert.Zero(t, table.Len())
	assert.Empty(t, lost(table))
}

// TestTickBudget: a call handles no more timers than it may, says that there
// is more to do, and the calls together do it all.
func TestTickBudget(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	for i := range 1000 {
		var c Conn
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[0]), &c))
	}
	now := at(3 * time.Second)
	calls := 0
	for before := table.Len(); table.Len() > 0; before = table.Len() {
		next := table.Tick(now, 10)
		require.LessOrEqual(t, before-table.Len(), 10)
		if table.Len() > 0 {
			require.LessOrEqual(t, next, now)
		}
		calls++
		require.Less(t, calls, 1000)
	}
	assert.GreaterOrEqual(t, calls, 100)
	require.LessOrEqual(t, table.Tick(now, 0), clock.Never)
}

func TestDeadline(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	assert.Equal(t, clock.Never, table.Tick(t0, 100))
	var c Conn
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &c))
	now := t0
	for table.Len() > 0 {
		next := table.Tick(now, 100)
		require.Greater(t, next, now)
		require.LessOrEqual(t, next, c.Expires)
		now = next
		table.Tick(now, 100)
	}
	assert.Equal(t, at(newTimeout), now, "the last deadline is the expiry itself")
	assert.Equal(t, clock.Never, table.Tick(now, 100))
}

// TestTimeStandsStill: time may stand still, go back a little between workers,
// and start anywhere.
func TestTimeStandsStill(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	for _, start := range []clock.Instant{-5, 0, 1, t0, clock.Instant(1_700_000_000 * time.Second), clock.Instant(80 * 365 * 24 * time.Hour)} {
		table := New(Config{Servers: reg})
		var c Conn
		require.Equal(t, Inserted, table.Insert(start, tcpSpec(1, all[0]), &c))
		table.Tick(start.Add(time.Second), 100)
		require.True(t, table.LookupIn(start, ipvs.TCP, client(1), testVIP, &c), start)
		require.True(t, table.Packet(start, &c, DirIn, tcpSYN))
		checkEmpty(t, table, start, all)
	}
}

// fires returns how many timer records the wheel handles up to now.
func fires(t *Table, now clock.Instant) int {
	const much = 1 << 30
	budget := much
	for i := range t.shards {
		t.advance(&t.portion(0).wheels[i], nowTick(now), &budget)
	}
	return much - budget
}

// TestTimersCostLittle: packets do not touch the wheel, and a connection that
// stays costs a few wakes, not one per packet or second.
func TestTimersCostLittle(t *testing.T) {
	const n = 300
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	conns := make([]Conn, n)
	for i := range conns {
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[0]), &conns[i]))
	}
	fired, moment := 0, t0
	for moment < at(time.Hour) {
		for i := range conns {
			require.True(t, table.Packet(moment, &conns[i], DirIn, tcpACK))
		}
		moment = moment.Add(time.Second)
		fired += fires(table, moment)
	}
	assert.Equal(t, n, table.Len())
	// At 3 s, some 128 s, 512 s, and once per 900 s; each wake may take a
	// record through all levels.
	assert.LessOrEqual(t, fired, n*(3+4)*4)
	assert.Equal(t, n, given(table.records)-freeItems(table.records), "one record each")
}

// TestRecordsAreFew: connections that are opened and shortened over and over
// leave no heap of timer records behind, and end nearly in time nevertheless.
func TestRecordsAreFew(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	rng := rand.New(rand.NewPCG(4, 4))
	table := New(Config{Servers: reg})
	now := t0
	most := 0
	for range 20_000 {
		now = now.Add(time.Duration(rng.IntN(3000)) * time.Millisecond)
		drainTicks(table, now, 100)
		var c Conn
		if !table.LookupIn(now, ipvs.TCP, client(1), testVIP, &c) {
			require.Equal(t, Inserted, table.Insert(now, tcpSpec(1, all[0]), &c))
		}
		table.SetTimeouts(ipvs.Timeouts{TCP: uint32(1 + rng.IntN(2000)), TCPFin: uint32(1 + rng.IntN(100))})
		require.True(t, table.Packet(now, &c, Dir(rng.IntN(2)), firstTCP+Event(rng.IntN(5))))
		if rng.IntN(50) == 0 {
			table.Expire(now, c.Ref)
		}
		for i := uint32(1); i <= table.entries.highest(); i++ {
			most = max(most, timerWord(table.entries.at(i).timer.Load()).records())
		}
	}
	assert.LessOrEqual(t, most, maxRecords)
	assert.LessOrEqual(t, table.records.highest(), uint32(recordRun), "no more than it was given at first")
	checkEmpty(t, table, now, all)
}

func TestDoze(t *testing.T) {
	now := at(0)
	sleep := func(records int, before, expires time.Duration) time.Duration {
		w := makeTimer(records, before, 0)
		return tickInstant(w.doze(now, dueTick(now.Add(expires)))).Sub(now)
	}
	assert.Equal(t, time.Minute, sleep(1, 3*time.Second, time.Minute), "until the end")
	assert.Equal(t, shortSleep, sleep(1, 3*time.Second, time.Hour), "but not too long")
	assert.Equal(t, 4*shortSleep, sleep(1, shortSleep, time.Hour), "longer the next time")
	assert.Equal(t, time.Second, sleep(manyRecords, shortSleep, time.Hour), "unless it keeps being too late")
}

// TestReusedSlotKeepsItsTimer: a client that opens and closes connections fast
// does not add a timer record each time.
func TestReusedSlotKeepsItsTimer(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	now := t0
	for range 10_000 {
		now = now.Add(100 * time.Microsecond)
		var c Conn
		require.Equal(t, Inserted, table.Insert(now, tcpSpec(1, all[0]), &c))
		table.Packet(now, &c, DirIn, tcpSYN)
		require.True(t, table.Expire(now, c.Ref))
	}
	assert.LessOrEqual(t, table.records.highest(), uint32(recordRun), "no more than it was given at first")
	checkEmpty(t, table, now, all)
}
