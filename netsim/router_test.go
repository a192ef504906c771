package netsim

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// path is client - router - server, the second link with its own MTU.
type routedPath struct {
	*Net
	client, router, server *Host
	rec                    *Recorder
	errors                 []string
}

func newPath(t testing.TB, mtu int) *routedPath {
	p := &routedPath{Net: New(1)}
	p.client, p.router, p.server = p.Host("client"), p.Router("r"), p.Host("server")
	p.Link(p.client.NIC("eth0", "192.0.2.9/24", "2001:db8:1::9/64"), p.router.NIC("eth0", "192.0.2.1/24", "2001:db8:1::1/64"))
	far := p.router.NIC("eth1", "10.0.0.1/24", "2001:db8:2::1/64")
	near := p.server.NIC("eth0", "10.0.0.2/24", "2001:db8:2::2/64")
	p.Link(far, near)
	far.SetMTU(mtu)
	near.SetMTU(mtu)
	for h, gw := range map[*Host][2]string{p.client: {"192.0.2.1", "2001:db8:1::1"}, p.server: {"10.0.0.1", "2001:db8:2::1"}} {
		h.MustExec("ip route add default via " + gw[0])
		h.MustExec("ip -6 route add default via " + gw[1])
	}
	p.client.OnICMPError(func(e ICMPError) { p.errors = append(p.errors, e.Error()) })
	p.rec = p.Record()
	return p
}

func (p *routedPath) ping(t testing.TB, to string, o PingOptions) (got []PingReply) {
	require.NoError(t, p.client.Ping(netip.MustParseAddr(to), o, func(r PingReply) { got = append(got, r) }))
	p.Run(5 * time.Second)
	return got
}

func TestRouterForwards(t *testing.T) {
	p := newPath(t, 1500)
	for _, to := range []string{"10.0.0.2", "2001:db8:2::2"} {
		got := p.ping(t, to, PingOptions{Size: 1000})
		require.Len(t, got, 1)
		require.Equal(t, uint8(63), got[0].TTL)
		require.Equal(t, 1000, got[0].Size)
	}
	require.Empty(t, p.errors)
}

func TestRouterErrors(t *testing.T) {
	p := newPath(t, 1400)
	require.Empty(t, p.ping(t, "10.0.0.2", PingOptions{PacketOptions: PacketOptions{TTL: 1}}))
	require.Empty(t, p.ping(t, "2001:db8:2::2", PingOptions{PacketOptions: PacketOptions{TTL: 1}}))
	require.Empty(t, p.ping(t, "203.0.113.1", PingOptions{}))
	require.Empty(t, p.ping(t, "10.0.0.77", PingOptions{}))
	require.Equal(t, []string{
		"192.0.2.1: ICMP time exceeded", "2001:db8:1::1: ICMP time exceeded",
		"192.0.2.1: ICMP network unreachable", "192.0.2.1: ICMP host unreachable",
	}, p.errors)
	require.Contains(t, p.LogText(), "r: 10.0.0.77 does not answer ARP on eth1")
}

func TestPathMTU(t *testing.T) {
	p := newPath(t, 1400)
	require.Empty(t, p.ping(t, "10.0.0.2", PingOptions{Size: 1450, PacketOptions: PacketOptions{DontFragment: true}}))
	require.Equal(t, []string{"192.0.2.1: ICMP fragmentation needed (mtu 1400)"}, p.errors)
	require.Equal(t, 1400, p.client.PathMTU(netip.MustParseAddr("10.0.0.2")))
	err := p.client.Ping(netip.MustParseAddr("10.0.0.2"), PingOptions{Size: 1450, PacketOptions: PacketOptions{DontFragment: true}}, func(PingReply) {})
	require.Equal(t, ErrTooLong{1400}, err)
	require.Len(t, p.ping(t, "10.0.0.2", PingOptions{Size: 1450}), 1, "without DF it goes in fragments")
	p.Run(pmtuTime)
	require.Equal(t, 1500, p.client.PathMTU(netip.MustParseAddr("10.0.0.2")), "forgotten after ten minutes")

	p.errors = nil
	require.Empty(t, p.ping(t, "2001:db8:2::2", PingOptions{Size: 1420}))
	require.Equal(t, []string{"2001:db8:1::1: ICMP packet too big (mtu 1400)"}, p.errors)
	require.Len(t, p.ping(t, "2001:db8:2::2", PingOptions{Size: 1420}), 1, "the second time in fragments")
}

func TestRouterFragments(t *testing.T) {
	p := newPath(t, 600)
	require.Len(t, p.ping(t, "10.0.0.2", PingOptions{Size: 1400}), 1)
	pieces := 0
	for _, r := range p.rec.Records {
		var pk wire.Packet
		if r.To.Node() == p.server && pk.Parse(r.Data, wire.Ethernet) == wire.None && pk.Fragment {
			require.LessOrEqual(t, pk.IPLen(), 600)
			pieces++
		}
	}
	require.Equal(t, 3, pieces)
}

func TestLargeDatagrams(t *testing.T) {
	p := newPath(t, 1500)
	echo(t, p.server, "[::]:7")
	for _, to := range []string{"10.0.0.2:7", "[2001:db8:2::2]:7"} {
		u, err := p.client.UDP(netip.AddrPort{})
		require.NoError(t, err)
		size := 0
		u.OnReceive = func(d Datagram) { size = len(d.Payload) }
		require.NoError(t, u.Send(addrPort(to), make([]byte, 20000)))
		p.Run(time.Second)
		require.Equal(t, 20000+len("server "), size)
	}
}

func TestPortUnreachable(t *testing.T) {
	p := newPath(t, 1500)
	for _, to := range []string{"10.0.0.2:99", "[2001:db8:2::2]:99"} {
		u, err := p.client.UDP(netip.AddrPort{})
		require.NoError(t, err)
		var got []string
		u.OnError = func(e ICMPError) { got = append(got, e.Error()+" "+e.Dst.String()) }
		require.NoError(t, u.Send(addrPort(to), []byte("x")))
		p.Run(time.Second)
		require.Equal(t, []string{addrPort(to).Addr().String() + ": ICMP port unreachable " + to}, got)
	}
}

func TestHostDoesNotForward(t *testing.T) {
	p := newPath(t, 1500)
	p.router.MustExec("sysctl -w net.ipv4.ip_forward=0")
	require.Empty(t, p.ping(t, "10.0.0.2", PingOptions{}))
	require.EqualValues(t, 1, p.router.Counters()["not for this host"])
}

func TestMartianSource(t *testing.T) {
	p := newPath(t, 1500)
	p.router.MustExec("ip addr add 10.0.0.100/32 dev lo")
	p.server.MustExec("ip addr add 10.0.0.100/32 dev lo")
	u, err := p.server.UDP(addrPort("10.0.0.100:9"))
	require.NoError(t, err)
	require.NoError(t, u.Send(addrPort("192.0.2.9:9"), []byte("x")))
	p.Run(time.Second)
	require.Contains(t, p.LogText(), "r: martian source: a packet from 10.0.0.100, an address of this host, to 192.0.2.9 arrived on eth1")
}
