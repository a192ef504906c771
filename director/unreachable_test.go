package director

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// giveUp lets time pass until nobody waits for an answer any more, and returns
// the packets sent meanwhile, but for ARP and the like.
func (b *testbed) giveUp() (list []*link.Frame) {
	for range 6 {
		b.now = b.now.Add(time.Second)
		b.out = link.Output{}
		b.w.Tick(b.now, &b.out)
		for _, f := range b.out.Tx {
			if p := b.parse(f); p.Version != 0 && !p.Dst.IsMulticast() {
				list = append(list, f)
			}
		}
	}
	return list
}

// What the kernel does is in testdata/oracle/fwd/unreachable.trace, except
// that it tells nobody when an outer IPv6 packet cannot be delivered.
func TestUnreachableServer(t *testing.T) {
	for name, c := range map[string]struct {
		method  ipvs.ForwardMethod
		params  ipvs.TunnelParams
		server  string
		source  string
		counted uint64
	}{
		"NAT":        {method: ipvs.Masquerade, server: "10.2.0.99:8080", source: "10.9.0.1", counted: 1},
		"DR":         {method: ipvs.DirectRoute, server: "10.2.0.99:80", source: "10.1.0.1", counted: 1},
		"TUN":        {method: ipvs.Tunnel, server: "10.2.0.99:80", source: "10.9.0.1", counted: 2},
		"TUN, GUE":   {method: ipvs.Tunnel, params: encapsulations["GUE"], server: "10.2.0.99:80", source: "10.9.0.1", counted: 2},
		"TUN, GRE":   {method: ipvs.Tunnel, params: encapsulations["GRE"], server: "10.2.0.99:80", source: "10.9.0.1", counted: 2},
		"TUN by IP6": {method: ipvs.Tunnel, server: "[fd00:2::99]:80", source: "10.9.0.1", counted: 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			rs := b.service(tcpID(vip, 80), c.method, c.server)[0]
			rs.SetSpec(ipvs.ServerSpec{Method: c.method, Weight: 1, Tunnel: c.params})
			b.publish()
			b.handle(0, syn(0))
			require.Equal(t, Waiting, b.w.seen)
			p := b.onePacket(b.giveUp())
			q := requireICMP(t, p, 3, 1)
			require.Equal(t, c.source, p.Src.String())
			require.Equal(t, cip, p.Dst)
			require.Equal(t, ap(vip, 80), ap(q.Dst, q.DstPort), "what the client sent")
			require.Equal(t, c.counted, rs.Counters.OutPkts.Load())
			require.EqualValues(t, 1, b.d.Counters()["drop_neighbour"])
		})
	}
}

func TestUnreachableServerIPv6(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip6, 80), ipvs.Tunnel, "10.2.0.99:80")
	b.handle(0, segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 0))
	q := requireICMP(t, b.onePacket(b.giveUp()), 1, 3)
	require.Equal(t, vip6, q.Dst)
}

func TestUnreachableClient(t *testing.T) {
	for _, carried := range []bool{false, true} {
		b := newTestbed(t)
		if carried {
			b.carry(vip)
		}
		rs := b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:8080")[0]
		near := netip.MustParseAddr("10.1.0.77")
		b.handle(0, segment(ap(near, 1), ap(vip, 80), wire.FlagSYN, 0))
		b.handle(1, segment(ap(rip1, 8080), ap(near, 1), wire.FlagSYN|wire.FlagACK, 0))
		require.Equal(t, Waiting, b.w.seen)
		p := b.onePacket(b.giveUp())
		require.Equal(t, vip, p.Src)
		require.Equal(t, rip1, p.Dst, "the server is told")
		q := requireICMP(t, p, 3, 1)
		require.Equal(t, ap(rip1, 8080), ap(q.Src, q.SrcPort), "of what it sent")
		require.EqualValues(t, 2, rs.Counters.InPkts.Load())
	}
}

func TestUnreachableOnceTheConnectionIsGone(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.99:8080")
	b.service(tcpID(vip, 81), ipvs.Tunnel, "10.2.0.98:81")
	for _, port := range []uint16{80, 81} {
		b.handle(0, segment(ap(cip, 1), ap(vip, port), wire.FlagSYN, 0))
		require.True(t, b.d.Table.Expire(b.now, b.w.c.Ref))
	}
	require.Empty(t, b.giveUp(), "nothing is known of what was sent")
}
