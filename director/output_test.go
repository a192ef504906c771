package director

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/route"
	"usvs/wire"
)

// answer is a server's segment with n bytes of payload to the client of syn.
func answer(n int) []byte {
	return segment(ap(rip1, 80), ap(cip, 40000), wire.FlagSYN|wire.FlagACK, n)
}

func masqueraded(change ...func(*testbed)) func(*testbed) {
	return func(b *testbed) {
		tcp80(ipvs.Masquerade, "10.2.0.11:80")(b)
		b.handle(0, syn(0))
		for _, c := range change {
			c(b)
		}
		b.forget()
	}
}

// forget makes the counters those of the next frame alone.
func (b *testbed) forget() {
	for r := range b.w.count.reason {
		b.w.count.reason[r].Store(0)
	}
}

func TestServersAnswers(t *testing.T) {
	icmpSend := func(b *testbed) {
		b.snap.Sysctls.NATICMPSend = 1
		b.publish()
	}
	lone := segment(ap(rip1, 80), ap(cip, 41000), wire.FlagACK, 0)
	notCounted := func(t *testing.T, b *testbed) {
		require.Zero(t, b.snap.Services[0].Servers[0].Counters.OutPkts.Load())
	}
	verdicts{
		{name: "TTL", port: 1, setup: masqueraded(), in: withTTL(answer(0), 1), want: DropTTL, more: func(t *testing.T, b *testbed, out *link.Output) {
			p := b.onePacket(out.Tx)
			require.Equal(t, rip1, p.Dst, "the server is told")
			require.Equal(t, rip1, requireICMP(t, p, 11, 0).Src, "of the packet as it sent it")
			notCounted(t, b)
		}},
		{name: "too big", port: 1, setup: masqueraded(func(b *testbed) { b.setMTU(0, 1000) }), in: answer(1200), want: DropTooBig,
			more: func(t *testing.T, b *testbed, out *link.Output) {
				requireICMP(t, b.onePacket(out.Tx), 3, 4)
				notCounted(t, b)
			}},
		{name: "fragmented", port: 1, setup: masqueraded(func(b *testbed) { b.setMTU(0, 1000) }), in: withoutDF(answer(1200)), want: Forwarded,
			more: func(t *testing.T, b *testbed, out *link.Output) { require.Len(t, out.Tx, 2) }},
		{name: "no route", port: 1, in: answer(0), want: DropNoRoute, more: answered(3, 1), setup: masqueraded(func(b *testbed) {
			b.network(func(c *route.Config) { c.Routes = c.Routes[1:] })
		})},
		{name: "route by another interface", port: 1, in: answer(0), want: DropForeignRoute, setup: masqueraded(func(b *testbed) {
			b.network(func(c *route.Config) { c.Routes[0].Kind = route.Foreign })
		})},
		{name: "deleted server", port: 1, in: answer(0), want: Forwarded, setup: masqueraded(func(b *testbed) {
			b.snap.Services[0].Servers[0].SetAvailable(false)
		}), more: func(t *testing.T, b *testbed, out *link.Output) {
			require.Equal(t, vip, b.onePacket(out.Tx).Src)
			notCounted(t, b)
		}},
		{name: "without connection", port: 1, setup: masqueraded(), in: lone, want: Passed, more: passes},
		{name: "without connection, told so", port: 1, setup: masqueraded(icmpSend), in: lone, want: DropNoConnection, more: answered(3, 3)},
		{name: "without connection, TTL", port: 1, setup: masqueraded(icmpSend), in: withTTL(append([]byte{}, lone...), 1), want: DropTTL, more: answered(11, 0)},
		{name: "a reset without connection", port: 1, setup: masqueraded(icmpSend), want: Passed, more: passes,
			in: segment(ap(rip1, 80), ap(cip, 41000), wire.FlagRST, 0)},
		{name: "a host that is no server", port: 1, setup: masqueraded(icmpSend), want: Passed, more: passes,
			in: segment(ap(rip2, 80), ap(cip, 41000), wire.FlagACK, 0)},
		{name: "another protocol", port: 1, setup: masqueraded(), in: icmp(rip1, cip, wire.ICMPEcho, 0, 0, nil), want: Passed, more: passes},
		{name: "ESP without association", port: 1, setup: masqueraded(), want: Passed, more: passes,
			in: ethernet(packet(rip1, cip, wire.ProtoESP, head{}, make([]byte, 20)))},
	}.run(t)
}

func TestAnswersOfFwmarkServers(t *testing.T) {
	b := newTestbed(t)
	b.service(ipvs.ServiceID{Family: ipvs.IPv4, Mark: 3}, ipvs.Masquerade, "10.2.0.11:80")
	b.snap.Sysctls.NATICMPSend = 1
	b.publish()
	b.handle(1, answer(0))
	require.Equal(t, DropNoConnection, b.w.seen, "of any protocol")
}

func TestDirectRouteAnswersThatPass(t *testing.T) {
	b := newTestbed(t)
	rs := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")[0]
	b.handle(0, syn(0))
	passes(t, b, b.handle(1, segment(ap(vip, 80), ap(cip, 40000), wire.FlagSYN|wire.FlagACK, 0)))
	require.EqualValues(t, 1, rs.Counters.OutPkts.Load())
	passes(t, b, b.handle(1, icmp(dip1.Next(), cip, wire.ICMPUnreachable, 1, 0, bare(syn(0)))))
	require.EqualValues(t, 2, rs.Counters.OutPkts.Load())
}

func TestIPsecFollowsISAKMP(t *testing.T) {
	b := newTestbed(t)
	id := ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: vip, Port: isakmpPort}
	b.service(id, ipvs.Masquerade, "10.2.0.11:500")
	b.handle(0, udp(ap(cip, isakmpPort), ap(vip, isakmpPort), 4))
	p := b.onePacket(b.handle(0, ethernet(packet(cip, vip, wire.ProtoESP, head{}, make([]byte, 20)))).Tx)
	require.Equal(t, rip1, p.Dst)
	p = b.onePacket(b.handle(1, ethernet(packet(rip1, cip, wire.ProtoAH, head{}, make([]byte, 20)))).Tx)
	require.Equal(t, vip, p.Src)
}
