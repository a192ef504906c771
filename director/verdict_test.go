package director

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/route"
	"usvs/sched"
	"usvs/wire"
)

var (
	rip1 = netip.MustParseAddr("10.2.0.11")
	rip2 = netip.MustParseAddr("10.2.0.12")
	dip1 = netip.MustParseAddr("10.2.0.1")
)

// verdicts are frames and how they end; more is what else there is to see.
type verdicts []struct {
	name  string
	setup func(*testbed)
	port  int
	in    []byte
	want  Reason
	more  func(*testing.T, *testbed, *link.Output)
}

func (cases verdicts) run(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t)
			if c.setup != nil {
				c.setup(b)
			}
			out := b.handle(c.port, c.in)
			require.Equal(t, c.want.String(), b.w.seen.String())
			require.EqualValues(t, 1, b.d.Counters()[c.want.String()])
			if c.more != nil {
				c.more(t, b, out)
			} else if c.want.Dropped() {
				require.Empty(t, out.Tx)
				require.Empty(t, out.Host)
				require.Empty(t, out.Pass)
			}
		})
	}
}

func tcp80(m ipvs.ForwardMethod, servers ...string) func(*testbed) {
	return func(b *testbed) { b.service(tcpID(vip, 80), m, servers...) }
}

func syn(n int) []byte { return segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, n) }

func tagged(frame []byte) []byte {
	return append(append(append([]byte{}, frame[:12]...), 0x81, 0, 0, 7), frame[12:]...)
}

func toStation(frame []byte, m wire.MAC) []byte {
	wire.EthernetHeader(frame).SetDst(m)
	return frame
}

func passes(t *testing.T, _ *testbed, out *link.Output) {
	require.Len(t, out.Pass, 1)
	require.Empty(t, out.Tx)
	require.Empty(t, out.Host)
}

// answered checks the kind of an ICMP error.
func answered(typ, code uint8) func(*testing.T, *testbed, *link.Output) {
	return func(t *testing.T, b *testbed, out *link.Output) {
		requireICMP(t, b.onePacket(out.Tx), typ, code)
	}
}

func TestWhichFramesConcernTheDirector(t *testing.T) {
	verdicts{
		{name: "malformed", in: syn(0)[:20], want: DropMalformed},
		{name: "tagged", in: tagged(syn(0)), want: VLANTagged, more: passes},
		{name: "another station's", in: toStation(syn(0), rsMAC), want: NotForUs, more: passes},
		{name: "broadcast", in: toStation(syn(0), wire.Broadcast), want: NotForUs, more: passes},
		{name: "another protocol", in: append(toStation(make([]byte, 12, 60), dirMAC0), 0x88, 0xcc, 0, 0), want: Passed, more: passes},
		{name: "to the host itself", setup: tcp80(ipvs.DirectRoute, "10.2.0.11:80"), want: Passed, more: passes,
			in: udp(ap(cip, 1), ap(netip.MustParseAddr("10.1.0.1"), 80), 4)},
		{name: "no service of the family", setup: tcp80(ipvs.DirectRoute, "10.2.0.11:80"), want: Passed, more: passes,
			in: segment(ap(cip6, 1), ap(netip.MustParseAddr("fd00:2::9"), 80), wire.FlagSYN, 0)},
		{name: "somebody's fragment", setup: tcp80(ipvs.Masquerade, "10.2.0.11:80"), want: Passed, more: passes,
			in: fragments(udp(ap(cip, 1), ap(rip2, 1), 100), 48)[0]},
	}.run(t)
}

