package host

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/ipvs"
)

func TestKeys(t *testing.T) {
	keys := func(e elements) (out []string) {
		for k := range e {
			out = append(out, k)
		}
		return out
	}
	sets := difference(new(director.Hidden), &director.Hidden{
		Addrs:    director.AddrsOf(vip4, vip6),
		Services: director.EndpointsOf(director.Endpoint{Protocol: 6, Addr: vip4, Port: 80}, director.Endpoint{Protocol: 0, Addr: vip4}),
		Servers:  director.EndpointsOf(director.Endpoint{Protocol: 17, Addr: vip6, Port: 0x1234}),
	}).added
	v4, v6 := sets[0], sets[1]
	assert.Equal(t, []string{"\xc0\x00\x02\x50"}, keys(v4.addrs))
	assert.Equal(t, []string{string(vip6.AsSlice())}, keys(v6.addrs))
	assert.Equal(t, []string{"\x06\x00\x00\x00\xc0\x00\x02\x50\x00\x50\x00\x00"}, keys(v4.services))
	assert.ElementsMatch(t, []string{
		"\x06\x00\x00\x00\xc0\x00\x02\x50", "\x11\x00\x00\x00\xc0\x00\x02\x50", "\x84\x00\x00\x00\xc0\x00\x02\x50",
	}, keys(v4.anyPort))
	assert.Len(t, v4.laterFrag, 3)
	assert.Empty(t, v4.servers)
	assert.Equal(t, []string{"\x11\x00\x00\x00" + string(vip6.AsSlice()) + "\x12\x34\x00\x00"}, keys(v6.servers))
	assert.Len(t, v6.serverLaterFrag, 1)
	assert.ElementsMatch(t, []string{"\x03", "\x04", "\x0b"}, keys(v4.icmpErrors))
	assert.Len(t, v6.icmpErrors, 128)
}

// keysOf are all keys that something hidden has, made one by one.
func keysOf(h *director.Hidden) [2]*hiddenSets {
	sets := [2]*hiddenSets{newHiddenSets(), newHiddenSets()}
	for a := range h.Addrs.All() {
		sets[familyIndex(a)].addrs.add(a.AsSlice())
	}
	add := func(e director.Endpoint, k endpointKeys) {
		for _, p := range protocolsOf(e) {
			e.Protocol = p
			k.add(e)
			k.addAddr(e)
		}
	}
	for e := range h.Services.All() {
		s := sets[familyIndex(e.Addr)]
		add(e, endpointKeys{s.services, s.anyPort, s.laterFrag})
	}
	for e := range h.Servers.All() {
		s := sets[familyIndex(e.Addr)]
		add(e, endpointKeys{s.servers, s.serverAnyPort, s.serverLaterFrag})
	}
	for i, s := range sets {
		if []bool{h.Local4, h.Local6}[i] {
			s.addBalanced()
		}
		if h.Servers.Len() > 0 {
			s.addICMPErrors(i)
		}
	}
	return sets
}

// each pairs the sets of two.
func (s *hiddenSets) each(o *hiddenSets, do func(a, b elements)) {
	for _, p := range [][2]elements{
		{s.addrs, o.addrs}, {s.services, o.services}, {s.anyPort, o.anyPort}, {s.laterFrag, o.laterFrag}, {s.anyAddr, o.anyAddr},
		{s.servers, o.servers}, {s.serverAnyPort, o.serverAnyPort}, {s.serverLaterFrag, o.serverLaterFrag}, {s.icmpErrors, o.icmpErrors},
	} {
		do(p[0], p[1])
	}
}

// TestDifference: what was hidden, less what a difference removes and with what
// it adds, is what is hidden; nothing is added that is there, or removed that is not.
func TestDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 0))
	addrs, services, servers := director.NewAddrs(), director.NewEndpoints(), director.NewEndpoints()
	random := func() director.Endpoint {
		a := []netip.Addr{vip4, vip6, host4}[r.IntN(3)]
		return director.Endpoint{Protocol: []ipvs.Protocol{0, 6, 17}[r.IntN(3)], Addr: a, Port: uint16(r.IntN(3))}
	}
	old, have := new(director.Hidden), keysOf(new(director.Hidden))
	for range 500 {
		for range r.IntN(6) {
			switch e := random(); r.IntN(6) {
			case 0:
				addrs.Add(e.Addr)
			case 1:
				addrs.Remove(e.Addr)
			case 2:
				services.Add(e)
			case 3:
				services.Remove(e)
			case 4:
				servers.Add(e)
			case 5:
				servers.Remove(e)
			}
		}
		is := &director.Hidden{Addrs: addrs.Freeze(), Services: services.Freeze(), Servers: servers.Freeze(), Local4: r.IntN(2) == 0, Local6: r.IntN(2) == 0}
		c := difference(old, is)
		changed := false
		for i := range have {
			have[i].each(c.removed[i], func(have, removed elements) {
				for k := range removed {
					require.Contains(t, have, k)
					delete(have, k)
					changed = true
				}
			})
			have[i].each(c.added[i], func(have, added elements) {
				for k := range added {
					require.NotContains(t, have, k)
					have[k] = struct{}{}
					changed = true
				}
			})
		}
		require.Equal(t, keysOf(is), have)
		require.False(t, changed && old.Same(is), "something changed")
		require.True(t, is.Same(is))
		old = is
	}
}

// TestMergeRanges compares with prefixes looked at one by one.
func TestMergeRanges(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var prefixes []netip.Prefix
		for range r.IntN(8) {
			if r.IntN(2) == 0 {
				a := netip.AddrFrom4([4]byte{byte(r.IntN(4)) << 6, 0, 0, byte(r.IntN(4)) << 6})
				prefixes = append(prefixes, netip.PrefixFrom(a, r.IntN(33)))
				continue
			}
			a := netip.AddrFrom16([16]byte{0: byte(r.IntN(4)) << 6, 15: byte(r.IntN(4)) << 6})
			prefixes = append(prefixes, netip.PrefixFrom(a, r.IntN(129)))
		}
		merged := mergeRanges(prefixes)
		for i, ranges := range merged {
			for j := 1; j < len(ranges); j++ {
				require.Negative(t, ranges[j-1].to.Compare(ranges[j].from), "seed %d: disjoint and in order", seed)
			}
			for range 50 {
				a := netip.AddrFrom4([4]byte{byte(r.IntN(256)), 0, 0, byte(r.IntN(256))})
				if i == 1 {
					a = netip.AddrFrom16([16]byte{0: byte(r.IntN(256)), 15: byte(r.IntN(256))})
				}
				require.Equal(t, inPrefixes(prefixes, a), inRanges(ranges, a), "seed %d: %v in %v", seed, a, prefixes)
			}
		}
	}
}

func inPrefixes(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func inRanges(ranges []addrRange, a netip.Addr) bool {
	for _, r := range ranges {
		if r.from.Compare(a) <= 0 && a.Compare(r.to) <= 0 {
			return true
		}
	}
	return false
}
