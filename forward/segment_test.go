package forward

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

// super builds a super-frame as a sender's stack hands it to its device.
func super(t testing.TB, r recipe, size uint16) (*wire.Frame, *wire.Packet) {
	f, p := r.build(t)
	makePartial(f, p)
	f.GSOSize = size
	switch {
	case r.proto == wire.ProtoUDP:
		f.GSO = wire.GSOUDP
	case p.Version == 6:
		f.GSO = wire.GSOTCP6
	default:
		f.GSO = wire.GSOTCP4
	}
	f.Port, f.Mark, f.Hidden = 3, 7, true
	return f, p
}

func supers() []recipe {
	const all = wire.FlagFIN | wire.FlagPSH | tcpCWR
	return []recipe{
		{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(64000), tcpFlags: all, id: 65530, df: true, vlans: 1},
		{src: cip6, dst: vip6, proto: wire.ProtoTCP, payload: counting(2897), tcpFlags: all},
		{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(5000), id: 9, bare: true},
		{src: cip6, dst: vip6, proto: wire.ProtoUDP, payload: counting(1448)},
		{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: nil, tcpFlags: all},
		{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(2896), tcpFlags: wire.FlagPSH},
	}
}

func TestSegmentsAreTheStream(t *testing.T) {
	const size = 1448
	for _, r := range supers() {
		t.Run(fmt.Sprint(r.proto, r.src, len(r.payload)), func(t *testing.T) {
			f, p := super(t, r, size)
			before := bytes.Clone(f.Bytes())
			emit, got := collect()
			require.True(t, Segment(f, p, newFrame, emit))
			require.Equal(t, before, f.Bytes(), "the super-frame stays as it is")
			require.Len(t, *got, max(1, (len(r.payload)+size-1)/size))
			var stream []byte
			for i, g := range *got {
				last := i == len(*got)-1
				requireSegment(t, r, g, i, len(stream), last)
				q := parse(t, g)
				stream = append(stream, payloadOf(q)...)
				require.True(t, last || len(payloadOf(q)) == size)
			}
			require.Equal(t, r.payload, stream)
		})
	}
}

func payloadOf(p *wire.Packet) []byte {
	if p.Proto == wire.ProtoUDP {
		return p.Transport()[wire.UDPLen:]
	}
	return p.Transport()[wire.TCP(p.Transport()).HeaderLen():]
}

func requireSegment(t *testing.T, r recipe, g *wire.Frame, i, offset int, last bool) {
	t.Helper()
	requireValid(t, g)
	require.Equal(t, []any{3, uint32(7), true, false, wire.GSONone}, []any{g.Port, g.Mark, g.Hidden, g.Partial, g.GSO})
	require.Equal(t, wire.Headroom, g.Room())
	q := parse(t, g)
	if q.Version == 4 {
		require.Equal(t, r.id+uint16(i), q.V4().ID())
		require.Equal(t, r.df, q.V4().DF())
	}
	if q.Proto == wire.ProtoUDP {
		require.Equal(t, len(q.Transport()), wire.UDP(q.Transport()).Length())
		return
	}
	tcp := wire.TCP(q.Transport())
	require.Equal(t, uint32(1000+offset), tcp.Seq())
	require.Equal(t, r.tcpFlags&wire.FlagFIN != 0 && last, tcp[13]&wire.FlagFIN != 0)
	require.Equal(t, r.tcpFlags&wire.FlagPSH != 0 && last, tcp[13]&wire.FlagPSH != 0)
	require.Equal(t, r.tcpFlags&tcpCWR != 0 && i == 0, tcp[13]&tcpCWR != 0)
}

// TestSegmentAfterRewriting: NAT of a super-frame, cut afterwards, equals the
// segments of the rewritten stream.
func TestSegmentAfterRewriting(t *testing.T) {
	for _, r := range supers() {
		f, p := super(t, r, 1000)
		DecrementTTL(p)
		RewriteDst(f, p, realFor(r))
		emit, got := collect()
		require.True(t, Segment(f, p, newFrame, emit))
		in := r
		in.dst, in.ttl = realFor(r), 63
		f, p = super(t, in, 1000)
		emit, want := collect()
		require.True(t, Segment(f, p, newFrame, emit))
		require.Equal(t, len(*want), len(*got))
		for i := range *want {
			require.Equal(t, (*want)[i].Bytes(), (*got)[i].Bytes())
		}
	}
}

func TestSegmentsThroughATunnel(t *testing.T) {
	r := supers()[0]
	for _, tun := range tunnels() {
		f, p := super(t, r, 1400)
		require.False(t, Encapsulate(f, p, tun, true, 1))
		var stream []byte
		require.True(t, Segment(f, p, newFrame, func(g *wire.Frame) {
			q := parse(t, g)
			require.True(t, Encapsulate(g, q, tun, true, 1))
			inner := unwrap(t, g, tun)
			var in wire.Packet
			require.Equal(t, wire.None, in.Parse(inner, wire.IP))
			stream = append(stream, payloadOf(&in)...)
		}))
		require.Equal(t, r.payload, stream)
	}
}

