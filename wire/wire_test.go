package wire

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

var (
	src4, dst4 = netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("10.9.0.1")
	src6, dst6 = netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr("fd00:9::1")
)

// serialize builds a frame with gopacket.
func serialize(ls ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, ls...); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

func ethernet(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{DstMAC: []byte{2, 0, 0, 0, 0, 1}, SrcMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: t}
}

func ip4(p layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 63, TOS: 0x10, Id: 7, Protocol: p, SrcIP: src4.AsSlice(), DstIP: dst4.AsSlice()}
}

func ip6(p layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 62, NextHeader: p, SrcIP: src6.AsSlice(), DstIP: dst6.AsSlice()}
}

func tcpOver(n gopacket.NetworkLayer) *layers.TCP {
	t := &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 1, Ack: 2, SYN: true, ACK: true, Window: 3}
	_ = t.SetNetworkLayerForChecksum(n)
	return t
}

// tcp4 is a segment without the padding that gopacket adds to short frames.
func tcp4() []byte {
	ip := ip4(layers.IPProtocolTCP)
	return serialize(ethernet(layers.EthernetTypeIPv4), ip, tcpOver(ip), gopacket.Payload("hello"))[:14+45]
}

func tcp6() []byte {
	ip := ip6(layers.IPProtocolTCP)
	return serialize(ethernet(layers.EthernetTypeIPv6), ip, tcpOver(ip), gopacket.Payload("hello"))
}

func TestParseTCP4(t *testing.T) {
	var p Packet
	b := append(tcp4(), 0, 0, 0) // link padding
	require.Equal(t, None, p.Parse(b, Ethernet))
	require.Equal(t, Packet{
		Data: b, EtherType: TypeIPv4, L3: 14, L4: 34, End: len(b) - 3,
		Version: 4, Proto: ProtoTCP, Src: src4, Dst: dst4, TTL: 63, FragID: 7,
		Ports: true, Full: true, SrcPort: 40000, DstPort: 80, TCPFlags: FlagSYN | FlagACK,
	}, p)
	require.Equal(t, 45, p.IPLen())
	require.Equal(t, "hello", string(p.Transport()[TCP(p.Transport()).HeaderLen():]))
	require.EqualValues(t, 0x10, p.V4().TOS())
}

func TestParseTCP6(t *testing.T) {
	var p Packet
	b := tcp6()
	require.Equal(t, None, p.Parse(b, Ethernet))
	require.Equal(t, Packet{
		Data: b, EtherType: TypeIPv6, L3: 14, L4: 54, End: len(b),
		Version: 6, Proto: ProtoTCP, Src: src6, Dst: dst6, TTL: 62,
		Ports: true, Full: true, SrcPort: 40000, DstPort: 80, TCPFlags: FlagSYN | FlagACK,
	}, p)
	require.Equal(t, None, p.Parse(b[14:], IP))
	require.Equal(t, 40, p.L4)
	require.EqualValues(t, TypeIPv6, p.EtherType)
}

func TestParseTags(t *testing.T) {
	b := tcp4()
	tagged := append(append(append([]byte{}, b[:12]...), 0x88, 0xa8, 0, 5, 0x81, 0, 0, 7), b[12:]...)
	var p Packet
	require.Equal(t, None, p.Parse(tagged, Ethernet))
	require.Equal(t, 22, p.L3)
	require.EqualValues(t, TypeIPv4, p.EtherType)
	require.EqualValues(t, 80, p.DstPort)
	require.Equal(t, ShortVLAN, p.Parse(tagged[:17], Ethernet))
	require.Equal(t, ShortVLAN, p.Parse(tagged[:21], Ethernet))
}

func TestParseOtherTypes(t *testing.T) {
	var p Packet
	require.Equal(t, None, p.Parse([]byte("ddddddssssss\x08\x06rest"), Ethernet))
	require.EqualValues(t, TypeARP, p.EtherType)
	require.Zero(t, p.Version)
	require.Equal(t, 14, p.L3)
}

