package director

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// Addresses of one network, differing in few bytes wherever those are, do not
// meet in the same cells: the low bits of their hashes tell them apart.
func TestHashesSpread(t *testing.T) {
	const n, cells = 4096, 4096
	networks := map[string]func(i int) netip.Addr{
		"last octets":  func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 50, byte(i >> 8), byte(i)}) },
		"first octets": func(i int) netip.Addr { return netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), 0, 1}) },
		"IPv6 last":    func(i int) netip.Addr { return v6With(i, 14) },
		"IPv6 host":    func(i int) netip.Addr { return v6With(i, 8) },
		"IPv6 subnet":  func(i int) netip.Addr { return v6With(i, 6) },
		"IPv6 first":   func(i int) netip.Addr { return v6With(i, 0) },
	}
	for name, addr := range networks {
		t.Run(name, func(t *testing.T) {
			var in [3][cells]int
			for i := range n {
				a := addr(i)
				in[0][hashOf(Endpoint{Addr: a})%cells]++
				in[1][hashOf(Endpoint{ipvs.TCP, a, 80})%cells]++
				in[2][hashEndpoint(Endpoint{ipvs.TCP, a, 80})%cells]++
			}
			for hash, counts := range in {
				for _, c := range counts {
					require.Less(t, c, 12, "hash %d", hash)
				}
			}
		})
	}
}

// Endpoints of one address differ as well, whatever tells them apart.
func TestHashEndpointSpreads(t *testing.T) {
	const n, cells = 4096, 4096
	for name, hash := range map[string]func(i int) uint64{
		"IPv4 ports": func(i int) uint64 { return hashOf(Endpoint{ipvs.TCP, vip, uint16(i)}) },
		"IPv6 ports": func(i int) uint64 { return hashOf(Endpoint{ipvs.TCP, vip6, uint16(i)}) },
		"marks":      func(i int) uint64 { return mix(markKey(ipvs.IPv4, uint32(i))) },
	} {
		t.Run(name, func(t *testing.T) {
			var in [cells]int
			for i := range n {
				in[hash(i)%cells]++
			}
			for _, c := range in {
				require.Less(t, c, 12)
			}
		})
	}
}

// hashOf is what an endpointMap finds e by.
func hashOf(e Endpoint) uint64 {
	if e.Addr.Is4() {
		return mix(e.word())
	}
	return hashEndpoint(e)
}

// v6With returns an address of which two bytes are i's.
func v6With(i, at int) netip.Addr {
	b := netip.MustParseAddr("2001:db8::80").As16()
	b[at], b[at+1] = byte(i>>8), byte(i)
	return netip.AddrFrom16(b)
}

// TestEndpointsAgainstMap: a set of endpoints is a set, and knows its addresses.
func TestEndpointsAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() Endpoint {
		addrs := []netip.Addr{vip, rip1, vip6, netip.AddrFrom16(vip.As16()), {}}
		return Endpoint{ipvs.Protocol(rng.IntN(3)), addrs[rng.IntN(len(addrs))], uint16(rng.IntN(3))}
	}
	set, model := NewEndpoints(), map[Endpoint]bool{}
	old, before := set.Freeze(), map[Endpoint]bool{}
	for range 3000 {
		if e := random(); rng.IntN(2) == 0 {
			set.Add(e)
			model[e] = true
		} else {
			set.Remove(e)
			delete(model, e)
		}
		is, changed := set.Freeze(), map[Endpoint]bool{}
		DiffEndpoints(&old, &is, func(e Endpoint) {
			require.NotEqual(t, before[e], model[e])
			changed[e] = true
		})
		e := random()
		require.Equal(t, model[e] != before[e], changed[e])
		require.Equal(t, model[e], is.Has(e))
		hasAddr := false
		for other := range model {
			hasAddr = hasAddr || other.Protocol == e.Protocol && other.Addr == e.Addr
		}
		require.Equal(t, hasAddr, is.HasAddr(e.Protocol, e.Addr))
		if rng.IntN(10) == 0 {
			old, before = is, map[Endpoint]bool{}
			for e := range model {
				before[e] = true
			}
		}
	}
}

func TestSetsOfNothing(t *testing.T) {
	var addrs AddrSet
	var endpoints EndpointSet
	require.False(t, addrs.Has(vip))
	require.Empty(t, addrs.Sorted())
	require.False(t, endpoints.Has(Endpoint{}))
	require.False(t, endpoints.HasAddr(0, vip))
	DiffEndpoints(&endpoints, &endpoints, func(Endpoint) { t.Fatal("no difference") })
}

func BenchmarkOwned(b *testing.B) {
	for _, n := range []int{1, 10, 1000, 10_000} {
		b.Run(fmt.Sprint(n, " addresses"), func(b *testing.B) {
			set := NewAddrs()
			for i := range n {
				set.Add(netip.AddrFrom4([4]byte{10, 50, byte(i >> 8), byte(i)}))
			}
			owned, there := set.Freeze(), netip.AddrFrom4([4]byte{10, 50, 0, 0})
			b.Run("there", func(b *testing.B) {
				for b.Loop() {
					owned.Has(there)
				}
			})
			b.Run("elsewhere", func(b *testing.B) {
				for b.Loop() {
					owned.Has(cip)
				}
			})
		})
	}
}
