package director

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/marks"
	"usvs/wire"
)

func udpID(a netip.Addr, port uint16) ipvs.ServiceID {
	return ipvs.ServiceID{Family: ipvs.FamilyOf(a), Protocol: ipvs.UDP, Addr: a, Port: port}
}

func TestFragmentsAreGatheredAndCutAgain(t *testing.T) {
	b := newTestbed(t)
	b.service(udpID(vip, 53), ipvs.Masquerade, "10.2.0.11:5353")
	in := fragments(udp(ap(cip, 1), ap(vip, 53), 300), 128)
	for _, f := range in[:2] {
		require.Empty(t, b.handle(0, f).Tx)
		require.Equal(t, Consumed, b.w.seen)
	}
	out := b.handle(0, in[2])
	require.Len(t, out.Tx, 3)
	require.Equal(t, ap(rip1, 5353), ap(b.parse(out.Tx[0]).Dst, b.parse(out.Tx[0]).DstPort))

	out = b.feed(1, fragments(udp(ap(rip1, 5353), ap(cip, 1), 300), 128)...)
	require.Len(t, out.Tx, 3, "and back")
	require.Equal(t, vip, b.parse(out.Tx[2]).Src)
}

func TestRefusedFragmentsAreCounted(t *testing.T) {
	b := newTestbed(t)
	b.service(udpID(vip, 53), ipvs.Masquerade, "10.2.0.11:5353")
	in := fragments(udp(ap(cip, 1), ap(vip, 53), 300), 128)
	b.feed(0, in[0], in[0])
	require.EqualValues(t, 1, b.d.Counters()["fragment_duplicate"])
}

// The host sees a datagram's first fragment, whose port is not hidden, but not
// the later ones, which have no port.
func TestHalfHiddenDatagramIsGivenBackInFragments(t *testing.T) {
	b := newTestbed(t)
	b.carry(vip)
	b.service(udpID(vip, 53), ipvs.Masquerade, "10.2.0.11:5353")
	b.snap.Hidden = &Hidden{Services: EndpointsOf(Endpoint{ipvs.UDP, vip, 53})}
	b.publish()
	out := b.feed(0, fragments(udp(ap(cip, 1), ap(vip, 99), 300), 128)...)
	require.Empty(t, out.Pass)
	require.Len(t, out.Host, 3)
	for _, f := range out.Host {
		require.LessOrEqual(t, f.Len(), wire.EthernetLen+wire.IPv4Len+128)
	}
	out = b.feed(0, fragments(icmp(cip, vip, wire.ICMPEcho, 0, 0, make([]byte, 200)), 128)...)
	require.Len(t, out.Pass, 1, "of this one the host has seen all")
}

// Only the first fragment has the port that the mark depends on.
func TestMarkedFragments(t *testing.T) {
	b := newTestbed(t)
	other := netip.MustParseAddr("10.9.5.5")
	b.carry(other)
	b.service(ipvs.ServiceID{Family: ipvs.IPv4, Mark: 7}, ipvs.Masquerade, "10.2.0.11:0")
	b.snap.Marks4 = rules(t, marks.IPv4, "-t mangle -A PREROUTING -d 10.9.5.5 -p udp --dport 53 -j MARK --set-mark 7")
	b.publish()
	require.Len(t, b.feed(0, fragments(udp(ap(cip, 1), ap(other, 53), 300), 128)...).Tx, 3)
	require.Len(t, b.feed(0, fragments(udp(ap(cip, 1), ap(other, 54), 300), 128)...).Pass, 1)
}

func TestLargeEchoIsAnsweredInFragments(t *testing.T) {
	b := newTestbed(t)
	out := b.feed(0, fragments(icmp(cip, vip, wire.ICMPEcho, 0, 0, make([]byte, 3000)), 1480)...)
	require.Len(t, out.Tx, 3)
	require.Equal(t, Answered, b.w.seen)
}

func TestTunnelledFragments(t *testing.T) {
	b := newTestbed(t)
	b.service(udpID(vip, 53), ipvs.Tunnel, "10.2.0.11:53")
	out := b.feed(0, fragments(udp(ap(cip, 1), ap(vip, 53), 300), 128)...)
	require.NotEmpty(t, out.Tx)
	for _, f := range out.Tx {
		p := b.parse(f)
		require.EqualValues(t, wire.ProtoIPIP, p.Proto)
		require.True(t, p.Fragment)
	}
}