// edit changes bytes of a frame and repairs its IPv4 header checksum.
func edit(b []byte, how func(b []byte)) []byte {
	how(b)
	if h := IPv4(b[14:]); b[14]>>4 == 4 && h.HeaderLen() >= 20 && h.HeaderLen() <= len(h) {
		h.UpdateChecksum()
	}
	return b
}

func TestParseRefuses(t *testing.T) {
	ext := func(next byte, body ...byte) []byte {
		return edit(serialize(ethernet(layers.EthernetTypeIPv6), ip6(layers.IPProtocol(next)), gopacket.Payload(body)), func([]byte) {})
	}
	cases := []struct {
		name   string
		frame  []byte
		medium Medium
		want   Malformed
	}{
		{"nothing", nil, Ethernet, ShortEthernet},
		{"13 bytes", make([]byte, 13), Ethernet, ShortEthernet},
		{"no bytes of IP", nil, IP, UnknownIPVersion},
		{"IP version 5", []byte{0x50}, IP, UnknownIPVersion},
		{"short IPv4 header", tcp4()[:33], Ethernet, ShortIPv4},
		{"IPv4 version 6", edit(tcp4(), func(b []byte) { b[14] = 0x65 }), Ethernet, BadIPv4Version},
		{"IPv4 header of 16", edit(tcp4(), func(b []byte) { b[14] = 0x44 }), Ethernet, BadIPv4HeaderLen},
		{"IPv4 header beyond the frame", edit(tcp4()[:40], func(b []byte) { b[14] = 0x4f }), Ethernet, BadIPv4HeaderLen},
		{"IPv4 total length beyond", edit(tcp4(), func(b []byte) { b[17]++ }), Ethernet, BadIPv4TotalLen},
		{"IPv4 total length in the header", edit(tcp4(), func(b []byte) { b[17] = 19 }), Ethernet, BadIPv4TotalLen},
		{"IPv4 checksum", func() []byte { b := tcp4(); b[24] ^= 1; return b }(), Ethernet, BadIPv4Checksum},
		{"short IPv6 header", tcp6()[:53], Ethernet, ShortIPv6},
		{"IPv6 version 4", edit(tcp6(), func(b []byte) { b[14] = 0x40 }), Ethernet, BadIPv6Version},
		{"IPv6 payload beyond", edit(tcp6(), func(b []byte) { b[19]++ }), Ethernet, BadIPv6Length},
		{"extension of 4 bytes", ext(ProtoHopByHop, 6, 0, 0, 0), Ethernet, BadIPv6Extension},
		{"extension beyond the packet", ext(ProtoDstOpts, 6, 1, 0, 0, 0, 0, 0, 0), Ethernet, BadIPv6Extension},
		{"fragment header cut", ext(ProtoFragment, 6, 0, 0, 0, 0, 0, 0), Ethernet, BadIPv6Extension},
		{"the second extension cut", ext(ProtoDstOpts, ProtoRouting, 0, 0, 0, 0, 0, 0, 0, 6), Ethernet, BadIPv6Extension},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var p Packet
			got := p.Parse(tc.frame, tc.medium)
			require.Equal(t, tc.want, got, got)
			require.NotEmpty(t, got.String())
		})
	}
}

