package director

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// TestSharedCountersLag: while one full batch follows the other, shared counters
// are added to once a millisecond; after any other batch, and by Tick, they are
// exact.
func TestSharedCountersLag(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
	b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0))
	counted, batch := uint64(1), make([]*link.Frame, link.BatchSize)
	for i := range batch {
		batch[i] = wire.NewFrame(2000)
	}
	handle := func(n int) (wait time.Duration) {
		for _, f := range batch[:n] {
			f.Reset()
			f.SetBytes(segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 0))
		}
		b.out.Reset()
		counted += uint64(n)
		return b.w.Handle(b.now, batch[:n], &b.out).Sub(b.now)
	}
	shared := func() uint64 { return b.d.Totals.InPkts.Load() }
	require.Equal(t, counted, shared())

	b.now = b.now.Add(settleEvery)
	handle(link.BatchSize)
	require.Equal(t, counted, shared(), "they had not been added to for long enough")
	b.now = b.now.Add(settleEvery / 4)
	require.LessOrEqual(t, handle(link.BatchSize), 3*settleEvery/4, "who waits longer calls Tick")
	require.Equal(t, counted-link.BatchSize, shared())
	handle(1)
	require.Equal(t, counted, shared(), "a batch that is not full may be the last for long")

	handle(link.BatchSize)
	require.Equal(t, counted-link.BatchSize, shared())
	b.now = b.now.Add(settleEvery)
	b.out.Reset()
	b.w.Tick(b.now, &b.out)
	require.Equal(t, counted, shared())
}

// Servers that share a slot are counted each for itself.
func TestTallySlots(t *testing.T) {
	var y tally
	servers := map[uint32]*ipvs.RealServer{}
	for _, i := range []uint32{1, 2, 1 + tallySlots, 1 + 2*tallySlots} {
		rs := ipvs.NewRealServer(ipvs.ServerID{}, nil, ipvs.ServerSpec{})
		rs.Index, servers[i] = i, rs
	}
	for round := range 3 {
		for i, rs := range servers {
			for range i % 7 {
				y.of(rs).in.add(100 + round)
				y.of(rs).conns++
			}
		}
	}
	y.settle()
	for i, rs := range servers {
		require.EqualValues(t, 3*(i%7), rs.Counters.InPkts.Load(), i)
		require.EqualValues(t, 303*(i%7), rs.Counters.InBytes.Load(), i)
		require.EqualValues(t, 3*(i%7), rs.Counters.Conns.Load(), i)
	}
	const times = 1 + 2 + 65%7 + 129%7
	require.Equal(t, counts{conns: 3 * times, in: sum{packets: 3 * times, bytes: 303 * times}}, y.total)
}