func TestWhatOwnedAddressesAnswer(t *testing.T) {
	carried := func(b *testbed) {
		b.carry(vip)
		b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
		b.snap.Hidden = &Hidden{Services: EndpointsOf(Endpoint{ipvs.TCP, vip, 80})}
		b.publish()
	}
	stray := segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 0)
	verdicts{
		{name: "echo", in: icmp(cip, vip, wire.ICMPEcho, 0, 1, []byte("abc")), want: Answered,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				p := b.onePacket(out.Tx)
				require.Equal(t, vip, p.Src)
				require.Equal(t, byte(wire.ICMPEchoReply), p.Transport()[0])
			}},
		{name: "echo, IPv6", in: icmp(cip6, vip6, wire.ICMPv6Echo, 0, 1, nil), want: Answered},
		{name: "echo to an address that the host carries", setup: carried, want: Passed, more: passes,
			in: icmp(cip, vip, wire.ICMPEcho, 0, 1, nil)},
		{name: "a segment without connection to an address that the host carries", setup: carried, in: stray, want: Handed,
			more: func(t *testing.T, b *testbed, out *link.Output) { b.onePacket(out.Host) }},
		{name: "another port of an address that the host carries", setup: carried, want: Passed, more: passes,
			in: segment(ap(cip, 1), ap(vip, 22), wire.FlagSYN, 0)},
		{name: "a segment without connection", setup: tcp80(ipvs.DirectRoute, "10.2.0.11:80"), in: stray, want: Answered},
		{name: "a reset", setup: tcp80(ipvs.DirectRoute, "10.2.0.11:80"), want: Ignored,
			in: segment(ap(cip, 1), ap(vip, 80), wire.FlagRST, 0)},
		{name: "datagram to no service", in: udp(ap(cip, 1), ap(vip, 53), 4), want: Answered, more: answered(3, 3)},
		{name: "wrong checksum", in: append(udp(ap(cip, 1), ap(vip, 53), 4)[:45], 9), want: DropUnanswerable},
		{name: "another transport protocol", in: ethernet(packet(cip, vip, 99, head{}, make([]byte, 9))), want: Answered, more: answered(3, 2)},
		{name: "ESP of no association", setup: tcp80(ipvs.DirectRoute, "10.2.0.11:80"), want: Answered, more: answered(3, 2),
			in: ethernet(packet(cip, vip, wire.ProtoESP, head{}, make([]byte, 20)))},
		{name: "FTP data port as a client", setup: tcp80(ipvs.DirectRoute, "10.2.0.11:80"), want: Answered,
			in: segment(ap(cip, 20), ap(vip, 80), wire.FlagSYN, 0)},
		{name: "ICMP error about nothing", setup: tcp80(ipvs.Masquerade, "10.2.0.11:80"), want: Ignored,
			in: icmp(cip, vip, wire.ICMPUnreachable, 3, 0, bare(udp(ap(vip, 1), ap(cip, 1), 0)))},
		{name: "TCP header cut short", setup: tcp80(ipvs.DirectRoute, "10.2.0.11:80"), want: DropShortTransport,
			in: ethernet(packet(cip, vip, wire.ProtoTCP, head{}, make([]byte, 19)))},
		{name: "no ports", setup: tcp80(ipvs.DirectRoute, "10.2.0.11:80"), want: DropShortTransport,
			in: ethernet(packet(cip, vip, wire.ProtoTCP, head{}, make([]byte, 3)))},
		{name: "SCTP without a chunk", setup: tcp80(ipvs.DirectRoute, "10.2.0.11:80"), want: DropShortTransport,
			in: sctp(ap(cip, 1), ap(vip, 80), sctpInit, 0)},
	}.run(t)
}

func TestMartians(t *testing.T) {
	var cases verdicts
	for _, a := range []string{"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.5", "255.255.255.255", "10.9.0.1", "10.1.0.1", "10.2.0.1"} {
		src := ap(netip.MustParseAddr(a), 9)
		cases = append(cases, verdicts{
			{name: a + " to a service", setup: tcp80(ipvs.Masquerade, "10.2.0.11:80"), in: segment(src, ap(vip, 80), wire.FlagSYN, 0), want: DropMartian},
			{name: a + " to no service", in: udp(src, ap(vip, 53), 4), want: DropMartian},
		}...)
	}
	for _, a := range []string{"::1", "ff02::1", "fd00:9::1"} {
		cases = append(cases, verdicts{{name: a, in: udp(ap(netip.MustParseAddr(a), 9), ap(vip6, 53), 4), want: DropMartian}}...)
	}
	cases.run(t)
}