func TestParseExtensions(t *testing.T) {
	pad := []byte{1, 4, 0, 0, 0, 0}
	chain := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	udp := []byte{0, 53, 0, 54, 0, 8, 0, 0}
	b := serialize(ethernet(layers.EthernetTypeIPv6), ip6(ProtoHopByHop), gopacket.Payload(chain(
		[]byte{ProtoRouting, 0}, pad, []byte{ProtoFragment, 0, 4, 0, 0, 0, 0, 0},
		[]byte{ProtoDstOpts, 0, 0, 1, 0, 0, 1, 2}, []byte{ProtoUDP, 0}, pad, udp)))
	var p Packet
	require.Equal(t, None, p.Parse(b, Ethernet))
	require.EqualValues(t, ProtoUDP, p.Proto)
	require.Equal(t, 14+40+32, p.L4)
	require.True(t, p.Fragment && p.MoreFrags && p.Ports && p.Full)
	require.EqualValues(t, 258, p.FragID)
	require.Equal(t, 14+40+16, p.FragHeader)
	require.EqualValues(t, 54, p.DstPort)

	later := serialize(ethernet(layers.EthernetTypeIPv6), ip6(ProtoFragment), gopacket.Payload(chain(
		[]byte{ProtoDstOpts, 0, 0, 8, 0, 0, 1, 2}, udp)))
	require.Equal(t, None, p.Parse(later, Ethernet))
	require.EqualValues(t, ProtoDstOpts, p.Proto, "what follows a later fragment's header is data")
	require.Equal(t, 8, p.FragOffset)
	require.False(t, p.Ports)
}

func TestParsePortsOfCutTransport(t *testing.T) {
	cut := func(n int) []byte {
		return edit(tcp4()[:34+n], func(b []byte) { IPv4(b[14:]).SetTotalLen(20 + n) })
	}
	var p Packet
	require.Equal(t, None, p.Parse(cut(3), Ethernet))
	require.False(t, p.Ports || p.Full)
	require.Equal(t, None, p.Parse(cut(4), Ethernet))
	require.True(t, p.Ports)
	require.False(t, p.Full)
	require.Zero(t, p.TCPFlags)
	require.Equal(t, None, p.Parse(cut(20), Ethernet))
	require.True(t, p.Full)
}

func TestParseFragment4(t *testing.T) {
	b := edit(tcp4(), func(b []byte) { IPv4(b[14:]).SetFragWord(0x2000 | 3) })
	var p Packet
	require.Equal(t, None, p.Parse(b, Ethernet))
	require.True(t, p.Fragment && p.MoreFrags)
	require.Equal(t, 24, p.FragOffset)
	require.False(t, p.Ports || p.Full)
}

func TestParseQuoted(t *testing.T) {
	var p Packet
	whole := tcp4()[14:]
	quote := append([]byte{}, whole[:28]...)
	quote[10] ^= 1 // routers quote what they like
	require.Equal(t, None, p.ParseQuoted(quote, 4))
	require.Equal(t, 28, p.End)
	require.True(t, p.Ports)
	require.False(t, p.Full)
	require.Equal(t, ShortIPv4, p.ParseQuoted(quote[:19], 4))
	require.Equal(t, BadIPv6Version, p.ParseQuoted(append(quote, make([]byte, 40)...), 6))
	require.Equal(t, None, p.ParseQuoted(tcp6()[14:14+44], 6))
	require.True(t, p.Ports)
}

func TestIsICMPError(t *testing.T) {
	icmp := func(version, kind byte, n int) bool {
		b := serialize(ethernet(layers.EthernetTypeIPv4), ip4(ProtoICMP), gopacket.Payload(append([]byte{kind}, make([]byte, n-1)...)))
		if version == 6 {
			b = serialize(ethernet(layers.EthernetTypeIPv6), ip6(ProtoICMPv6), gopacket.Payload(append([]byte{kind}, make([]byte, n-1)...)))
		}
		var p Packet
		require.Equal(t, None, p.Parse(b, Ethernet))
		return p.IsICMPError()
	}
	for kind := range 256 {
		require.Equal(t, kind == 3 || kind == 4 || kind == 11, icmp(4, byte(kind), 8), kind)
		require.Equal(t, kind < 128, icmp(6, byte(kind), 8), kind)
	}
	require.False(t, icmp(4, 3, 7), "cut short")
	var p Packet
	require.Equal(t, None, p.Parse(tcp4(), Ethernet))
	require.False(t, p.IsICMPError())
}

