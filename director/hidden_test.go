package director

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

func TestHides(t *testing.T) {
	alias := netip.MustParseAddr("10.9.0.2")
	host, away := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.9.0.3")
	h := &Hidden{
		Addrs:    AddrsOf(vip),
		Services: EndpointsOf(Endpoint{ipvs.TCP, alias, 80}, Endpoint{ipvs.UDP, alias, 0}, Endpoint{0, dip1, 9}, Endpoint{ipvs.TCP, away, 80}),
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.1.0/24")},
		Servers:  EndpointsOf(Endpoint{ipvs.TCP, rip1, 80}, Endpoint{0, rip2, 0}),
	}
	marked := netip.MustParseAddr("10.9.1.5")
	tcp := func(src, dst netip.AddrPort) []byte { return segment(src, dst, wire.FlagACK, 0) }
	later := func(proto uint8, src, dst netip.Addr) []byte {
		return ethernet(packet(src, dst, proto, head{frag: 7}, make([]byte, 16)))
	}
	carried := []netip.Addr{host, alias, dip1}
	for _, c := range []struct {
		name string
		in   []byte
		want bool
	}{
		{"owned, any protocol", icmp(cip, vip, wire.ICMPEcho, 0, 0, nil), true},
		{"service", tcp(ap(cip, 1), ap(alias, 80)), true},
		{"service whose address another host has", tcp(ap(cip, 1), ap(away, 80)), false},
		{"another port", tcp(ap(cip, 1), ap(alias, 81)), false},
		{"service on every port", udp(ap(cip, 1), ap(alias, 81), 0), true},
		{"service of every protocol", udp(ap(cip, 1), ap(dip1, 9), 0), true},
		{"later fragment of a service's protocol", later(wire.ProtoTCP, cip, alias), true},
		{"later fragment to another address", later(wire.ProtoTCP, cip, host), false},
		{"echo to a service's address", icmp(cip, alias, wire.ICMPEcho, 0, 0, nil), false},
		{"marked prefix", tcp(ap(cip, 1), ap(marked, 1)), true},
		{"echo to a marked prefix", icmp(cip, marked, wire.ICMPEcho, 0, 0, nil), false},
		{"server", tcp(ap(rip1, 80), ap(cip, 1)), true},
		{"server to the host", tcp(ap(rip1, 80), ap(host, 1)), false},
		{"server, another port", tcp(ap(rip1, 81), ap(cip, 1)), false},
		{"server, later fragment", later(wire.ProtoTCP, rip1, cip), true},
		{"server, later fragment of another protocol", later(wire.ProtoUDP, rip1, cip), false},
		{"server of any protocol and port", udp(ap(rip2, 81), ap(cip, 1), 0), true},
		{"server, echo", icmp(rip1, cip, wire.ICMPEcho, 0, 0, nil), false},
		{"anybody's ICMP error", icmp(dip1, cip, wire.ICMPUnreachable, 1, 0, make([]byte, 28)), true},
		{"an ICMP error to the host", icmp(rip1, host, wire.ICMPUnreachable, 1, 0, make([]byte, 28)), false},
		{"tagged", tagged(tcp(ap(cip, 1), ap(vip, 80))), false},
	} {
		var p wire.Packet
		require.Equal(t, wire.None, p.Parse(c.in, wire.Ethernet), c.name)
		require.Equal(t, c.want, h.Hides(&p, func(a netip.Addr) bool { return slices.Contains(carried, a) }), c.name)
		require.False(t, (*Hidden)(nil).Hides(&p, nil), c.name)
		require.False(t, new(Hidden).Hides(&p, nil), c.name)
	}
}

// A mark rule without a destination concerns what the host carries, and no more.
func TestHidesLocal(t *testing.T) {
	host, away := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.9.0.3")
	for _, c := range []struct {
		name string
		h    Hidden
		in   []byte
		want bool
	}{
		{"TCP", Hidden{Local4: true}, segment(ap(cip, 1), ap(host, 22), wire.FlagACK, 0), true},
		{"UDP", Hidden{Local4: true}, udp(ap(cip, 1), ap(host, 53), 0), true},
		{"echo", Hidden{Local4: true}, icmp(cip, host, wire.ICMPEcho, 0, 0, nil), false},
		{"elsewhere", Hidden{Local4: true}, segment(ap(cip, 1), ap(away, 22), wire.FlagACK, 0), false},
		{"the other family", Hidden{Local6: true}, segment(ap(cip, 1), ap(host, 22), wire.FlagACK, 0), false},
	} {
		var p wire.Packet
		require.Equal(t, wire.None, p.Parse(c.in, wire.Ethernet), c.name)
		require.Equal(t, c.want, c.h.Hides(&p, func(a netip.Addr) bool { return a == host }), c.name)
	}
}

// A backup with --own host owns nothing: it must neither forward nor answer,
// and a connection from its time as master changes nothing about that.
func TestBackupStaysSilent(t *testing.T) {
	b := newTestbed(t)
	b.carry(vip)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")
	require.True(t, b.opened(syn(0)).IsValid(), "as master")

	b.net.Locals = b.net.Locals[:1]
	b.snap.Owned, b.snap.Hidden = AddrsOf(), &Hidden{Servers: EndpointsOf(Endpoint{ipvs.TCP, rip1, 80})}
	b.network(nothing)
	for _, in := range [][]byte{syn(0), segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 9), icmp(cip, vip, wire.ICMPEcho, 0, 0, nil)} {
		passes(t, b, b.handle(0, in))
	}
	arp := b.handle(0, arpRequest(vip))
	require.Empty(t, arp.Tx)
	require.Len(t, b.handle(1, segment(ap(rip1, 80), ap(cip, 9), wire.FlagACK, 0)).Host, 1)
}
