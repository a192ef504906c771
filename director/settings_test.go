package director

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/link"
	"usvs/route"
	"usvs/wire"
)

// settings change what a testbed's snapshot says.
func settings(change func(*ipvs.Sysctls), more func(*testbed)) func(*testbed) {
	return func(b *testbed) {
		change(&b.snap.Sysctls)
		more(b)
		b.publish()
	}
}

func icmpOn(s *ipvs.Sysctls) { s.ScheduleICMP = 1 }

// The replies that ICMP errors quote, from services of each kind.
func TestScheduleICMP(t *testing.T) {
	reply := bare(segment(ap(vip, 80), ap(cip, 40000), wire.FlagACK, 0))
	about := icmp(cip, vip, 3, 4, 1400, reply)
	persistent := func(b *testbed) {
		tcp80(ipvs.DirectRoute, "10.2.0.11:80")(b)
		b.edit(func(s *ipvs.ServiceSpec) { s.Flags, s.Timeout = ipvs.FlagPersistent, 60 })
	}
	entries := func(n int) func(*testing.T, *testbed, *link.Output) {
		return func(t *testing.T, b *testbed, out *link.Output) {
			require.Len(t, out.Tx, 1)
			require.Equal(t, n, b.d.Table.Len())
		}
	}
	verdicts{
		{name: "NAT", setup: settings(icmpOn, tcp80(ipvs.Masquerade, "10.2.0.11:8080")), in: about, want: Forwarded,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				q := requireICMP(t, b.onePacket(out.Tx), 3, 4)
				require.Equal(t, ap(rip1, 8080), ap(q.Src, q.SrcPort))
				require.Equal(t, conntrack.TCPNone, b.w.c.State)
				require.Equal(t, 3*time.Second, b.w.c.Expires.Sub(b.now).Truncate(conntrack.ExpiryUnit))
				require.Zero(t, b.w.c.InPackets)
				rs := b.snap.Services[0].Servers[0]
				require.EqualValues(t, 1, rs.Counters.Conns.Load())
				require.EqualValues(t, 1, rs.Counters.InPkts.Load())
			}},
		{name: "TUN", setup: settings(icmpOn, tcp80(ipvs.Tunnel, "10.2.0.11:80")), in: about, want: Forwarded, more: entries(1)},
		{name: "persistent", setup: settings(icmpOn, persistent), in: about, want: Forwarded, more: entries(2)},
		{name: "off", setup: tcp80(ipvs.Masquerade, "10.2.0.11:80"), in: about, want: Ignored},
		{name: "no service", setup: settings(icmpOn, tcp80(ipvs.Masquerade, "10.2.0.11:80")), want: Ignored,
			in: icmp(cip, vip, 3, 4, 1400, bare(segment(ap(vip, 81), ap(cip, 40000), wire.FlagACK, 0)))},
		{name: "FTP data port as a client", setup: settings(icmpOn, tcp80(ipvs.Masquerade, "10.2.0.11:80")), want: Ignored,
			in: icmp(cip, vip, 3, 4, 1400, bare(segment(ap(vip, 80), ap(cip, 20), wire.FlagACK, 0)))},
		{name: "about ESP", setup: settings(icmpOn, tcp80(ipvs.Masquerade, "10.2.0.11:80")), want: Ignored,
			in: icmp(cip, vip, 3, 4, 1400, packet(vip, cip, wire.ProtoESP, head{}, make([]byte, 8)))},
		{name: "no server", setup: settings(icmpOn, tcp80(ipvs.Masquerade)), in: about, want: DropRelatedNoServer},
		{name: "wrong checksum", setup: settings(icmpOn, tcp80(ipvs.DirectRoute, "10.2.0.11:80")), in: broken(icmp(cip, vip, 3, 4, 1400, reply)), want: DropICMPChecksum},
		{name: "from a server, cut before the ports", port: 1, setup: settings(icmpOn, tcp80(ipvs.Masquerade, "10.2.0.11:80")), want: DropShortTransport,
			in: icmp(rip1, cip, 3, 4, 1400, bare(segment(ap(cip, 40000), ap(rip1, 80), wire.FlagACK, 0))[:wire.IPv4Len+2])},
		{name: "from a server, cut behind them", port: 1, setup: settings(icmpOn, tcp80(ipvs.Masquerade, "10.2.0.11:80")), want: Passed,
			in: icmp(rip1, cip, 3, 4, 1400, bare(segment(ap(cip, 40000), ap(rip1, 80), wire.FlagACK, 0))[:wire.IPv4Len+4])},
		{name: "from a server, cut, off", port: 1, setup: tcp80(ipvs.Masquerade, "10.2.0.11:80"), want: Passed,
			in: icmp(rip1, cip, 3, 4, 1400, bare(segment(ap(cip, 40000), ap(rip1, 80), wire.FlagACK, 0))[:wire.IPv4Len])},
		{name: "martian", setup: settings(icmpOn, tcp80(ipvs.DirectRoute, "10.2.0.11:80")), want: DropMartian,
			in: icmp(netip.MustParseAddr("127.0.0.1"), vip, 3, 4, 1400, reply)},
		{name: "IPv6", want: Forwarded, more: entries(1),
			setup: settings(icmpOn, func(b *testbed) { b.service(tcpID(vip6, 80), ipvs.DirectRoute, "[fd00:2::11]:80") }),
			in:    icmp(cip6, vip6, 2, 0, 1300, bare(segment(ap(vip6, 80), ap(cip6, 40000), wire.FlagACK, 0)))},
		{name: "drop_packet", setup: settings(icmpOn, func(b *testbed) { tcp80(ipvs.DirectRoute, "10.2.0.11:80")(b); b.snap.DropRate = 1 }),
			in: about, want: DropDefence},
	}.run(t)
}

