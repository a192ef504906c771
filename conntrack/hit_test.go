package conntrack

import (
	"net/netip"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// TestHitLongTimeouts: timeouts that do not fit beside an expiry are told apart,
// whether they are those that are set or two connections' own.
func TestHitLongTimeouts(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	conns := make([]Conn, 2)
	begin := func(i int, secs uint32) {
		table.SetTimeouts(ipvs.Timeouts{TCP: secs})
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[0]), &conns[i]))
		require.True(t, table.Packet(t0, &conns[i], DirIn, tcpACK))
	}
	begin(0, 20000)
	begin(1, 30000)

	now := t0.Add(time.Second)
	var h Hot // of both, as the packets of a batch have it
	try := func(i int, ev Event) bool {
		return hit(table, now, DirIn, ipvs.TCP, conns[i].Client, conns[i].Virtual, ev, &h)
	}
	requireEnd := func(i int, begun clock.Instant, secs time.Duration) {
		t.Helper()
		require.True(t, table.Get(conns[i].Ref, &conns[i]))
		require.Equal(t, begun.Add(secs*time.Second), conns[i].Expires)
		require.Equal(t, secs*time.Second, conns[i].Timeout)
	}
	require.False(t, try(0, tcpACK), "its timeout is not the one that is set")
	requireEnd(0, t0, 20000)
	require.True(t, try(1, tcpACK))
	requireEnd(1, now, 30000)
	require.True(t, try(0, EventNone), "it keeps its own")
	requireEnd(0, now, 20000)
	require.True(t, try(1, EventNone))
	requireEnd(1, now, 30000)

	table.SetTimeouts(ipvs.Timeouts{TCP: 20000})
	now = now.Add(time.Second)
	require.True(t, try(0, tcpACK))
	requireEnd(0, now, 20000)
	require.False(t, try(1, tcpACK), "another is set now")
	require.True(t, table.Packet(now, &conns[1], DirIn, tcpACK))
	require.True(t, try(1, tcpACK))
	requireEnd(1, now, 20000)
}

// TestHitAfterGrowth: of two connections of which a packet from a server may be,
// it is the one that LookupOut finds, even if both were moved to another bucket
// since its probe was touched.
func TestHitAfterGrowth(t *testing.T) {
	reg, all := servers(1, ipvs.Masquerade)
	table := newTable(Config{Seed: 7, Shards: 1, Servers: reg}, 4)
	var c Conn
	insert := func(n int, virtual netip.AddrPort) {
		spec := tcpSpec(n, all[0])
		spec.Virtual = virtual
		require.Equal(t, Inserted, table.Insert(t0, spec, &c))
		require.True(t, table.Packet(t0, &c, DirIn, tcpACK))
		require.True(t, table.Packet(t0, &c, DirOut, tcpACK))
	}
	probes := make([]Probe, 6)
	for n := range probes {
		insert(n, ap("10.9.0.2:80")) // the lower number, but the later in order
		insert(n, testVIP)
		probes[n] = aimed(table, DirOut, ipvs.TCP, client(n), serverAddr(all[0]))
	}
	table.Touch(probes)
	for n := len(probes); table.Buckets() < 64; n++ {
		insert(n, testVIP)
	}
	for range table.Buckets() {
		table.settle()
	}
	moved := 0
	for n := range probes {
		var h Hot
		require.True(t, table.LookupOut(t0, ipvs.TCP, serverAddr(all[0]), client(n), &c))
		require.Equal(t, testVIP, c.Virtual)
		if probes[n].bucket != table.shard(probes[n].hash).bucket(probes[n].hash) {
			moved++
		}
		if table.Hit(t0, &probes[n], tcpACK, &h) {
			requireHot(t, &c, &h)
		}
	}
	require.Greater(t, moved, 2)
}
