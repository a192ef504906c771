package director

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

func ap(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

func TestDirectRouteChangesOnlyMACsAndTTL(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
	in := segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0)
	f, p := b.parsed(b.handle(0, in))
	eth := wire.EthernetHeader(f.Bytes())
	require.Equal(t, 1, f.Port)
	require.Equal(t, rsMAC, eth.Dst())
	require.Equal(t, dirMAC1, eth.Src(), "the source MAC is the director's, lest a bridge move the client's")
	require.Equal(t, vip, p.Dst)
	require.EqualValues(t, 63, p.TTL)
	require.Equal(t, in[34:], f.Bytes()[34:], "nothing behind the IP header changes")
}

func TestMasqueradeBothWays(t *testing.T) {
	b := newTestbed(t)
	rs := b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:8080")[0]
	_, p := b.parsed(b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0)))
	require.Equal(t, ap(rs.ID.Addr, 8080), ap(p.Dst, p.DstPort))
	f, p := b.parsed(b.handle(1, segment(ap(rs.ID.Addr, 8080), ap(cip, 40000), wire.FlagSYN|wire.FlagACK, 0)))
	require.Equal(t, ap(vip, 80), ap(p.Src, p.SrcPort))
	require.Equal(t, gwMAC, wire.EthernetHeader(f.Bytes()).Dst())
	require.EqualValues(t, 1, rs.Active())
	require.EqualValues(t, 1, rs.Counters.OutPkts.Load())
}

func TestTunnelWrapsInOuterHeader(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Tunnel, "10.2.0.11:80")
	_, p := b.parsed(b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0)))
	require.EqualValues(t, wire.ProtoIPIP, p.Proto)
	require.Equal(t, "10.2.0.1", p.Src.String())
	require.Equal(t, "10.2.0.11", p.Dst.String())
	var inner wire.Packet
	require.Equal(t, wire.None, inner.Parse(p.Transport(), wire.IP))
	require.Equal(t, vip, inner.Dst)
	require.EqualValues(t, 63, inner.TTL)
}

func TestTunnelSegmentsSuperFrames(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Tunnel, "10.2.0.11:80")
	b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0))
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 10*1440))
	f.GSO, f.GSOSize, f.Partial, f.CsumStart, f.CsumOffset = wire.GSOTCP4, 1440, true, 34, 16
	b.out.Reset()
	b.w.Handle(b.now, []*link.Frame{f}, &b.out)
	require.Len(t, b.out.Tx, 10)
	for _, g := range b.out.Tx {
		require.Equal(t, wire.GSONone, g.GSO)
		require.Equal(t, wire.EthernetLen+20+20+20+1440, g.Len())
	}
}

func TestUnownedAddressIsLeftAlone(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
	out := b.handle(0, segment(ap(cip, 40000), ap(netip.MustParseAddr("10.9.0.2"), 80), wire.FlagSYN, 0))
	require.Empty(t, out.Tx)
	require.Len(t, out.Pass, 1)
}

func TestUnservedPortOfOwnedAddressIsReset(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
	_, p := b.parsed(b.handle(0, segment(ap(cip, 40000), ap(vip, 81), wire.FlagSYN, 0)))
	require.EqualValues(t, wire.FlagRST|wire.FlagACK, p.TCPFlags)
	require.Equal(t, cip, p.Dst)
}

func TestNoServerMeansPortUnreachable(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute)
	_, p := b.parsed(b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0)))
	require.EqualValues(t, wire.ProtoICMP, p.Proto)
	require.Equal(t, []byte{wire.ICMPUnreachable, 3}, p.Transport()[:2])
	require.Equal(t, DropNoServer, b.w.seen)
}

func TestDeletedServer(t *testing.T) {
	b := newTestbed(t)
	rs := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")[0]
	b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0))
	rs.SetAvailable(false)
	out := b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 0))
	require.Empty(t, out.Tx)
	require.Equal(t, DropServerGone, b.w.seen)
	rs.SetAvailable(true)
	require.Len(t, b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 0)).Tx, 1, "re-added: the connection goes on")

	rs.SetAvailable(false)
	b.snap.Sysctls.ExpireNodestConn = 1
	b.publish()
	out = b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 0))
	require.Equal(t, Answered, b.w.seen, "a stray segment now: reset")
	require.Len(t, out.Tx, 1)
	require.Zero(t, b.d.Table.Len())
}