// ESP and AH quoted by errors follow the key exchange's connection.
func TestErrorsAboutESP(t *testing.T) {
	open := func(m ipvs.ForwardMethod) func(*testbed) {
		return func(b *testbed) {
			b.service(ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: vip, Port: 500}, m, "10.2.0.11:500")
			b.handle(0, udp(ap(cip, 500), ap(vip, 500), 4))
			b.forget()
		}
	}
	verdicts{
		{name: "from the client, NAT", setup: open(ipvs.Masquerade), want: Forwarded,
			in: icmp(cip, vip, 3, 4, 1400, packet(vip, cip, wire.ProtoESP, head{}, make([]byte, 8))),
			more: func(t *testing.T, b *testbed, out *link.Output) {
				p := b.onePacket(out.Tx)
				require.Equal(t, rip1, p.Dst)
				require.Equal(t, rip1, requireICMP(t, p, 3, 4).Src)
			}},
		{name: "from a router, NAT", port: 1, setup: open(ipvs.Masquerade), want: Forwarded,
			in: icmp(netip.MustParseAddr("10.2.0.254"), cip, 3, 4, 1400, packet(cip, rip1, wire.ProtoAH, head{}, make([]byte, 12))),
			more: func(t *testing.T, b *testbed, out *link.Output) {
				p := b.onePacket(out.Tx)
				require.Equal(t, vip, p.Src)
				require.Equal(t, vip, requireICMP(t, p, 3, 4).Dst)
			}},
		{name: "TTL of a packet", setup: open(ipvs.DirectRoute), want: DropTTL,
			in: withTTL(ethernet(packet(cip, vip, wire.ProtoESP, head{}, make([]byte, 20))), 1),
			more: func(t *testing.T, b *testbed, out *link.Output) {
				require.EqualValues(t, 1, b.snap.Services[0].Servers[0].Counters.OutPkts.Load(), "the error counts as an answer")
			}},
	}.run(t)
}

