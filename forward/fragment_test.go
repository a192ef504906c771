package forward

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/ip4defrag"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// fragments cuts and returns the fragments.
func fragments(t testing.TB, f *wire.Frame, p *wire.Packet, mtu int) []*wire.Frame {
	t.Helper()
	emit, got := collect()
	require.True(t, Fragment(f, p, mtu, newFrame, emit))
	return *got
}

// dataLens is the payload behind the IP headers of each fragment.
func dataLens(t testing.TB, fs []*wire.Frame) []int {
	var ns []int
	for _, f := range fs {
		p := parse(t, f)
		start := p.L4
		if p.FragHeader != 0 {
			start = p.FragHeader + fragmentLen
		}
		ns = append(ns, p.End-start)
	}
	return ns
}

// TestFragmentsPutTogetherByGopacket: an independent reassembly gives the
// datagram back.
func TestFragmentsPutTogetherByGopacket(t *testing.T) {
	for _, mtu := range []int{68, 576, 1004, 1280, 1499, 1500} {
		r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(3001), id: 77, vlans: 1}
		f, p := r.build(t)
		defrag := ip4defrag.NewIPv4Defragmenter()
		var whole *layers.IPv4
		fs := fragments(t, f, p, mtu)
		for i, g := range fs {
			q := parse(t, g)
			require.LessOrEqual(t, q.IPLen(), mtu)
			if i < len(fs)-1 {
				require.Zero(t, (q.IPLen()-20)%8)
				require.Greater(t, q.IPLen()+8, mtu, "no smaller than need be")
			}
			require.Equal(t, p.Data[:p.L3], g.Bytes()[:q.L3])
			pkt := gopacket.NewPacket(g.Bytes(), layers.LayerTypeEthernet, gopacket.Default)
			got, err := defrag.DefragIPv4(pkt.Layer(layers.LayerTypeIPv4).(*layers.IPv4))
			if got != nil {
				whole = got
			} else if mtu > 68 { // below, gopacket finds fragments suspiciously small
				require.NoError(t, err)
			}
		}
		if mtu > 68 {
			require.NotNil(t, whole)
			require.Equal(t, p.Transport(), []byte(whole.Payload))
		}
	}
}

func TestFragmentFlags(t *testing.T) {
	f, p := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(2000), df: true}.build(t)
	for i, g := range fragments(t, f, p, 1500) {
		require.Equal(t, []uint16{ipv4MF, 185}[i], parse(t, g).V4().FragWord(), "cut in spite of DF")
	}
	f.FragSize = 1020
	for i, g := range fragments(t, f, p, 1500) {
		require.Equal(t, []uint16{ipv4DF | ipv4MF, ipv4DF | ipv4MF | 125, ipv4DF | 250}[i],
			parse(t, g).V4().FragWord(), "fragments with DF keep it")
	}
	f.FragSize = 0
	p.V4().SetFragWord(ipv4MF | 100)
	p.V4().UpdateChecksum()
	p = parse(t, f)
	for i, g := range fragments(t, f, p, 1500) {
		require.Equal(t, []uint16{ipv4MF | 100, ipv4MF | 285}[i], parse(t, g).V4().FragWord(), "a fragment is cut")
	}
}

func TestFragmentFinishesTheChecksum(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(2000)}
	f, p := r.build(t)
	makePartial(f, p)
	fs := fragments(t, f, p, 1500)
	require.False(t, f.Partial || fs[0].Partial)
	require.Equal(t, r.bytes(t), f.Bytes())
}

func TestFragmentOptions(t *testing.T) {
	// Record route (first only), router alert (copied), no-op.
	f, p := withOptions(t, unhex(t, "070704 00000000 94040000 01"))
	fs := fragments(t, f, p, 72)
	require.Greater(t, len(fs), 1)
	for i, g := range fs {
		q := parse(t, g)
		want := "070704000000009404000001"
		if i > 0 {
			want = "010101010101019404000001"
		}
		require.Equal(t, want, hex.EncodeToString(q.Data[q.L3+20:q.L4]))
	}
}

