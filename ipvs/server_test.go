package ipvs

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func server(spec ServerSpec) *RealServer {
	id := ServerID{Addr: netip.MustParseAddr("10.1.0.11"), Port: 80}
	return NewRealServer(id, &VirtualService{}, spec)
}

func TestSpecIsReadBack(t *testing.T) {
	spec := ServerSpec{
		Method: Tunnel, Weight: 7, UpperThreshold: 10, LowerThreshold: 3,
		Tunnel: TunnelParams{Type: GUE, Port: 6080, Flags: TunnelRemCsum},
	}
	rs := server(ServerSpec{Weight: 1})
	rs.SetSpec(spec)
	require.Equal(t, spec, rs.Spec())
	require.Equal(t, spec.Tunnel, rs.Tunnel())
}

func TestLastWeight(t *testing.T) {
	rs := server(ServerSpec{Weight: 0})
	require.Zero(t, rs.LastWeight(), "the initial weight, even 0")
	rs.SetSpec(ServerSpec{Weight: 5})
	rs.SetSpec(ServerSpec{Weight: 0})
	require.EqualValues(t, 5, rs.LastWeight(), "an edit to 0 keeps it")
	rs.Revive(ServerSpec{Weight: 0})
	require.Zero(t, rs.LastWeight(), "a server that comes back starts anew")
}

// Thresholds of ipvs.md 4.5, against the rule written down plainly.
func TestThresholds(t *testing.T) {
	for _, c := range []struct{ upper, lower uint32 }{{0, 0}, {1, 0}, {4, 0}, {5, 0}, {10, 3}, {10, 10}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			rs := server(ServerSpec{Weight: 1, UpperThreshold: c.upper, LowerThreshold: c.lower})
			rng := rand.New(rand.NewPCG(uint64(c.upper), uint64(c.lower)))
			total, overload := 0, false
			for range 500 {
				if rng.IntN(2) == 0 || total == 0 {
					rs.Bind(rng.IntN(2) == 0)
					total++
					overload = overload || c.upper != 0 && total >= int(c.upper)
				} else {
					rs.Unbind(rs.Active() > 0)
					total--
					low := float64(c.upper) * 3 / 4
					if c.lower != 0 {
						low = float64(c.lower)
					}
					if float64(total) < low {
						overload = false
					}
				}
				require.Equal(t, overload, rs.Overloaded(), "total %d", total)
				require.EqualValues(t, total, rs.References())
			}
		})
	}
}

func TestThresholdEditClearsOverload(t *testing.T) {
	rs := server(ServerSpec{UpperThreshold: 1})
	rs.Bind(true)
	require.True(t, rs.Overloaded())
	rs.SetSpec(ServerSpec{UpperThreshold: 1})
	require.True(t, rs.Overloaded(), "not raised: kept until the next bind or unbind")
	rs.SetSpec(ServerSpec{UpperThreshold: 2})
	require.False(t, rs.Overloaded(), "raised")
	rs.Bind(true)
	rs.SetSpec(ServerSpec{})
	require.False(t, rs.Overloaded(), "none any more")
}

func TestPathMTUIsForgotten(t *testing.T) {
	rs := server(ServerSpec{})
	require.Zero(t, rs.PathMTU(5))
	rs.LearnPathMTU(1400, 10)
	require.Equal(t, 1400, rs.PathMTU(9))
	require.Zero(t, rs.PathMTU(10))
}

// The way to an address is one for all servers there, and forgotten with the
// last of them.
func TestPathMTUIsTheAddresss(t *testing.T) {
	r := new(Registry)
	add := func() *RealServer {
		rs := server(ServerSpec{})
		require.True(t, r.Add(rs))
		return rs
	}
	a, b := add(), add()
	other := NewRealServer(ServerID{Addr: netip.MustParseAddr("192.0.2.99"), Port: 80}, nil, ServerSpec{})
	require.True(t, r.Add(other))
	a.LearnPathMTU(1400, 10)
	require.Equal(t, 1400, b.PathMTU(9))
	require.Zero(t, other.PathMTU(9))
	r.Remove(a)
	require.Equal(t, 1400, add().PathMTU(9), "b is still there")
	for _, rs := range []*RealServer{b, r.Get(a.Index)} {
		r.Remove(rs)
	}
	require.Zero(t, add().PathMTU(9))
}

func TestRegistry(t *testing.T) {
	r := new(Registry)
	require.Nil(t, r.Get(0))
	require.Nil(t, r.Get(registryMax))
	var all []*RealServer
	for range 3000 {
		rs := server(ServerSpec{})
		require.True(t, r.Add(rs))
		require.NotZero(t, rs.Index)
		all = append(all, rs)
	}
	for _, rs := range all {
		require.Same(t, rs, r.Get(rs.Index))
	}
	free := all[1500].Index
	r.Remove(all[1500])
	require.Nil(t, r.Get(free))
	rs := server(ServerSpec{})
	r.Add(rs)
	require.Equal(t, free, rs.Index, "a freed index is used again")
}

// TestRegistryReadersNeedNoLock: who finds a server while others are added finds
// all of it.
func TestRegistryReadersNeedNoLock(t *testing.T) {
	const servers = 5000
	r := new(Registry)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := uint32(1); i <= servers; i++ {
				rs := r.Get(i)
				for ; rs == nil; rs = r.Get(i) {
					runtime.Gosched()
				}
				if rs.Index != i || rs.PathMTU(0) != 0 {
					t.Errorf("server %d has index %d and path MTU %d", i, rs.Index, rs.PathMTU(0))
				}
			}
		})
	}
	for range servers {
		require.True(t, r.Add(server(ServerSpec{})))
	}
	wg.Wait()
}

func TestNames(t *testing.T) {
	vip := netip.MustParseAddr("10.9.0.1")
	for want, got := range map[string]fmt.Stringer{
		"TCP":             TCP,
		"IP":              ProtoIP,
		"IP_99":           Protocol(99),
		"Masq":            Masquerade,
		"Route":           DirectRoute,
		"TCP 10.9.0.1:80": ServiceID{Family: IPv4, Protocol: TCP, Addr: vip, Port: 80},
		"FWM 7":           ServiceID{Family: IPv4, Mark: 7},
		"FWM 7 IPv6":      ServiceID{Family: IPv6, Mark: 7},
		"10.9.0.1:80":     ServerID{vip, 80},
	} {
		require.Equal(t, want, got.String())
	}
	require.Equal(t, IPv6, FamilyOf(netip.MustParseAddr("::1")))
	require.Equal(t, Unspec, FamilyOf(netip.Addr{}))
}