func TestHeadersAgainstGopacket(t *testing.T) {
	b := tcp4()
	pkt := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	gip, gtcp := pkt.Layer(layers.LayerTypeIPv4).(*layers.IPv4), pkt.Layer(layers.LayerTypeTCP).(*layers.TCP)
	ip, tcp := IPv4(b[14:]), TCP(b[34:])
	require.Equal(t, int(gip.IHL)*4, ip.HeaderLen())
	require.EqualValues(t, gip.Length, ip.TotalLen())
	require.Equal(t, gip.Checksum, ip.Checksum())
	require.Equal(t, gip.Id, ip.ID())
	require.EqualValues(t, gtcp.SrcPort, tcp.SrcPort())
	require.Equal(t, gtcp.Seq, tcp.Seq())
	require.Equal(t, gtcp.Ack, tcp.Ack())
	require.Equal(t, gtcp.Window, tcp.Window())
	require.Equal(t, gtcp.Checksum, tcp.Checksum())
	require.Equal(t, int(gtcp.DataOffset)*4, tcp.HeaderLen())
}

func TestSetters(t *testing.T) {
	ip := IPv4(make([]byte, 20))
	ip[0] = 0x45
	ip.SetTOS(1)
	ip.SetTotalLen(0x203)
	ip.SetID(0x405)
	ip.SetFragWord(0x4000 | 0x2000 | 7)
	ip.SetTTL(8)
	ip.SetProto(9)
	ip.SetSrc(src4)
	ip.SetDst(dst4)
	ip.UpdateChecksum()
	require.True(t, ip.HeaderChecksumOK() && ip.DF() && ip.MF())
	require.Equal(t, []any{uint8(1), 0x203, uint16(0x405), 56, uint8(8), uint8(9), src4, dst4},
		[]any{ip.TOS(), ip.TotalLen(), ip.ID(), ip.FragOffset(), ip.TTL(), ip.Proto(), ip.Src(), ip.Dst()})

	v6 := IPv6(make([]byte, 40))
	v6.SetFlow(0xab, 0xcdef1)
	v6.SetPayloadLen(0x102)
	v6.SetNextHeader(3)
	v6.SetHopLimit(4)
	v6.SetSrc(src6)
	v6.SetDst(dst6)
	require.EqualValues(t, 6, v6[0]>>4)
	require.Equal(t, []any{uint8(0xab), uint32(0xcdef1), 0x102, uint8(3), uint8(4), src6, dst6},
		[]any{v6.TrafficClass(), v6.FlowLabel(), v6.PayloadLen(), v6.NextHeader(), v6.HopLimit(), v6.Src(), v6.Dst()})
}

func TestMAC(t *testing.T) {
	require.Equal(t, "02:00:0a:01:00:ff", MAC{2, 0, 10, 1, 0, 255}.String())
	require.True(t, Broadcast.IsMulticast() && MAC{}.IsZero())
	require.False(t, MAC{2}.IsMulticast() || MAC{2}.IsZero())
}

func TestFrame(t *testing.T) {
	f := NewFrame(100)
	require.Equal(t, 100, f.Cap())
	f.SetBytes([]byte("payload"))
	f.Partial, f.CsumStart = true, 34
	require.Equal(t, Headroom, f.Room())
	f.Prepend(20)
	require.Equal(t, []any{27, Headroom - 20, uint16(54)}, []any{f.Len(), f.Room(), f.CsumStart})
	f.TrimFront(20)
	require.Equal(t, "payload", string(f.Bytes()))
	require.EqualValues(t, 34, f.CsumStart)
	f.Truncate(3)
	require.Equal(t, "pay", string(f.Bytes()))
	f.Extend(7)
	require.Equal(t, "payload", string(f.Bytes()))

	g := NewFrame(10)
	f.Mark, f.Port, f.GSO = 5, 6, GSOTCP4
	g.CopyFrom(f)
	require.Equal(t, "payload", string(g.Bytes()))
	require.Equal(t, []any{uint32(5), 6, GSOTCP4, true}, []any{g.Mark, g.Port, g.GSO, g.Partial})
	f.Bytes()[0] = 'X'
	require.Equal(t, "payload", string(g.Bytes()), "buffers are apart")
	require.Panics(t, func() { NewFrame(6).CopyFrom(f) })
	require.Panics(t, func() { f.Prepend(Headroom + 1); f.Bytes() })
	g.Reset()
	require.Equal(t, []any{0, uint32(0), false, Headroom}, []any{g.Len(), g.Mark, g.Partial, g.Room()})
}