func TestFragmentBoundaries(t *testing.T) {
	v4 := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(2992), bare: true} // 3000 bytes of data
	v6 := recipe{src: cip6, dst: vip6, proto: wire.ProtoUDP, payload: counting(2992), bare: true}
	for _, c := range []struct {
		name     string
		r        recipe
		fragSize int
		pieces   []uint16
		mtu      int
		want     []int
	}{
		{"cut to the MTU", v4, 0, nil, 1500, []int{1480, 1480, 40}},
		{"rounded down", v4, 0, nil, 1507, []int{1480, 1480, 40}},
		{"as it came", v4, 1420, []uint16{1400, 1400, 200}, 1500, []int{1400, 1400, 200}},
		{"as it came, unevenly", v4, 1420, []uint16{8, 1400, 1400, 192}, 1500, []int{8, 1400, 1400, 192}},
		{"not known how it came", v4, 1420, nil, 1500, []int{1400, 1400, 200}},
		{"largest fragment rounded down", v4, 1423, nil, 1500, []int{1400, 1400, 200}},
		{"a piece does not fit", v4, 1420, []uint16{1400, 1400, 200}, 1300, []int{1280, 1280, 440}},
		{"a piece no multiple of 8", v4, 1420, []uint16{1399, 1400, 201}, 1500, []int{1400, 1400, 200}},
		{"pieces of another datagram", v4, 1420, []uint16{1400, 1400}, 1500, []int{1400, 1400, 200}},
		{"an empty piece", v4, 1420, []uint16{1400, 0, 1400, 200}, 1500, []int{1400, 1400, 200}},
		{"IPv6 to the MTU", v6, 0, nil, 1500, []int{1448, 1448, 104}},
		{"IPv6 as it came", v6, 1048, []uint16{1000, 1000, 1000}, 1500, []int{1000, 1000, 1000}},
		{"IPv6, not known how it came: not below 1280", v6, 1048, nil, 1500, []int{1232, 1232, 536}},
		{"IPv6, not known how it came", v6, 1448, nil, 1500, []int{1400, 1400, 200}},
		{"IPv6 fits as a whole", v6, 0, nil, 3040, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, p := c.r.build(t)
			f.FragSize, f.Pieces, f.FragID = c.fragSize, c.pieces, 0xabcd1234
			data := bytes.Clone(p.Transport())
			fs := fragments(t, f, p, c.mtu)
			if c.want == nil {
				require.Equal(t, f.Bytes(), fs[0].Bytes())
				return
			}
			require.Equal(t, c.want, dataLens(t, fs))
			var got []byte
			for _, g := range fs {
				q := parse(t, g)
				require.Equal(t, len(got), q.FragOffset)
				require.Equal(t, g != fs[len(fs)-1], q.MoreFrags)
				require.True(t, q.Fragment)
				if q.Version == 6 {
					require.Equal(t, uint32(0xabcd1234), q.FragID)
				}
				got = append(got, g.Bytes()[g.Len()-dataLens(t, []*wire.Frame{g})[0]:]...)
			}
			require.Equal(t, data, got)
		})
	}
}

func TestFragmentRefuses(t *testing.T) {
	v4 := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(2000)}
	v6 := recipe{src: cip6, dst: vip6, proto: wire.ProtoUDP, payload: counting(2000)}
	for _, c := range []struct {
		why    string
		r      recipe
		change func(*wire.Frame, *wire.Packet)
		mtu    int
		alloc  func() *wire.Frame
	}{
		{"MTU below header and 8 bytes", v4, nil, 27, newFrame},
		{"negative MTU", v4, nil, -5, newFrame},
		{"IPv6 MTU below headers and 8 bytes", v6, nil, 55, newFrame},
		{"IPv6 fragments did not fit", v6, func(f *wire.Frame, _ *wire.Packet) { f.FragSize = 1501 }, 1500, newFrame},
		{"IPv6 fragment", v6, func(_ *wire.Frame, p *wire.Packet) { p.Fragment = true }, 1500, newFrame},
		{"no IP", v4, func(_ *wire.Frame, p *wire.Packet) { p.Version = 0 }, 1500, newFrame},
		{"no frames", v4, nil, 1500, func() *wire.Frame { return nil }},
		{"small frames", v4, nil, 1500, func() *wire.Frame { return wire.NewFrame(1000) }},
	} {
		f, p := c.r.build(t)
		if c.change != nil {
			c.change(f, p)
		}
		require.False(t, Fragment(f, p, c.mtu, c.alloc, func(*wire.Frame) { t.Error("emitted:", c.why) }), c.why)
	}
}

