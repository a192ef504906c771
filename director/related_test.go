package director

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// broken spoils an ICMP message's checksum.
func broken(frame []byte) []byte {
	frame[wire.EthernetLen+wire.IPv4Len+2] ^= 1
	return frame
}

func TestRelatedErrors(t *testing.T) {
	request := bare(segment(ap(cip, 40000), ap(rip1, 80), wire.FlagSYN, 0))
	reply := bare(segment(ap(vip, 80), ap(cip, 40000), wire.FlagSYN|wire.FlagACK, 0))
	router := netip.MustParseAddr("10.2.0.254")
	open := func(m ipvs.ForwardMethod) func(*testbed) {
		return func(b *testbed) {
			tcp80(m, "10.2.0.11:80")(b)
			b.handle(0, syn(0))
			b.forget()
		}
	}
	verdicts{
		{name: "from the client", setup: open(ipvs.Masquerade), in: icmp(cip, vip, 3, 3, 0, reply), want: Forwarded,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				p := b.onePacket(out.Tx)
				require.Equal(t, rip1, p.Dst)
				require.Equal(t, rip1, requireICMP(t, p, 3, 3).Src)
				require.EqualValues(t, 2, b.snap.Services[0].Servers[0].Counters.InPkts.Load())
			}},
		{name: "from the client, DR", setup: open(ipvs.DirectRoute), in: icmp(cip, vip, 3, 3, 0, reply), want: Forwarded,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				require.Equal(t, vip, requireICMP(t, b.onePacket(out.Tx), 3, 3).Src)
			}},
		{name: "from the client, TUN", setup: open(ipvs.Tunnel), in: icmp(cip, vip, 3, 3, 0, reply), want: Forwarded,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				require.EqualValues(t, wire.ProtoIPIP, b.onePacket(out.Tx).Proto)
			}},
		{name: "from the client, wrong checksum", setup: open(ipvs.DirectRoute), in: broken(icmp(cip, vip, 3, 3, 0, reply)), want: DropICMPChecksum},
		{name: "from the client, deleted server", in: icmp(cip, vip, 3, 3, 0, reply), want: Forwarded,
			setup: func(b *testbed) {
				open(ipvs.Masquerade)(b)
				b.snap.Services[0].Servers[0].SetAvailable(false)
			}, more: func(t *testing.T, b *testbed, out *link.Output) {
				require.EqualValues(t, 1, b.snap.Services[0].Servers[0].Counters.InPkts.Load(), "not counted")
			}},
		{name: "from a router", port: 1, setup: open(ipvs.Masquerade), in: icmp(router, cip, 3, 1, 0, request), want: Forwarded,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				p := b.onePacket(out.Tx)
				require.Equal(t, vip, p.Src)
				require.Equal(t, vip, requireICMP(t, p, 3, 1).Dst)
				require.EqualValues(t, 1, b.snap.Services[0].Servers[0].Counters.OutPkts.Load())
			}},
		{name: "from a router, wrong checksum", port: 1, setup: open(ipvs.Masquerade), in: broken(icmp(router, cip, 3, 1, 0, request)), want: DropICMPChecksum},
		{name: "from a router, about something else", port: 1, setup: open(ipvs.Masquerade), want: Passed, more: passes,
			in: icmp(router, cip, 3, 1, 0, bare(udp(ap(cip, 1), ap(rip1, 1), 0)))},
		{name: "from a router, quote cut short", port: 1, setup: open(ipvs.Masquerade), want: Passed, more: passes,
			in: icmp(router, cip, 3, 1, 0, request[:22])},
	}.run(t)
}

// tunnelled opens a connection through a tunnel and returns the outer packet.
func (b *testbed) tunnelled(t ipvs.TunnelParams) []byte {
	rs := b.service(tcpID(vip, 80), ipvs.Tunnel, "10.2.0.11:80")[0]
	rs.SetSpec(ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: 1, Tunnel: t})
	b.publish()
	out := b.handle(0, syn(0))
	b.onePacket(out.Tx)
	return append([]byte{}, bare(out.Tx[0].Bytes())...)
}

var encapsulations = map[string]ipvs.TunnelParams{
	"IPIP": {}, "GUE": {Type: ipvs.GUE, Port: 6080}, "GRE": {Type: ipvs.GRE}, "GRE with checksum": {Type: ipvs.GRE, Flags: ipvs.TunnelCsum},
}

func TestErrorsAboutTunnels(t *testing.T) {
	router := netip.MustParseAddr("10.2.0.254")
	for name, params := range encapsulations {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			outer := b.tunnelled(params)
			rs := b.snap.Services[0].Servers[0]
			tell := func(typ, code uint8, word uint32, quote []byte) *link.Output {
				return b.handle(1, icmp(router, dip1, typ, code, word, quote))
			}
			q := requireICMP(t, b.onePacket(tell(3, 1, 0, outer).Tx), 3, 1)
			require.Equal(t, vip, q.Dst)
			requireICMP(t, b.onePacket(tell(11, 0, 0, outer).Tx), 11, 0)
			requireICMP(t, b.onePacket(tell(11, 1, 0, outer).Tx), 11, 1)
			requireICMP(t, b.onePacket(tell(4, 0, 0, outer).Tx), 4, 0)

			p := b.onePacket(tell(3, 4, 20, outer).Tx)
			requireICMP(t, p, 3, 4)
			require.Equal(t, []byte{1480 >> 8, 1480 & 255}, p.Transport()[6:8], "what was known before")
			require.Equal(t, minPathMTU, rs.PathMTU(b.now), "not less, whoever says so")
			requireICMP(t, b.onePacket(b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 600)).Tx), 3, 4)
			p = b.onePacket(tell(3, 4, 1000, outer).Tx)
			require.Equal(t, []byte{532 >> 8, 532 & 255}, p.Transport()[6:8])

			b.handle(1, broken(icmp(router, dip1, 3, 1, 0, outer)))
			require.Equal(t, DropICMPChecksum, b.w.seen)
			require.Len(t, tell(3, 1, 0, outer[:30]).Pass, 1, "too short to tell")
			b.d.Table.Expire(b.now, b.w.c.Ref)
		})
	}
}