// Whatever a frame was used for, nothing of it is left.
func TestFrameReset(t *testing.T) {
	f := NewFrame(100)
	f.SetBytes([]byte("packet"))
	f.Prepend(4)
	v := reflect.ValueOf(f).Elem()
	for i := range v.NumField() {
		switch x := v.Field(i); {
		case !v.Type().Field(i).IsExported():
		case x.CanInt():
			x.SetInt(1)
		case x.CanUint():
			x.SetUint(1)
		case x.Kind() == reflect.Bool:
			x.SetBool(true)
		default:
			f.Pieces = []uint16{1, 2, 3}
		}
	}
	f.Reset()
	require.Equal(t, 3, cap(f.Pieces))
	require.Empty(t, f.Pieces)
	f.Pieces = nil
	clear(f.Space())
	require.Equal(t, NewFrame(100), f)
}

// A device's own header comes to stand right in front of the packet.
func TestFrameBehindHeader(t *testing.T) {
	f := NewFrame(20)
	copy(f.SpaceBehind(3), "hdrpayload")
	f.SetLen(7)
	require.Equal(t, "payload", string(f.Bytes()))
	require.Equal(t, "hdrpayload", string(f.BytesBehind(3)))
	f.Prepend(Headroom - 3)
	require.Len(t, f.BytesBehind(3), Headroom+7)
	require.Nil(t, f.BytesBehind(4), "no room")
}

func TestParseDoesNotAllocate(t *testing.T) {
	v4, v6 := tcp4(), tcp6()
	var p Packet
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if p.Parse(v4, Ethernet) != None || p.Parse(v6, Ethernet) != None || p.ParseQuoted(v4[14:], 4) != None {
			t.Fatal("refused")
		}
	}))
}

func BenchmarkParse(b *testing.B) {
	var p Packet
	for name, frame := range map[string][]byte{"IPv4": tcp4(), "IPv6": tcp6()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Parse(frame, Ethernet)
			}
		})
	}
}

// TestFrameLengths: whatever is done to a frame's ends, Room and Len say where the
// packet is in its buffer, and the bytes behind it are not lost.
func TestFrameLengths(t *testing.T) {
	f := NewFrame(10)
	f.SetBytes([]byte("0123456789"))
	require.Equal(t, Headroom, f.Room())
	f.Truncate(4)
	require.Equal(t, "0123", string(f.Bytes()))
	f.Extend(10)
	require.Equal(t, "0123456789", string(f.Bytes()))
	f.TrimFront(10)
	require.Equal(t, []int{0, Headroom + 10, 10}, []int{f.Len(), f.Room(), f.Cap()})
	require.Len(t, f.BytesBehind(Headroom+10), Headroom+10)
	f.Prepend(3)
	require.Equal(t, "789", string(f.Bytes()))
	f.Prepend(f.Room())
	require.Equal(t, []int{Headroom + 10, 0}, []int{f.Len(), f.Room()})
	require.Panics(t, func() { f.Prepend(1) })
	require.Panics(t, func() { f.Extend(f.Len() + 1) })
	f.Reset()
	require.Equal(t, []int{0, Headroom}, []int{f.Len(), f.Room()})
}
