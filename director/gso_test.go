package director

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// super is a frame that stands for segments of size bytes of payload each.
func super(port int, frame []byte, size int) *link.Frame {
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(frame)
	f.Port = port
	wire.EthernetHeader(f.Bytes()).SetDst([]wire.MAC{dirMAC0, dirMAC1}[port])
	f.GSO, f.GSOSize, f.Partial, f.CsumStart, f.CsumOffset = wire.GSOTCP4, uint16(size), true, 34, 16
	if frame[wire.EthernetLen]>>4 == 6 {
		f.GSO, f.CsumStart = wire.GSOTCP6, 54
	}
	return f
}

func (b *testbed) handleFrame(f *link.Frame) *link.Output {
	b.out.Reset()
	b.w.Handle(b.now, []*link.Frame{f}, &b.out)
	return &b.out
}

// Whatever the method and direction, a super-frame is judged by its segments.
func TestSuperFrames(t *testing.T) {
	type want struct {
		reason Reason
		frames int
	}
	for _, c := range []struct {
		name     string
		method   ipvs.ForwardMethod
		out, df  bool
		mtu      int
		expected want
	}{
		{"DR", ipvs.DirectRoute, false, true, 1500, want{Forwarded, 1}},
		{"DR, too big", ipvs.DirectRoute, false, true, 1400, want{DropTooBig, 1}},
		{"DR, fragmented", ipvs.DirectRoute, false, false, 1400, want{Forwarded, 10}},
		{"NAT", ipvs.Masquerade, false, true, 1500, want{Forwarded, 1}},
		{"NAT, too big", ipvs.Masquerade, false, true, 1400, want{DropTooBig, 1}},
		{"NAT, fragmented", ipvs.Masquerade, false, false, 1400, want{Forwarded, 10}},
		{"NAT, MTU too small", ipvs.Masquerade, false, false, 27, want{DropSegment, 0}},
		{"NAT back", ipvs.Masquerade, true, true, 1500, want{Forwarded, 1}},
		{"NAT back, too big", ipvs.Masquerade, true, true, 1400, want{DropTooBig, 1}},
		{"NAT back, fragmented", ipvs.Masquerade, true, false, 1400, want{Forwarded, 10}},
		{"TUN", ipvs.Tunnel, false, true, 1500, want{Forwarded, 5}},
		{"TUN, too big", ipvs.Tunnel, false, true, 1400, want{DropTooBig, 1}},
		{"TUN, fragmented", ipvs.Tunnel, false, false, 1400, want{Forwarded, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t)
			if !c.df {
				b.snap.Sysctls.PMTUDisc = 0
			}
			b.service(tcpID(vip, 80), c.method, "10.2.0.11:80")
			b.handle(0, syn(0))
			port, frame := 0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 5*1440)
			if c.out {
				port, frame = 1, segment(ap(rip1, 80), ap(cip, 40000), wire.FlagACK, 5*1440)
			}
			if !c.df {
				withoutDF(frame)
			}
			b.setMTU(1-port, c.mtu)
			out := b.handleFrame(super(port, frame, 1440))
			require.Equal(t, c.expected, want{b.w.seen, len(out.Tx)})
			for _, f := range out.Tx {
				p := b.parse(f)
				require.True(t, f.GSO != wire.GSONone || p.IPLen() <= c.mtu, "%d bytes", p.IPLen())
			}
		})
	}
}

func TestSuperFrameIPv6(t *testing.T) {
	for _, m := range []ipvs.ForwardMethod{ipvs.DirectRoute, ipvs.Masquerade, ipvs.Tunnel} {
		b := newTestbed(t)
		b.service(tcpID(vip6, 80), m, "[fd00:2::11]:80")
		b.handle(0, segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 0))
		data := segment(ap(cip6, 1), ap(vip6, 80), wire.FlagACK, 5*1300)
		out := b.handleFrame(super(0, data, 1300))
		require.Equal(t, Forwarded, b.w.seen)
		require.Len(t, out.Tx, map[bool]int{true: 5, false: 1}[m == ipvs.Tunnel], fmt.Sprint(m))
		b.setMTU(1, 1320)
		out = b.handleFrame(super(0, data, 1300))
		require.Equal(t, DropTooBig, b.w.seen)
		requireICMP(t, b.onePacket(out.Tx), 2, 0)
	}
}