// A router's word about an outer IPv6 packet is believed, if its checksum is
// right and a connection was quoted; the client hears with its next packet.
func TestPathMTUOfIPv6Tunnels(t *testing.T) {
	router, dip6 := netip.MustParseAddr("fd00:2::254"), netip.MustParseAddr("fd00:2::1")
	for name, client := range map[string]struct{ from, to netip.Addr }{"IPv6 inside": {cip6, vip6}, "IPv4 inside": {cip, vip}} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			rs := b.service(tcpID(client.to, 80), ipvs.Tunnel, "[fd00:2::11]:80")[0]
			from, to := ap(client.from, 40000), ap(client.to, 80)
			out := b.handle(0, segment(from, to, wire.FlagSYN, 0))
			outer := append([]byte{}, bare(out.Tx[0].Bytes())...)
			tell := func(frame []byte) {
				passes(t, b, b.handle(1, frame)) // the host has it anyway
			}
			tell(broken(icmp(router, dip6, wire.ICMPv6TooBig, 0, 1400, outer)))
			tell(icmp(router, dip6, wire.ICMPv6Unreachable, 0, 1400, outer))
			tell(icmp(router, dip6, wire.ICMPv6TooBig, 0, 1400, outer[:60]))
			tell(icmp(router, dip6, wire.ICMPv6TooBig, 0, 1<<31, outer))
			require.Zero(t, rs.PathMTU(b.now))

			tell(icmp(router, dip6, wire.ICMPv6TooBig, 0, 1400, outer))
			require.Equal(t, 1400, rs.PathMTU(b.now))
			b.handle(0, segment(from, to, wire.FlagACK, 1340))
			require.Equal(t, DropTooBig, b.w.seen)
			b.handle(0, segment(from, to, wire.FlagACK, 1280))
			require.Equal(t, Forwarded, b.w.seen)

			tell(icmp(router, dip6, wire.ICMPv6TooBig, 0, 0, outer))
			require.Equal(t, minMTU6, rs.PathMTU(b.now), "not less, whoever says so")
		})
	}
}

// What is declined is judged by its own header, not by what it quotes.
func TestDeclinedTunnelErrorIsLeftToTheHost(t *testing.T) {
	b := newTestbed(t)
	outer := b.tunnelled(ipvs.TunnelParams{})
	b.snap.Hidden = &Hidden{Addrs: AddrsOf(vip)}
	b.publish()
	outer[wire.IPv4Len+wire.IPv4Len+1] ^= 0xff // another client port: no connection
	passes(t, b, b.handle(1, icmp(netip.MustParseAddr("10.2.0.254"), dip1, 3, 1, 0, outer)))
}

func TestForeignTunnelErrors(t *testing.T) {
	b := newTestbed(t)
	b.tunnelled(ipvs.TunnelParams{Type: ipvs.GUE, Port: 6080})
	gue := func(h ...byte) []byte { return append(datagram(ap(dip1, 1), ap(rip1, 6080), 0), h...) }
	for name, c := range map[string]struct {
		proto uint8
		data  []byte
	}{
		"GRE, none of ours":      {wire.ProtoGRE, []byte{0, 0, 8, 0}},
		"GRE, flags":             {wire.ProtoGRE, []byte{0x20, 0, 8, 0}},
		"GRE, short":             {wire.ProtoGRE, []byte{0, 0}},
		"GRE, IPv6":              {wire.ProtoGRE, []byte{0, 0, 0x86, 0xdd}},
		"GRE, something":         {wire.ProtoGRE, []byte{0, 0, 1, 2}},
		"GUE, version":           {wire.ProtoUDP, gue(0x40, 4, 0, 0)},
		"GUE, short":             {wire.ProtoUDP, gue(0, 4)},
		"GUE, options too short": {wire.ProtoUDP, gue(31, 4, 0, 0)},
		"GUE, IPv6":              {wire.ProtoUDP, gue(0, 41, 0, 0)},
		"GUE, something":         {wire.ProtoUDP, gue(0, 9, 0, 0)},
		"6in4":                   {wire.ProtoIPv6, make([]byte, 60)},
		"TCP":                    {wire.ProtoTCP, make([]byte, 20)},
	} {
		passes(t, b, b.handle(1, icmp(rip2, dip1, 3, 1, 0, packet(dip1, rip1, c.proto, head{}, c.data))))
		require.Equal(t, Passed, b.w.seen, name)
	}
	passes(t, b, b.handle(1, icmp(rip2, dip1, 3, 1, 0, packet(dip1, rip1, wire.ProtoIPIP, head{frag: 9}, nil))))
	passes(t, b, b.handle(1, icmp(rip2, dip1, 3, 1, 0, []byte{1})))
}