func TestUnknownNextHopIsAskedFor(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.99:80")
	f, p := b.parsed(b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0)))
	require.EqualValues(t, wire.TypeARP, p.EtherType)
	req := wire.ARPHeader(f.Bytes()[wire.EthernetLen:])
	require.Equal(t, "10.2.0.99", req.TargetIP().String())

	answer := append([]byte(nil), f.Bytes()...)
	copy(answer, dirMAC1[:])
	copy(answer[6:], rsMAC[:])
	a := answer[wire.EthernetLen:]
	a[7] = 2
	copy(a[18:28], a[8:18])
	copy(a[8:], rsMAC[:])
	copy(a[14:], []byte{10, 2, 0, 99})
	f, p = b.parsed(b.handle(1, answer))
	require.Equal(t, rsMAC, wire.EthernetHeader(f.Bytes()).Dst())
	require.Equal(t, vip, p.Dst)
}

func TestHiddenFramesAreHandedToTheHost(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")
	b.snap.Hidden = &Hidden{Servers: EndpointsOf(Endpoint{ipvs.TCP, netip.MustParseAddr("10.2.0.11"), 80})}
	b.publish()
	out := b.handle(1, segment(ap(netip.MustParseAddr("10.2.0.11"), 80), ap(cip, 1), wire.FlagACK, 0))
	require.Len(t, out.Host, 1, "a server's packet without a connection")
	out = b.handle(1, segment(ap(netip.MustParseAddr("10.2.0.11"), 22), ap(cip, 1), wire.FlagACK, 0))
	require.Len(t, out.Pass, 1, "another port of the server was not hidden")
}

// Every established-path frame: no allocation.
func TestEstablishedPathDoesNotAllocate(t *testing.T) {
	methods := map[string]ipvs.ForwardMethod{"DR": ipvs.DirectRoute, "NAT": ipvs.Masquerade, "TUN": ipvs.Tunnel}
	for name, method := range methods {
		for _, v6 := range []bool{false, true} {
			client, virtual, server := cip, vip, "10.2.0.11:80"
			if v6 {
				client, virtual, server = cip6, vip6, "[fd00:2::11]:80"
			}
			b := newTestbed(t)
			b.service(tcpID(virtual, 80), method, server)
			b.handle(0, segment(ap(client, 40000), ap(virtual, 80), wire.FlagSYN, 0))
			in := segment(ap(client, 40000), ap(virtual, 80), wire.FlagACK, 100)
			back := segment(netip.MustParseAddrPort(server), ap(client, 40000), wire.FlagACK, 100)
			copy(back, dirMAC1[:])
			batch := []*link.Frame{wire.NewFrame(2000), wire.NewFrame(2000)}
			var sent int
			allocs := testing.AllocsPerRun(200, func() {
				batch[0].Reset()
				batch[0].SetBytes(in)
				batch[1].Reset()
				batch[1].SetBytes(back)
				batch[1].Port = 1
				b.out.Reset()
				b.w.Handle(b.now, batch, &b.out)
				sent = len(b.out.Tx)
			})
			require.Zero(t, allocs, "%s v6=%v", name, v6)
			if method == ipvs.Masquerade {
				require.Equal(t, 2, sent, "%s v6=%v", name, v6)
			} else {
				require.Equal(t, 1, sent, "%s v6=%v", name, v6)
			}
		}
	}
}

func TestTunnelledSuperFrameDoesNotAllocate(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Tunnel, "10.2.0.11:80")
	b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0))
	data := segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 10*1440)
	f := wire.NewFrame(wire.MaxFrame)
	require.Zero(t, testing.AllocsPerRun(50, func() {
		f.Reset()
		f.SetBytes(data)
		f.GSO, f.GSOSize, f.Partial, f.CsumStart, f.CsumOffset = wire.GSOTCP4, 1440, true, 34, 16
		b.out.Reset()
		b.w.Handle(b.now, []*link.Frame{f}, &b.out)
	}))
}

// Several workers on the same service: what they share costs most.
func BenchmarkEstablishedParallel(b *testing.B) {
	t := newTestbed(b)
	t.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")
	var next atomic.Uint32
	b.RunParallel(func(pb *testing.PB) {
		w := t.d.NewWorker()
		from := ap(cip, uint16(next.Add(1)))
		var out link.Output
		batch := make([]*link.Frame, link.BatchSize)
		for i := range batch {
			batch[i] = wire.NewFrame(2000)
		}
		for data := segment(from, ap(vip, 80), wire.FlagSYN, 0); ; data = segment(from, ap(vip, 80), wire.FlagACK, 0) {
			for _, f := range batch {
				f.Reset()
				f.SetBytes(data)
				if !pb.Next() {
					return
				}
			}
			out.Reset()
			w.Handle(t.now, batch, &out)
		}
	})
}
