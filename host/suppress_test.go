package host

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/director"
)

func TestSetsOf(t *testing.T) {
	keys := func(e elements) (out []string) {
		for k := range e {
			out = append(out, k)
		}
		return out
	}
	sets := setsOf(&director.Hidden{
		Addrs: map[netip.Addr]struct{}{vip4: {}, vip6: {}},
		Services: map[director.Endpoint]struct{}{
			{Protocol: 6, Addr: vip4, Port: 80}: {}, {Protocol: 0, Addr: vip4}: {},
		},
		Servers: map[director.Endpoint]struct{}{{Protocol: 17, Addr: vip6, Port: 0x1234}: {}},
	})
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

	for _, s := range setsOf(nil) {
		assert.Empty(t, s.addrs)
		assert.Empty(t, s.icmpErrors)
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
