package route

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLookup(t *testing.T) {
	pfx, addr := netip.MustParsePrefix, netip.MustParseAddr
	tab := New(Config{
		Interfaces: []Interface{
			{Name: "eth0", MTU: 1500, Addrs: []netip.Prefix{pfx("10.1.0.1/16"), pfx("fd00:1::1/64")}},
			{Name: "eth1", MTU: 1400, Addrs: []netip.Prefix{pfx("10.2.0.1/16"), pfx("10.9.0.1/32")}},
		},
		Locals: []netip.Addr{addr("127.0.0.1")},
		Routes: []Route{
			{Prefix: pfx("0.0.0.0/0"), Kind: Unicast, Port: 0, Via: addr("10.1.0.254")},
			{Prefix: pfx("10.1.0.0/16"), Kind: Unicast, Port: 0},
			{Prefix: pfx("10.2.0.0/16"), Kind: Unicast, Port: 1},
			{Prefix: pfx("10.2.0.0/16"), Kind: Unicast, Port: 0, Metric: 10},
			{Prefix: pfx("10.3.0.0/16"), Kind: Unicast, Port: 1, Via: addr("10.2.0.254"), MTU: 1300},
			{Prefix: pfx("10.4.0.0/16"), Kind: Foreign},
			{Prefix: pfx("10.5.0.0/16"), Kind: None},
			{Prefix: pfx("fd00:1::/64"), Kind: Unicast, Port: 0},
		},
	})
	for _, c := range []struct{ dst, want string }{
		{"8.8.8.8", "1 0 10.1.0.254 10.1.0.1 1500"},
		{"10.1.200.3", "1 0 10.1.200.3 10.1.0.1 1500"},
		{"10.2.0.9", "1 1 10.2.0.9 10.2.0.1 1400"},
		{"10.3.255.255", "1 1 10.2.0.254 10.2.0.1 1300"},
		{"10.9.0.1", "2 0 10.9.0.1 10.9.0.1 0"},
		{"127.0.0.1", "2 0 127.0.0.1 127.0.0.1 0"},
		{"10.4.0.1", "3 0 10.4.0.1 invalid IP 0"},
		{"10.5.0.1", "0 0 10.5.0.1 invalid IP 0"},
		{"fd00:1::7", "1 0 fd00:1::7 fd00:1::1 1500"},
		{"fd00:2::7", "0 0 invalid IP invalid IP 0"},
		{"255.255.255.255", "1 0 10.1.0.254 10.1.0.1 1500"},
	} {
		h := tab.Lookup(addr(c.dst))
		if h.Kind == None {
			h.Via = netip.Addr{}
			c.want = "0 0 invalid IP invalid IP 0"
		}
		require.Equal(t, c.want, fmt.Sprint(h.Kind, h.Port, h.Via, h.Src, h.MTU), c.dst)
	}
	require.True(t, tab.IsLocal(addr("10.9.0.1")))
	require.False(t, tab.IsLocal(addr("10.9.0.2")))
}

// The model: scan every route for the longest prefix that contains the address.
func TestLookupAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		ifs := []Interface{{MTU: 1500}, {MTU: 1500}, {MTU: 1500}, {MTU: 1500}}
		var routes []Route
		for range rng.IntN(40) {
			a := netip.AddrFrom4([4]byte{byte(rng.IntN(3)), byte(rng.IntN(4) * 64), byte(rng.IntN(2) * 255), byte(rng.IntN(256))})
			routes = append(routes, Route{Prefix: netip.PrefixFrom(a, rng.IntN(33)), Kind: Unicast, Port: rng.IntN(4), Metric: rng.IntN(3)})
		}
		tab := New(Config{Interfaces: ifs, Routes: routes})
		for range 200 {
			a := netip.AddrFrom4([4]byte{byte(rng.IntN(4)), byte(rng.IntN(256)), byte(rng.IntN(256)), byte(rng.IntN(256))})
			best := -1
			for i, r := range routes {
				if !r.Prefix.Contains(a) {
					continue
				}
				if best < 0 || r.Prefix.Bits() > routes[best].Prefix.Bits() ||
					r.Prefix.Bits() == routes[best].Prefix.Bits() && r.Metric < routes[best].Metric {
					best = i
				}
			}
			h := tab.Lookup(a)
			if best < 0 {
				require.Equal(t, None, h.Kind, "seed %d, %v", seed, a)
				continue
			}
			require.Equal(t, Unicast, h.Kind, "seed %d, %v", seed, a)
			require.Equal(t, routes[best].Port, h.Port, "seed %d, %v", seed, a)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	tab := New(Config{Interfaces: []Interface{{MTU: 1500}}, Routes: []Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Kind: Unicast}}})
	a := netip.MustParseAddr("10.0.0.1")
	require.Zero(t, testing.AllocsPerRun(100, func() { tab.Lookup(a) }))
}

// Addresses that end as one of the host's are told from it.
func TestIsLocalAmongAlike(t *testing.T) {
	addr := netip.MustParseAddr
	locals := []netip.Addr{addr("10.9.0.1"), addr("fd00::1"), addr("10.0.0.0"), addr("fd00::ff07")}
	tab := New(Config{Locals: locals})
	for _, prefix := range []string{"10.9.0.0/24", "10.0.0.0/24", "fd00::/120", "fd00::ff00/120", "::ffff:10.9.0.0/120"} {
		a := netip.MustParsePrefix(prefix).Addr()
		for range 256 {
			require.Equal(t, slices.Contains(locals, a), tab.IsLocal(a), a)
			a = a.Next()
		}
	}
	require.False(t, tab.IsLocal(netip.Addr{}))
	require.False(t, New(Config{}).IsLocal(netip.Addr{}))
}
