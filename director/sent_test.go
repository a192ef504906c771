package director

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// sent gives the director a packet that its host sends.
func (b *testbed) sent(data []byte) wire.Packet {
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(data)
	b.out.Reset()
	b.w.HandleSent(b.now, []*link.Frame{f}, &b.out)
	require.Equal(b.tb, []*link.Frame{f}, b.out.Pass, "everything goes back to the host")
	require.Empty(b.tb, b.out.Tx)
	var p wire.Packet
	p.Parse(f.Bytes(), f.Medium)
	return p
}

func TestHostsAnswers(t *testing.T) {
	local := netip.MustParseAddrPort("10.2.0.1:8085")
	reply := segment(local, ap(cip, 40000), wire.FlagSYN|wire.FlagACK, 0)
	opened := func(method ipvs.ForwardMethod, server string) *testbed {
		b := newTestbed(t)
		b.network(func(c *route.Config) { c.Locals = append(c.Locals, vip) })
		tcp80(method, server)(b)
		out := b.handle(0, syn(0))
		require.Len(t, append(out.Host, out.Pass...), 1, "it ended as %v", b.w.seen)
		return b
	}

	b := opened(ipvs.Masquerade, local.String())
	p := b.sent(reply)
	require.Equal(t, ap(vip, 80), netip.AddrPortFrom(p.Src, p.SrcPort), "NAT is undone")
	require.EqualValues(t, 64, p.TTL, "a packet on its way out has not come far")
	require.EqualValues(t, 1, b.snap.Services[0].Servers[0].Counters.OutPkts.Load())

	stranger := segment(local, ap(cip, 40001), wire.FlagACK, 0)
	p = b.sent(stranger)
	require.Equal(t, local, netip.AddrPortFrom(p.Src, p.SrcPort), "of no connection")

	b = opened(ipvs.DirectRoute, "10.2.0.1:80")
	b.sent(segment(ap(vip, 80), ap(cip, 40000), wire.FlagRST|wire.FlagACK, 0))
	require.EqualValues(t, 1, b.snap.Services[0].Servers[0].Counters.OutPkts.Load(), "counted")
	require.EqualValues(t, 0, b.snap.Services[0].Servers[0].Active(), "and seen by the connection")

	b.sent([]byte{1, 2, 3})
}

// An ICMP error of the host's about a translated request comes from the VIP.
func TestHostsErrors(t *testing.T) {
	b := newTestbed(t)
	tcp80(ipvs.Masquerade, "10.2.0.1:8085")(b)
	b.handle(0, syn(0))
	require.Len(t, b.out.Host, 1)
	request := b.out.Host[0]
	var p wire.Packet
	require.Equal(t, wire.None, p.Parse(request.Bytes(), request.Medium))
	f := wire.NewFrame(wire.MaxFrame)
	outcome := localstack.New(localstack.Options{}).Error(b.now, localstack.Request{Frame: request, Packet: &p, MAC: dirMAC0}, p.Dst, localstack.PortUnreachable(), f)
	require.True(t, outcome.Answered())
	got := b.sent(f.Bytes())
	require.Equal(t, vip, got.Src)
	q := requireICMP(t, got, 3, 3)
	require.Equal(t, ap(vip, 80), netip.AddrPortFrom(q.Dst, q.DstPort))
	require.EqualValues(t, 1, b.snap.Services[0].Servers[0].Counters.OutPkts.Load())
}
