package keeper

import (
	"bytes"
	"context"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

const start = clock.Instant(time.Hour)

// fill inserts n connections.
func fill(t *testing.T, table *conntrack.Table, n int) {
	var c conntrack.Conn
	virtual := netip.MustParseAddrPort("192.0.2.1:80")
	for i := range n {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1024)
		spec := &conntrack.Spec{Protocol: ipvs.TCP, Client: client, Virtual: virtual, Real: client}
		if r := table.Insert(start, spec, &c); r != conntrack.Inserted {
			t.Fatal(r)
		}
	}
}

// TestProvide: any piece of memory stays what it was.
func TestProvide(t *testing.T) {
	provide(nil)
	for _, n := range []int{1, pageSize - 1, pageSize, 3<<20 + 1} {
		b := make([]byte, n+1)
		b[n] = 1
		provide(b[:n])
		require.Equal(t, n, bytes.Count(b[:n], []byte{0}))
		require.EqualValues(t, 1, b[n])
	}
}

// preparing is how many goroutines make memory.
func preparing() int {
	b := make([]byte, 1<<20)
	return bytes.Count(b[:runtime.Stack(b, true)], []byte("created by usvs/conntrack/keeper.Prepare in "))
}

// TestPrepareMeanwhile: a table grows with memory made ahead, and when nobody has
// it any more, its goroutine ends.
func TestPrepareMeanwhile(t *testing.T) {
	table := conntrack.New(conntrack.Config{})
	Prepare(table)
	require.Equal(t, 1, preparing())
	const n = 75_000
	fill(t, table, n)
	require.Equal(t, n, table.Len())
	table = nil
	for end := time.Now().Add(time.Minute); preparing() > 0; runtime.GC() {
		require.True(t, time.Now().Before(end), "it goes on")
		time.Sleep(time.Millisecond)
	}
}

// TestTrimMeanwhile: what a flood took is given back.
func TestTrimMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 75_000
		table := conntrack.New(conntrack.Config{})
		fill(t, table, n)
		require.Equal(t, n, table.Len())

		ctx, stop := context.WithCancel(t.Context())
		go Trim(ctx, table)
		for end := start.Add(time.Minute); table.Tick(end, 1<<20) <= end; {
		}
		require.Zero(t, table.Len())
		time.Sleep(2 * trimEvery)
		synctest.Wait()
		dropped, more := table.Trim(1 << 20)
		require.Zero(t, dropped, "it was trimmed")
		require.False(t, more)
		stop()
		synctest.Wait()
	})
}