// Where an interface takes super-frames within tunnels, they stay whole, unless
// they would be cut anyway or depend on how.
func TestSuperFrameWrapped(t *testing.T) {
	b := newTestbed(t)
	able := true
	b.d.wraps = func(port int) bool {
		require.Equal(t, 1, port)
		return able
	}
	b.service(tcpID(vip, 80), ipvs.Tunnel, "10.2.0.11:80")
	b.handle(0, syn(0))
	data := segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 5*1440)
	out := b.handleFrame(super(0, data, 1440))
	require.Equal(t, Forwarded, b.w.seen)
	require.Len(t, out.Tx, 1)
	f := out.Tx[0]
	require.Equal(t, []any{true, wire.GSOTCP4, uint16(1440), true}, []any{f.Wrapped, f.GSO, f.GSOSize, f.Partial})
	require.Equal(t, rsMAC, wire.EthernetHeader(f.Bytes()).Dst())
	p := b.parse(f)
	require.Equal(t, []any{uint8(wire.ProtoIPIP), rip1}, []any{p.Proto, p.Dst})

	able = false
	out = b.handleFrame(super(0, data, 1440))
	require.Equal(t, Forwarded, b.w.seen)
	require.Len(t, out.Tx, 5, "not now")

	able = true
	require.Len(t, b.handleFrame(super(0, data, 1400)).Tx, 1)
	b.setMTU(1, 1400)
	out = b.handleFrame(super(0, data, 1440))
	require.Equal(t, DropTooBig, b.w.seen)
	requireICMP(t, b.onePacket(out.Tx), wire.ICMPUnreachable, 4)
	b.snap.Sysctls.PMTUDisc = 0
	withoutDF(data)
	require.Len(t, b.handleFrame(super(0, data, 1440)).Tx, 10, "fragments of segments")
}

// A super-frame that may be fragmented takes an identification for each of its
// segments, as the kernel's own tunnels do.
func TestWrappedIdentifications(t *testing.T) {
	b := newTestbed(t)
	b.d.wraps = func(int) bool { return true }
	b.service(tcpID(vip6, 80), ipvs.Tunnel, "10.2.0.11:80")
	b.handle(0, segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 0))
	const size, segments = 1300, 5
	data := segment(ap(cip6, 1), ap(vip6, 80), wire.FlagACK, segments*size)
	var ids []uint16
	for range 3 {
		out := b.handleFrame(super(0, data, size))
		require.Len(t, out.Tx, 1)
		require.True(t, out.Tx[0].Wrapped)
		outer := wire.IPv4(out.Tx[0].Bytes()[wire.EthernetLen:])
		require.False(t, outer.DF())
		ids = append(ids, outer.ID())
	}
	require.GreaterOrEqual(t, ids[1]-ids[0], uint16(segments))
	require.GreaterOrEqual(t, ids[2]-ids[1], uint16(segments))
}

func TestWrappingAllocatesNothing(t *testing.T) {
	b := newTestbed(t)
	b.d.wraps = func(int) bool { return true }
	b.service(tcpID(vip, 80), ipvs.Tunnel, "10.2.0.11:80")
	b.handle(0, syn(0))
	from, f := super(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 5*1440), 1440), wire.NewFrame(wire.MaxFrame)
	batch := []*link.Frame{f}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		f.CopyFrom(from)
		b.out.Reset()
		b.w.Handle(b.now, batch, &b.out)
	}))
	require.True(t, f.Wrapped)
}

// A super-frame for a next hop that is not known yet waits whole.
func TestSuperFrameWaits(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.99:80")
	b.handle(0, syn(0))
	b.handleFrame(super(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 5*1440), 1440))
	require.Equal(t, Waiting, b.w.seen)
	b.out.Reset()
	b.d.Neighbours.SetStatic(b.now, 1, rip1.Next().Next(), rsMAC, b.sink())
	require.Empty(t, b.out.Tx, "somebody else's answer")
}

// More pieces than there are frames: what is lost is a drop.
func TestNoRoomForSegments(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Tunnel, "10.2.0.11:80")
	b.handle(0, syn(0))
	data := segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 60000)
	b.out.Reset()
	for range link.MaxExtra/1000 + 1 {
		b.w.Handle(b.now, []*link.Frame{super(0, data, 60)}, &b.out)
	}
	require.Equal(t, DropSegment, b.w.seen)
	require.LessOrEqual(t, len(b.out.Tx), link.MaxExtra)

	for in, want := range map[string]Reason{
		string(icmp(cip, vip, wire.ICMPEcho, 0, 0, nil)):                DropNoRoom,
		string(fragments(udp(ap(cip, 1), ap(vip, 1), 100), 48)[0]):      DropNoRoom,
		string(withTTL(segment(ap(cip, 40000), ap(vip, 80), 16, 0), 1)): DropTTL,
	} {
		f := wire.NewFrame(2000)
		f.SetBytes([]byte(in))
		b.w.Handle(b.now, []*link.Frame{f}, &b.out)
		require.Equal(t, want, b.w.seen)
	}
}
