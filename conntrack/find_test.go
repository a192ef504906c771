package conntrack

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// find is FindIn4 or FindOut4 of a packet between client and peer, the virtual
// service or the server.
func find(t *Table, now clock.Instant, dir Dir, proto ipvs.Protocol, client, peer netip.AddrPort) (Ref, *ipvs.RealServer) {
	if dir == DirIn {
		return t.FindIn4(now, uint8(proto), word4(client.Addr()), word4(peer.Addr()), client.Port(), peer.Port())
	}
	return t.FindOut4(now, uint8(proto), word4(peer.Addr()), word4(client.Addr()), peer.Port(), client.Port())
}

// requireFound verifies that an IPv4 packet's connection is found, and is that
// which the lookups that copy find.
func requireFound(t testing.TB, table *Table, now clock.Instant, dir Dir, proto ipvs.Protocol, client, peer netip.AddrPort) {
	t.Helper()
	if !client.Addr().Is4() || !peer.Addr().Is4() {
		return
	}
	var c Conn
	found := table.LookupIn
	if dir == DirOut {
		found = func(now clock.Instant, proto ipvs.Protocol, client, peer netip.AddrPort, c *Conn) bool {
			return table.LookupOut(now, proto, peer, client, c)
		}
	}
	ref, rs := find(table, now, dir, proto, client, peer)
	if !found(now, proto, client, peer, &c) {
		require.Equal(t, Ref{}, ref)
		require.Nil(t, rs)
		return
	}
	require.Equal(t, c.Ref, ref)
	require.Same(t, c.Server, rs)
}

// TestFind: the connection of a packet in either direction, by method, until its
// time is over.
func TestFind(t *testing.T) {
	for _, method := range []ipvs.ForwardMethod{ipvs.Masquerade, ipvs.DirectRoute, ipvs.Tunnel} {
		reg, all := servers(2, method)
		table := New(Config{Seed: 1, Servers: reg})
		var c Conn
		const n = 5000 // so many that some overflow their buckets
		for i := range n {
			require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[i%2]), &c))
		}
		last := t0.Add(newTimeout) - 1
		for i := range n {
			peer := testVIP
			if method == ipvs.Masquerade {
				peer = serverAddr(all[i%2])
			}
			for _, now := range []clock.Instant{t0, last} {
				ref, rs := find(table, now, DirIn, ipvs.TCP, client(i), testVIP)
				require.False(t, ref.IsZero())
				require.Same(t, all[i%2], rs)
				requireFound(t, table, now, DirIn, ipvs.TCP, client(i), testVIP)
				_, rs = find(table, now, DirOut, ipvs.TCP, client(i), peer)
				require.Same(t, all[i%2], rs)
				requireFound(t, table, now, DirOut, ipvs.TCP, client(i), peer)
			}
			for _, dir := range []Dir{DirIn, DirOut} {
				for _, other := range []netip.AddrPort{ap("10.9.0.77:80"), netip.AddrPortFrom(peer.Addr(), 81)} {
					ref, _ := find(table, t0, dir, ipvs.TCP, client(i), other)
					require.True(t, ref.IsZero())
				}
				ref, _ := find(table, t0, dir, ipvs.UDP, client(i), peer)
				require.True(t, ref.IsZero())
				ref, _ = find(table, last+1, dir, ipvs.TCP, client(i), peer)
				require.True(t, ref.IsZero(), "its time is over")
			}
		}
	}
}

// TestFindBypass: a connection without a real server is found nevertheless.
func TestFindBypass(t *testing.T) {
	table := New(Config{Seed: 1})
	var c Conn
	n := Spec{Protocol: ipvs.TCP, Client: client(1), Virtual: testVIP, Real: testVIP, Method: ipvs.Bypass}
	require.Equal(t, Inserted, table.Insert(t0, &n, &c))
	requireFound(t, table, t0, DirIn, ipvs.TCP, client(1), testVIP)
	ref, rs := find(table, t0, DirIn, ipvs.TCP, client(1), testVIP)
	require.Equal(t, c.Ref, ref)
	require.Nil(t, rs)
}

// TestFindTwinBeyond: of two connections that a server might answer, that is found
// which LookupOut finds, wherever the other is in what the bucket overflows into.
func TestFindTwinBeyond(t *testing.T) {
	for first := range 2 * lineSlots {
		for second := first + 1; second <= 2*lineSlots; second++ {
			reg, all := servers(1, ipvs.Masquerade)
			table := newTable(Config{Seed: 1, Shards: 1, Servers: reg}, 4)
			var c Conn
			b := bucketOf(table.key(ipvs.TCP, client(0), testVIP, false).hash, 4)
			for i, next := 0, 1; i <= 2*lineSlots; i, next = i+1, next+1 {
				spec := tcpSpec(0, all[0])
				switch i {
				case first:
				case second:
					spec.Virtual = ap("10.9.0.78:80")
				default:
					for bucketOf(table.key(ipvs.TCP, client(next), testVIP, false).hash, 4) != b {
						next++
					}
					spec = tcpSpec(next, all[0])
				}
				require.Equal(t, Inserted, table.Insert(t0, spec, &c))
			}
			requireFound(t, table, t0, DirIn, ipvs.TCP, client(0), testVIP)
			requireFound(t, table, t0, DirIn, ipvs.TCP, client(0), ap("10.9.0.78:80"))
			requireFound(t, table, t0, DirOut, ipvs.TCP, client(0), serverAddr(all[0]))
		}
	}
}

// TestFindAllocates nothing, nor does what it falls back on.
func TestFindAllocates(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Seed: 1, Servers: reg})
	var c Conn
	table.Insert(t0, tcpSpec(1, all[0]), &c)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for _, dir := range []Dir{DirIn, DirOut} {
			find(table, t0, dir, ipvs.TCP, client(1), testVIP)
			find(table, t0, dir, ipvs.TCP, client(2), testVIP)
		}
	}))
}

// TestFindConcurrently: while others come and go in their places, those that
// stay are always found, with their own server.
func TestFindConcurrently(t *testing.T) {
	reg, all := servers(4, ipvs.DirectRoute)
	table := newTable(Config{Seed: 1, Shards: 1, Servers: reg}, 4)
	var c Conn
	const stay = 16
	for i := range stay {
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[i%4]), &c))
	}
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			var c Conn
			for i := range 4000 {
				if table.Insert(t0, tcpSpec(1000*(w+1)+i%300, all[i%4]), &c) == Inserted && i%3 > 0 {
					table.Expire(t0, c.Ref)
				}
			}
		})
	}
	for i := range 20_000 {
		i %= stay
		for _, dir := range []Dir{DirIn, DirOut} {
			if _, rs := find(table, t0, dir, ipvs.TCP, client(i), testVIP); rs != all[i%4] {
				t.Errorf("%v of client %d: %v", dir, i, rs)
			}
		}
	}
	wg.Wait()
}

// TestPickHasNoBranches: the compiler makes jumps of a minimum where it sees an
// address made from it, and every second of them would be guessed wrong.
func TestPickHasNoBranches(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package")
	}
	cmd := exec.Command("go", "build", "-gcflags=-S", ".")
	cmd.Env = append(os.Environ(), "GOARCH=amd64", "GOOS=linux", "GOFLAGS=")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, string(text))
	_, body, ok := strings.Cut(string(text), "usvs/conntrack.(*line).pick STEXT")
	require.True(t, ok, "it must not be inlined")
	body, _, _ = strings.Cut(body, " STEXT")
	require.Regexp(t, `\tCMOVQ`, body)
	require.NotRegexp(t, `\)\tJ[A-Z]+\t`, body)
}