func TestFragmentSuperFrame(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(4000), id: 9}
	f, p := super(t, r, 1448)
	_, fragment := ExceedsMTU(f, p, 1000)
	require.True(t, fragment)
	re := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 0)
	var stream []byte
	for _, g := range fragments(t, f, p, 1000) {
		q, out := parse(t, g), newFrame()
		require.LessOrEqual(t, q.IPLen(), 1000)
		if re.Add(0, g, q, out) == Complete {
			requireValid(t, out)
			stream = append(stream, payloadOf(parse(t, out))...)
		}
	}
	require.Equal(t, r.payload, stream)
}

// ipv6WithExtensions builds a UDP datagram behind hop-by-hop, destination
// options, routing and destination options headers, as far as they are asked for.
func ipv6WithExtensions(t testing.TB, kinds []uint8, data []byte) (*wire.Frame, *wire.Packet) {
	t.Helper()
	kinds = append(bytes.Clone(kinds), wire.ProtoUDP)
	b := make([]byte, wire.IPv6Len)
	for i, kind := range kinds[:len(kinds)-1] {
		h := make([]byte, 8*(i+1)) // longer and longer
		h[0], h[1] = kinds[i+1], byte(i)
		copy(h[2:], []byte{1, byte(len(h) - 4)}) // PadN
		if kind == wire.ProtoRouting {
			h[3] = 0 // segments left
		}
		b = append(b, h...)
	}
	udp := make([]byte, wire.UDPLen, wire.UDPLen+len(data))
	put16(udp, cip6.Port())
	put16(udp[2:], vip6.Port())
	wire.UDP(udp).SetLength(len(udp) + len(data))
	b = append(append(b, udp...), data...)
	h := wire.IPv6(b)
	h.SetFlow(0xb8, 0x12345)
	h.SetPayloadLen(len(b) - wire.IPv6Len)
	h.SetNextHeader(kinds[0])
	h.SetHopLimit(7)
	h.SetSrc(cip6.Addr())
	h.SetDst(vip6.Addr())
	f := newFrame()
	f.Medium = wire.IP
	f.SetBytes(b)
	return f, parse(t, f)
}

func TestIPv6ExtensionHeaders(t *testing.T) {
	const hop, dst, rt = wire.ProtoHopByHop, wire.ProtoDstOpts, wire.ProtoRouting
	for _, c := range []struct {
		kinds          []uint8
		unfragmentable int
	}{
		{nil, 40},
		{[]uint8{hop}, 48},
		{[]uint8{dst}, 48},
		{[]uint8{hop, dst}, 64},
		{[]uint8{rt}, 48},
		{[]uint8{hop, dst, rt}, 88},
		{[]uint8{hop, dst, rt, dst}, 88},
		{[]uint8{dst, rt, dst}, 64},
		{[]uint8{hop, wire.ProtoMobility}, 48},
	} {
		t.Run(fmt.Sprint(c.kinds), func(t *testing.T) {
			f, p := ipv6WithExtensions(t, c.kinds, counting(2000))
			end, _ := unfragmentable(p)
			require.Equal(t, c.unfragmentable, end)
			f.FragID = 7
			re := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 0)
			fs := fragments(t, f, p, 1280)
			out := newFrame()
			for i, g := range fs {
				q := parse(t, g)
				require.Equal(t, c.unfragmentable, q.FragHeader)
				require.Equal(t, i == len(fs)-1, re.Add(0, g, q, out) == Complete)
			}
			require.Equal(t, f.Bytes(), out.Bytes())
			parse(t, out)
		})
	}
}