// cached is a fwmark service for addresses beyond the director.
func cached(more func(*testbed)) func(*testbed) {
	return func(b *testbed) {
		b.snap.Sysctls.CacheBypass = 1
		b.snap.Hidden = &Hidden{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.2.9.0/24"), netip.MustParsePrefix("10.7.0.0/16"), netip.MustParsePrefix("10.8.0.0/16"), netip.MustParsePrefix("fd00:2::/64")}}
		b.service(ipvs.ServiceID{Family: ipvs.IPv4, Mark: 7}, ipvs.DirectRoute)
		b.service(ipvs.ServiceID{Family: ipvs.IPv6, Mark: 7}, ipvs.DirectRoute)
		b.d.Neighbours.SetStatic(b.now, 1, origin, rsMAC, b.sink())
		b.d.Neighbours.SetStatic(b.now, 1, origin6, rsMAC, b.sink())
		if more != nil {
			more(b)
		}
		b.publish()
	}
}

var origin, origin6 = netip.MustParseAddr("10.2.9.9"), netip.MustParseAddr("fd00:2::99")

// marked gives the director a frame with mark 7.
func (b *testbed) marked(data []byte) *link.Output {
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(data)
	f.Mark = 7
	b.out.Reset()
	b.w.Handle(b.now, []*link.Frame{f}, &b.out)
	return &b.out
}

func TestCacheBypass(t *testing.T) {
	opener := func() []byte { return segment(ap(cip, 40000), ap(origin, 80), wire.FlagSYN, 0) }
	lastHop := segment(ap(cip6, 40000), ap(origin6, 80), wire.FlagSYN, 0)
	wire.IPv6(lastHop[wire.EthernetLen:]).SetHopLimit(1)
	for _, c := range []struct {
		name  string
		setup func(*testbed)
		in    []byte
		want  Reason
		conns int
		sent  int
	}{
		{name: "TCP", in: opener(), want: Forwarded, conns: 1, sent: 1},
		{name: "UDP", in: udp(ap(cip, 40000), ap(origin, 53), 9), want: Forwarded, conns: 1, sent: 1},
		{name: "IPv6", in: segment(ap(cip6, 40000), ap(origin6, 80), wire.FlagSYN, 0), want: Forwarded, conns: 1, sent: 1},
		{name: "one packet", in: udp(ap(cip, 40000), ap(origin, 53), 9), want: Forwarded, sent: 1,
			setup: func(b *testbed) { b.snap.Services[0].Spec.Flags = ipvs.FlagOnePacket }},
		{name: "not an opener", in: segment(ap(cip, 40000), ap(origin, 80), wire.FlagACK, 0), want: Handed},
		{name: "TTL", in: withTTL(opener(), 1), want: DropTTL, conns: 1},
		{name: "too big", in: segment(ap(cip, 40000), ap(origin, 80), wire.FlagSYN, 1470), want: DropTooBig, conns: 1},
		{name: "fragmented", in: withoutDF(segment(ap(cip, 40000), ap(origin, 80), wire.FlagSYN, 1470)), want: Forwarded, conns: 1, sent: 2},
		{name: "no route", in: segment(ap(cip, 40000), ap(netip.MustParseAddr("10.7.1.1"), 80), wire.FlagSYN, 0), want: DropNoRoute, conns: 1},
		{name: "route by another interface", in: segment(ap(cip, 40000), ap(netip.MustParseAddr("10.8.1.1"), 80), wire.FlagSYN, 0), want: DropForeignRoute, conns: 1},
		{name: "off", in: opener(), want: DropNoServer, setup: func(b *testbed) { b.snap.Sysctls.CacheBypass = 0 }},
		{name: "off, IPv6", in: segment(ap(cip6, 40000), ap(origin6, 80), wire.FlagSYN, 0), want: DropNoServer, sent: 1,
			setup: func(b *testbed) { b.snap.Sysctls.CacheBypass = 0 }},
		{name: "to an owned address", in: segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0), want: DropNoServer, sent: 1},
		{name: "to an address of the host", in: opener(), want: DropNoServer, sent: 1, setup: func(b *testbed) { b.carry(origin) }},
		{name: "to an owned address, IPv6", in: segment(ap(cip6, 40000), ap(vip6, 80), wire.FlagSYN, 0), want: DropBypassLocal, conns: 1},
		{name: "hop limit, IPv6", in: lastHop, want: DropTTL, conns: 1, sent: 1},
		{name: "too big, IPv6", in: segment(ap(cip6, 40000), ap(origin6, 80), wire.FlagSYN, 1450), want: DropTooBig, conns: 1, sent: 1},
		{name: "ICMP error", want: DropRelatedNoServer, setup: func(b *testbed) { b.snap.Sysctls.ScheduleICMP = 1 },
			in: icmp(cip, origin, 3, 4, 1400, bare(segment(ap(origin, 80), ap(cip, 40000), wire.FlagACK, 0)))},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t)
			cached(c.setup)(b)
			out := b.marked(c.in)
			require.Equal(t, c.want.String(), b.w.seen.String())
			require.Equal(t, c.conns, b.d.Table.Len())
			require.Len(t, out.Tx, c.sent)
			require.Zero(t, b.d.Totals.Conns.Load())
			require.Zero(t, b.d.Totals.InPkts.Load())
		})
	}
}

