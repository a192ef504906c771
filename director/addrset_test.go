package director

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// Addresses of one network, differing in few bytes wherever those are, do not
// meet in the same slots: a set of thousands is searched in a few steps.
func TestAddrSetSpreads(t *testing.T) {
	const n = 4096
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
			addrs := make([]netip.Addr, n)
			for i := range addrs {
				addrs[i] = addr(i)
			}
			s := newAddrSet(addrs)
			steps := 0
			for _, a := range addrs {
				require.True(t, s.has(a))
				for i := hashAddr(a) & s.mask; s.slots[i] != a; i = (i + 1) & s.mask {
					steps++
				}
			}
			require.Less(t, steps, 2*n, "steps beyond the first slot")
			require.False(t, s.has(addr(n)))
		})
	}
}

// v6With returns an address of which two bytes are i's.
func v6With(i, at int) netip.Addr {
	b := netip.MustParseAddr("2001:db8::80").As16()
	b[at], b[at+1] = byte(i>>8), byte(i)
	return netip.AddrFrom16(b)
}
