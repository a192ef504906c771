package keeper

import (
	"bytes"
	"context"
	"net/netip"
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

// TestPreparer: its goroutine ends when nothing is wanted any more, and comes back.
func TestPreparer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &preparer{table: conntrack.New(conntrack.Config{}), wanted: make(chan struct{}, 1)}
		for range 2 {
			for range 3 {
				p.want()
				p.want()
				time.Sleep(linger / 2)
				require.True(t, p.running.Load())
				require.Empty(t, p.wanted)
			}
			time.Sleep(linger)
			synctest.Wait()
			require.False(t, p.running.Load())
		}
	})
}

// TestKeeper: a table grows with memory made ahead, and what a flood took is
// given back.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 75_000
		table := conntrack.New(conntrack.Config{})
		Prepare(table)
		fill(t, table, n)
		synctest.Wait()
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