// A bypass connection follows its packets; the way back is left alone.
func TestBypassConnection(t *testing.T) {
	b := newTestbed(t)
	cached(nil)(b)
	b.marked(segment(ap(cip, 40000), ap(origin, 80), wire.FlagSYN, 0))
	require.Equal(t, "10.2.9.9:80", b.w.c.Virtual.String())
	require.Equal(t, "0.0.0.0:0", b.w.c.Real.String())
	require.Equal(t, "SYN_RECV", b.w.c.StateName())
	p := b.onePacket(b.marked(segment(ap(cip, 40000), ap(origin, 80), wire.FlagACK, 100)).Tx)
	require.Equal(t, origin, p.Dst)
	require.EqualValues(t, 63, p.TTL)
	require.Equal(t, "ESTABLISHED", b.w.c.StateName())
	require.Len(t, b.handle(1, segment(ap(origin, 80), ap(cip, 40000), wire.FlagACK, 0)).Pass, 1)
	p = b.onePacket(b.marked(icmp(cip, origin, 3, 4, 1400, bare(segment(ap(origin, 80), ap(cip, 40000), wire.FlagACK, 0)))).Tx)
	require.Equal(t, origin, requireICMP(t, p, 3, 4).Src, "unchanged")

	b.snap.Owned = AddrsOf(append(b.snap.Owned.Sorted(), origin)...)
	b.network(func(c *route.Config) { c.Locals = append(c.Locals, origin) })
	require.Empty(t, b.marked(segment(ap(cip, 40000), ap(origin, 80), wire.FlagACK, 1)).Tx)
	require.Equal(t, DropBypassLocal, b.w.seen)
}

// Every third packet that would open a connection is dropped, the first to
// begin with; no other packet counts (recorded from Linux 6.1).
func TestDropPacket(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
	b.snap.DropRate = 3
	b.publish()
	try := func(cport uint16, flags uint8) bool {
		b.handle(0, segment(ap(cip, cport), ap(vip, 80), flags, 0))
		return b.w.seen == DropDefence
	}
	var dropped []uint16
	for port := uint16(41000); port < 41010; port++ {
		if try(port, wire.FlagSYN) {
			dropped = append(dropped, port)
		}
		require.False(t, try(41001, wire.FlagACK))
		require.False(t, try(50000, wire.FlagACK), "no opener")
	}
	require.Equal(t, []uint16{41000, 41003, 41006, 41009}, dropped)
	b.snap.DropRate = -4
	b.publish()
	for port := uint16(42002); port < 42006; port++ {
		require.Equal(t, port >= 42004, try(port, wire.FlagSYN), "the turn of before still comes")
	}
	require.True(t, try(20, wire.FlagSYN), "before the FTP data port is looked at")
}

// With a backup daemon and backup_only the host has the say; replies are
// translated all the same.
func TestStandby(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")
	b.handle(0, syn(0))
	b.snap.Standby = true
	b.publish()
	b.handle(0, syn(0))
	require.Equal(t, Answered, b.w.seen)
	b.handle(0, icmp(cip, vip, 3, 3, 0, bare(segment(ap(vip, 80), ap(cip, 40000), wire.FlagACK, 0))))
	require.Equal(t, Ignored, b.w.seen)
	p := b.onePacket(b.handle(1, segment(ap(rip1, 80), ap(cip, 40000), wire.FlagACK, 0)).Tx)
	require.Equal(t, vip, p.Src)
}
