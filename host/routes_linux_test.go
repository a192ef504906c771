package host

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/route"
	"usvs/wire"
)

func ipNetOf(s string) *net.IPNet {
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	return n
}

func TestRouteOf(t *testing.T) {
	ports := map[int]int{7: 0, 8: 1}
	gw, dead := net.IP{10, 0, 0, 9}, unix.RTNH_F_DEAD
	unicast := netlink.Route{Type: unix.RTN_UNICAST, Dst: ipNetOf("10.1.0.0/16"), LinkIndex: 8}
	with := func(change func(*netlink.Route)) netlink.Route {
		r := unicast
		change(&r)
		return r
	}
	prefix := netip.MustParsePrefix("10.1.0.0/16")
	via := netip.MustParseAddr("10.0.0.9")
	for _, tc := range []struct {
		name string
		in   netlink.Route
		want *route.Route
	}{
		{"on-link", unicast, &route.Route{Prefix: prefix, Kind: route.Unicast, Port: 1}},
		{"16-byte IPv4 default", with(func(r *netlink.Route) { r.Dst = &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)} }),
			&route.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Kind: route.Unicast, Port: 1}},
		{"gateway, source, MTU, metric", with(func(r *netlink.Route) { r.Gw, r.Src, r.MTU, r.Priority = gw, net.IP{10, 0, 0, 1}, 1300, 5 }),
			&route.Route{Prefix: prefix, Kind: route.Unicast, Port: 1, Via: via, Src: netip.MustParseAddr("10.0.0.1"), MTU: 1300, Metric: 5}},
		{"multipath skips a dead hop", with(func(r *netlink.Route) {
			r.LinkIndex = 0
			r.MultiPath = []*netlink.NexthopInfo{{LinkIndex: 8, Gw: net.IP{1, 1, 1, 1}, Flags: dead}, {LinkIndex: 7, Gw: gw}}
		}), &route.Route{Prefix: prefix, Kind: route.Unicast, Port: 0, Via: via}},
		{"another interface", with(func(r *netlink.Route) { r.LinkIndex = 9 }), &route.Route{Prefix: prefix, Kind: route.Foreign}},
		{"blackhole", with(func(r *netlink.Route) { r.Type = unix.RTN_BLACKHOLE }), &route.Route{Prefix: prefix}},
		{"anycast", with(func(r *netlink.Route) { r.Type = unix.RTN_ANYCAST }), &route.Route{Prefix: prefix, Kind: route.Local}},
		{"dead", with(func(r *netlink.Route) { r.Flags = dead }), nil},
		{"for a type of service", with(func(r *netlink.Route) { r.Tos = 16 }), nil},
		{"without destination", with(func(r *netlink.Route) { r.Dst = nil }), nil},
		{"IPv4 in IPv6", with(func(r *netlink.Route) { r.Dst = ipNetOf("::ffff:0:0/96") }), nil},
	} {
		got, ok := routeOf(&tc.in, ports)
		assert.Equal(t, tc.want != nil, ok, tc.name)
		if ok && tc.want != nil {
			assert.Equal(t, *tc.want, got, tc.name)
		}
	}
}

// TestInterfaceOf: a TUN device has no link header.
func TestInterfaceOf(t *testing.T) {
	attrs := &netlink.LinkAttrs{Name: "tun0", EncapType: "none", MTU: 1400, Flags: net.FlagUp, RawFlags: unix.IFF_UP | unix.IFF_RUNNING}
	assert.Equal(t, route.Interface{Name: "tun0", Medium: wire.IP, MTU: 1400, Up: true}, interfaceOf(attrs))
	attrs.RawFlags = unix.IFF_UP
	attrs.EncapType = "ether"
	got := interfaceOf(attrs)
	assert.False(t, got.Up, "no carrier")
	assert.Equal(t, wire.Ethernet, got.Medium)
}

// TestPrefixSet compares with members looked at one by one.
func TestPrefixSet(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	random := func() netip.Prefix {
		if r.IntN(2) == 0 {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(r.IntN(4)) << 6, byte(r.IntN(2))}), r.IntN(33))
		}
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{byte(r.IntN(4)) << 6, 15: byte(r.IntN(2))}), r.IntN(129))
	}
	for range 200 {
		set := prefixSet{prefixes: map[netip.Prefix]struct{}{}}
		var members []netip.Prefix
		for range r.IntN(5) {
			p := random()
			set.add(p)
			members = append(members, p)
		}
		for range 50 {
			p := random()
			want := false
			for _, m := range members {
				want = want || m.Bits() <= p.Bits() && m.Contains(p.Addr())
			}
			require.Equal(t, want, set.covers(p), "seed %d: %v in %v", seed, p, members)
		}
	}
}

func TestUsableAddress(t *testing.T) {
	for _, tc := range []struct {
		name  string
		flags int
		want  bool
	}{
		{"IPv4", unix.IFA_F_PERMANENT, true},
		{"secondary", unix.IFA_F_PERMANENT | unix.IFA_F_SECONDARY, true},
		{"nodad", unix.IFA_F_PERMANENT | unix.IFA_F_NODAD, true},
		{"still checked", unix.IFA_F_PERMANENT | unix.IFA_F_TENTATIVE, false},
		{"a duplicate", unix.IFA_F_PERMANENT | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED, false},
		{"optimistic", unix.IFA_F_PERMANENT | unix.IFA_F_TENTATIVE | unix.IFA_F_OPTIMISTIC, true},
	} {
		assert.Equal(t, tc.want, usable(tc.flags), tc.name)
	}
}
