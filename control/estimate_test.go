package control

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

// The known answers: 100 connections/s from zero, then silence.
func TestRatesKnownAnswers(t *testing.T) {
	var c ipvs.Counters
	var e estimator
	var up, down []uint64
	for range 8 {
		c.Conns.Add(200)
		e.fold(&c)
		up = append(up, e.stats().CPS)
	}
	for range 6 {
		e.fold(&c)
		down = append(down, e.stats().CPS)
	}
	require.Equal(t, []uint64{25, 44, 58, 68, 76, 82, 87, 90}, up)
	require.Equal(t, []uint64{67, 51, 38, 28, 21, 16}, down)
	require.Equal(t, uint64(1600), e.stats().Conns)
}

// The first period's rates of little traffic: rounding at work.
// Rates as Linux 6.1 showed them every two seconds: 200 datagrams of 100 bytes
// before each of the first, none later, and after a rest under run_estimation=0
// another hundred.
func TestRecordedRates(t *testing.T) {
	r := newRig(t)
	shown := func() [2]uint64 { s := r.Totals(); return [2]uint64{s.InPPS, s.InBPS} }
	for _, want := range [][2]uint64{{25, 2500}, {44, 4375}, {58, 5781}, {68, 6836}, {76, 7627}, {82, 8220}} {
		r.totals.In(200, 200*100)
		r.advance(foldPeriod)
		require.Equal(t, want, shown())
	}
	r.Control.totals.avg = [5]int64{inPkts: 74 << 10, inBytes: 7374 << 5}
	for _, want := range [][2]uint64{{55, 5531}, {41, 4148}, {31, 3111}, {23, 2333}, {17, 1750}} {
		r.advance(foldPeriod)
		require.InDelta(t, want[0], shown()[0], 1)
		require.InDelta(t, want[1], shown()[1], 1)
	}
	r.set("run_estimation", "0")
	r.totals.In(100, 100*100)
	r.advance(3 * foldPeriod)
	require.InDelta(t, 1750, shown()[1], 1)
	r.set("run_estimation", "1")
	r.advance(foldPeriod)
	require.InDelta(t, 2562, shown()[1], 1)
}

func TestRatesRounding(t *testing.T) {
	for _, tt := range []struct{ conns, pkts, bytes, cps, pps, bps uint64 }{
		{9, 15, 870, 1, 2, 109},
		{5, 5, 640, 1, 1, 80},
		{0, 0, 0, 0, 0, 0},
	} {
		var c ipvs.Counters
		var e estimator
		c.Conns.Add(tt.conns)
		c.In(int(tt.pkts), int(tt.bytes))
		c.Out(int(tt.pkts), int(tt.bytes))
		e.fold(&c)
		s := e.stats()
		want := ipvs.Stats{Conns: tt.conns, InPkts: tt.pkts, OutPkts: tt.pkts, InBytes: tt.bytes, OutBytes: tt.bytes,
			CPS: slowRate(tt.conns, 9, 10), InPPS: slowRate(tt.pkts, 9, 10), OutPPS: slowRate(tt.pkts, 9, 10),
			InBPS: slowRate(tt.bytes, 4, 5), OutBPS: slowRate(tt.bytes, 4, 5)}
		require.Equal(t, want, s)
		require.Equal(t, []uint64{tt.cps, tt.pps, tt.bps}, []uint64{s.CPS, s.InPPS, s.InBPS})
	}
}

// slowRate is the first period's rate: a quarter of the delta, rounded up.
func slowRate(delta, in, out uint64) uint64 {
	avg := delta << in / 4
	return (avg + 1<<(out-1) - 1) / (1 << out)
}

// Counters appear with the next fold, two seconds apart, not before.
func TestFoldEveryTwoSeconds(t *testing.T) {
	r := newRig(t)
	r.must(r.AddService(web, by("rr")))
	r.must(r.AddServer(web, rsA, weight(1)))
	rs := r.real(web, rsA)
	count := func() {
		for _, c := range []*ipvs.Counters{&rs.Counters, &rs.Service().Counters, r.totals} {
			c.Conns.Add(1)
			c.In(2, 100)
		}
	}
	count()
	r.advance(1900 * time.Millisecond)
	require.Zero(t, r.entry(web).Stats)
	r.advance(100 * time.Millisecond)
	r.Tick(r.clock.now)
	want := ipvs.Stats{Conns: 1, InPkts: 2, InBytes: 100, InBPS: 12, CPS: 0, InPPS: 0}
	e := r.entry(web)
	require.Equal(t, e.Stats, e.Servers[0].Stats)
	require.Equal(t, e.Stats, r.Totals())
	want.CPS, want.InPPS, want.InBPS = e.Stats.CPS, e.Stats.InPPS, e.Stats.InBPS
	require.Equal(t, want, e.Stats)
	count()
	require.Equal(t, uint64(1), r.entry(web).Stats.Conns)
}

// Zero takes the last fold for the zero point: what was counted since shows
// with the next one.
func TestZero(t *testing.T) {
	r := newRig(t)
	other := tcp("10.9.0.2", 80)
	for _, id := range []ipvs.ServiceID{web, other} {
		r.must(r.AddService(id, by("rr")))
		r.must(r.AddServer(id, rsA, weight(1)))
		for _, c := range []*ipvs.Counters{&r.real(id, rsA).Counters, &r.real(id, rsA).Service().Counters, r.totals} {
			c.Conns.Add(10)
		}
	}
	r.advance(3 * time.Second)
	r.real(web, rsA).Counters.Conns.Add(5)
	r.must(r.Zero(&web))
	e := r.entry(web)
	require.Zero(t, e.Stats)
	require.Zero(t, e.Servers[0].Stats)
	require.Equal(t, uint64(10), r.entry(other).Stats.Conns)
	require.Equal(t, uint64(20), r.Totals().Conns)
	r.advance(2 * time.Second)
	require.Equal(t, uint64(5), r.entry(web).Servers[0].Stats.Conns)
	r.must(r.Zero(nil))
	require.Zero(t, r.Totals())
	require.Zero(t, r.entry(other).Stats)
}

// Tick runs once after a long sleep and does not make up for what it missed.
func TestTickAfterSleep(t *testing.T) {
	r := newRig(t)
	now := r.clock.now.Add(time.Hour)
	require.Equal(t, now.Add(foldPeriod), r.Tick(now))
	require.Equal(t, now.Add(foldPeriod), r.Tick(now.Add(time.Second)))
	next := r.Tick(now.Add(foldPeriod + time.Millisecond))
	require.Equal(t, now.Add(2*foldPeriod), next, "a late tick does not shift the next one")
	require.NotEqual(t, clock.Never, next)
}