func TestTransmission(t *testing.T) {
	mtu := func(port, mtu int, more func(*testbed)) func(*testbed) {
		return func(b *testbed) { b.setMTU(port, mtu); more(b) }
	}
	forwardedIn := func(n int) func(*testing.T, *testbed, *link.Output) {
		return func(t *testing.T, b *testbed, out *link.Output) { require.Len(t, out.Tx, n) }
	}
	verdicts{
		{name: "TTL", setup: tcp80(ipvs.Masquerade, "10.2.0.11:80"), in: withTTL(syn(0), 1), want: DropTTL,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				q := requireICMP(t, b.onePacket(out.Tx), 11, 0)
				require.Equal(t, vip, q.Dst, "quoted as the client sent it")
			}},
		{name: "too big", setup: tcp80(ipvs.Masquerade, "10.2.0.11:80"), in: syn(1470), want: DropTooBig, more: answered(3, 4)},
		{name: "too big, IPv6", want: DropTooBig, more: answered(2, 0),
			setup: func(b *testbed) { b.service(tcpID(vip6, 80), ipvs.DirectRoute, "[fd00:2::11]:80") },
			in:    segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 1450)},
		{name: "fragmented", setup: mtu(1, 1000, tcp80(ipvs.Masquerade, "10.2.0.11:80")), in: withoutDF(syn(1400)), want: Forwarded, more: forwardedIn(2)},
		{name: "fragmented, DR", setup: mtu(1, 1000, tcp80(ipvs.DirectRoute, "10.2.0.11:80")), in: withoutDF(syn(1400)), want: Forwarded, more: forwardedIn(2)},
		{name: "fragmented, but not so small", setup: mtu(1, 25, tcp80(ipvs.DirectRoute, "10.2.0.11:80")), in: withoutDF(syn(1400)), want: DropSegment},
		{name: "too big for a tunnel", setup: tcp80(ipvs.Tunnel, "10.2.0.11:80"), in: syn(1450), want: DropTooBig, more: answered(3, 4)},
		{name: "fragmented in a tunnel", in: syn(1450), want: Forwarded, more: forwardedIn(2), setup: func(b *testbed) {
			b.snap.Sysctls.PMTUDisc = 0
			b.service(tcpID(vip, 80), ipvs.Tunnel, "10.2.0.11:80")
		}},
		{name: "no MTU left by a tunnel", setup: mtu(1, 80, tcp80(ipvs.Tunnel, "10.2.0.11:80")), in: syn(0), want: DropMTUTooSmall},
		{name: "no route", setup: tcp80(ipvs.Masquerade, "10.7.0.11:80"), in: syn(0), want: DropNoRoute, more: answered(3, 1)},
		{name: "route by another interface", setup: tcp80(ipvs.Masquerade, "10.8.0.11:80"), in: syn(0), want: DropForeignRoute},
		{name: "no tunnel between families", setup: tcp80(ipvs.DirectRoute, "[fd00:2::11]:80"), in: syn(0), want: DropFamily},
		{name: "4in6", setup: tcp80(ipvs.Tunnel, "[fd00:2::11]:80"), in: syn(0), want: Forwarded, more: forwardedIn(1)},
		{name: "DR without Ethernet", setup: tcp80(ipvs.DirectRoute, "10.6.0.11:80"), in: syn(0), want: DropNeedsEthernet},
		{name: "NAT without Ethernet", setup: tcp80(ipvs.Masquerade, "10.6.0.11:80"), in: syn(0), want: Forwarded,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				b.onePacket(out.Tx)
				require.Equal(t, wire.IP, out.Tx[0].Medium)
			}},
		{name: "local server, NAT", setup: tcp80(ipvs.Masquerade, "10.2.0.1:8080"), in: syn(0), want: Handed,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				p := b.onePacket(out.Host)
				require.Equal(t, ap(dip1, 8080), ap(p.Dst, p.DstPort))
				require.EqualValues(t, 64, p.TTL)
			}},
		{name: "local server", in: syn(0), want: Handed, setup: func(b *testbed) {
			b.carry(vip)
			b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.1:80")
		}},
		{name: "local server for an address the host does not carry", setup: tcp80(ipvs.DirectRoute, "10.2.0.1:80"), in: syn(0), want: DropLocalNode},
		{name: "loopback", setup: tcp80(ipvs.Masquerade, "127.0.0.1:80"), in: syn(0), want: DropRedirectLoopback},
		{name: "unknown next hop", setup: tcp80(ipvs.Masquerade, "10.2.0.99:80"), in: syn(0), want: Waiting,
			more: func(t *testing.T, b *testbed, out *link.Output) { require.Len(t, out.Tx, 1) }},
		{name: "no scheduler", in: syn(0), want: DropNoServer, more: answered(3, 3), setup: func(b *testbed) {
			tcp80(ipvs.Masquerade, "10.2.0.11:80")(b)
			b.snap.Services[0].Picker = NewPicker(nil)
			require.NoError(b.tb, b.snap.Services[0].Picker.Update(sched.Bind, nil, nil))
			b.publish()
		}},
	}.run(t)
}

// carry makes the host have an address of its own.
func (b *testbed) carry(a netip.Addr) {
	b.network(func(c *route.Config) { c.Locals = append(c.Locals, a) })
}

func (b *testbed) setMTU(port, mtu int) {
	b.network(func(c *route.Config) { c.Interfaces[port].MTU = mtu })
}