func TestSegmentRefuses(t *testing.T) {
	tcp := recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(5000)}
	none := func() *wire.Frame { return nil }
	small := func() *wire.Frame { return wire.NewFrame(50) }
	for _, c := range []struct {
		why    string
		change func(*wire.Frame, *wire.Packet)
		alloc  func() *wire.Frame
	}{
		{"not a super-frame", func(f *wire.Frame, _ *wire.Packet) { f.GSO = wire.GSONone }, newFrame},
		{"segment size 0", func(f *wire.Frame, _ *wire.Packet) { f.GSOSize = 0 }, newFrame},
		{"family", func(f *wire.Frame, _ *wire.Packet) { f.GSO = wire.GSOTCP6 }, newFrame},
		{"protocol", func(f *wire.Frame, _ *wire.Packet) { f.GSO = wire.GSOUDP }, newFrame},
		{"unknown kind", func(f *wire.Frame, _ *wire.Packet) { f.GSO = 200 }, newFrame},
		{"fragment", func(_ *wire.Frame, p *wire.Packet) { p.Fragment = true }, newFrame},
		{"data offset below 5", func(_ *wire.Frame, p *wire.Packet) { p.Data[p.L4+12] = 0x40 }, newFrame},
		{"header beyond the packet", func(_ *wire.Frame, p *wire.Packet) { p.End = p.L4 + 30; p.Data[p.L4+12] = 0xf0 }, newFrame},
		{"no frames", func(*wire.Frame, *wire.Packet) {}, none},
		{"small frames", func(*wire.Frame, *wire.Packet) {}, small},
	} {
		f, p := super(t, tcp, 1448)
		c.change(f, p)
		require.False(t, Segment(f, p, c.alloc, func(*wire.Frame) { t.Error("emitted:", c.why) }), c.why)
	}
}

func TestSegmentStopsWhenFramesRunOut(t *testing.T) {
	f, p := super(t, supers()[0], 1)
	left := 10
	emit, got := collect()
	require.False(t, Segment(f, p, func() *wire.Frame {
		if left--; left < 0 {
			return nil
		}
		return wire.NewFrame(100)
	}, emit))
	require.Len(t, *got, 10)
}

func TestSegmentUDPWithoutChecksum(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(300), noCsum: true}
	f, p := super(t, r, 100)
	f.Partial = false
	wire.UDP(p.Transport()).SetChecksum(0)
	emit, got := collect()
	require.True(t, Segment(f, p, newFrame, emit))
	require.Len(t, *got, 3)
	for _, g := range *got {
		require.Zero(t, wire.UDP(parse(t, g).Transport()).Checksum())
	}
}

func TestExceedsMTU(t *testing.T) {
	tcp4 := recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(1400)} // 1440 bytes
	df := tcp4
	df.df = true
	tcp6 := recipe{src: cip6, dst: vip6, proto: wire.ProtoTCP, payload: counting(1400)} // 1460 bytes
	for _, c := range []struct {
		name             string
		r                recipe
		change           func(*wire.Frame)
		mtu              int
		tooBig, fragment bool
	}{
		{"fits", tcp4, nil, 1440, false, false},
		{"one too many", tcp4, nil, 1439, false, true},
		{"DF fits", df, nil, 1440, false, false},
		{"DF", df, nil, 1439, true, true},
		{"IPv6 fits", tcp6, nil, 1460, false, false},
		{"IPv6", tcp6, nil, 1459, true, true},
		{"segments fit", df, func(f *wire.Frame) { f.GSO, f.GSOSize = wire.GSOTCP4, 1000 }, 1040, false, false},
		{"segments do not fit", df, func(f *wire.Frame) { f.GSO, f.GSOSize = wire.GSOTCP4, 1000 }, 1039, true, true},
		{"super-frame of one segment", df, func(f *wire.Frame) { f.GSO, f.GSOSize = wire.GSOTCP4, 9000 }, 1440, false, false},
		{"not what it claims", df, func(f *wire.Frame) { f.GSO, f.GSOSize = wire.GSOTCP6, 10 }, 1439, true, true},
		{"reassembled", tcp4, func(f *wire.Frame) { f.FragSize = 1000 }, 1500, false, true},
		{"reassembled DF", df, func(f *wire.Frame) { f.FragSize = 1000 }, 1440, false, true},
		{"reassembled DF too big: its fragments do not count", df, func(f *wire.Frame) { f.FragSize = 1000 }, 1439, true, true},
		{"reassembled IPv6", tcp6, func(f *wire.Frame) { f.FragSize = 1300 }, 1300, false, true},
		{"reassembled IPv6 too big", tcp6, func(f *wire.Frame) { f.FragSize = 1300 }, 1299, true, true},
	} {
		f, p := c.r.build(t)
		if c.change != nil {
			c.change(f)
		}
		tooBig, fragment := ExceedsMTU(f, p, c.mtu)
		require.Equal(t, []bool{c.tooBig, c.fragment}, []bool{tooBig, fragment}, c.name)
	}
}

func TestICMPErrorIsNeverTooBig(t *testing.T) {
	f, p := recipe{src: cip4, dst: vip4, proto: wire.ProtoICMP, payload: append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, counting(600)...), df: true}.build(t)
	tooBig, fragment := ExceedsMTU(f, p, 500)
	require.False(t, tooBig)
	require.True(t, fragment)
}

// TestLengthCountsTunnelledSegments: what a segment is judged by is what it
// will be long.
func TestLengthCountsTunnelledSegments(t *testing.T) {
	f, p := super(t, supers()[0], 1400)
	tun := &Tunnel{Params: ipvs.TunnelParams{Type: ipvs.IPIP}, Src: dip4, Dst: rip4.Addr()}
	want := Length(f, p) + Overhead(tun, f)
	first := true
	Segment(f, p, newFrame, func(g *wire.Frame) {
		q := parse(t, g)
		require.True(t, Encapsulate(g, q, tun, true, 1))
		if first {
			require.Equal(t, want, Length(g, q))
		}
		first = false
	})
}
