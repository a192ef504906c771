package host

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

func TestTunnelHeaders(t *testing.T) {
	type result struct {
		n     int
		proto uint8
		ok    bool
	}
	refused := result{}
	for _, tc := range []struct {
		name   string
		header tunnelHeader
		bytes  []byte
		want   result
	}{
		{"GRE, IPv4", greHeader, []byte{0, 0, 8, 0}, result{4, 4, true}},
		{"GRE, IPv6", greHeader, []byte{0, 0, 0x86, 0xdd}, result{4, 41, true}},
		{"GRE with all options", greHeader, append([]byte{0xb0, 0, 8, 0}, make([]byte, 12)...), result{16, 4, true}},
		{"GRE with options cut off", greHeader, append([]byte{0xb0, 0, 8, 0}, make([]byte, 11)...), refused},
		{"GRE source routing", greHeader, []byte{0x40, 0, 8, 0, 0, 0, 0, 0}, refused},
		{"GRE version 1", greHeader, []byte{0, 1, 8, 0}, refused},
		{"GRE, Ethernet", greHeader, []byte{0, 0, 0x65, 0x58}, refused},
		{"GRE cut off", greHeader, []byte{0, 0, 8}, refused},
		{"GUE, IPv4", gueHeader, []byte{0, 4, 0, 0}, result{4, 4, true}},
		{"GUE, IPv6 with options", gueHeader, append([]byte{2, 41, 0, 1}, make([]byte, 8)...), result{12, 41, true}},
		{"GUE with options cut off", gueHeader, append([]byte{2, 41, 0, 1}, make([]byte, 7)...), refused},
		{"GUE control", gueHeader, []byte{0x20, 4, 0, 0}, refused},
		{"GUE variant 1, IPv4", gueHeader, []byte{0x45, 0, 0, 0}, result{0, 4, true}},
		{"GUE variant 1, IPv6", gueHeader, []byte{0x60, 0, 0, 0}, result{0, 41, true}},
		{"GUE variant 2", gueHeader, []byte{0x80, 4, 0, 0}, refused},
		{"GUE, GRE", gueHeader, []byte{0, 47, 0, 0}, refused},
		{"GUE cut off", gueHeader, []byte{0, 4, 0}, refused},
	} {
		n, proto, ok := tc.header(tc.bytes)
		got := result{n, proto, ok}
		if !ok {
			got = refused
		}
		assert.Equal(t, tc.want, got, tc.name)
	}
}

// tunnelled is what a raw IPv4 socket delivers for inner, with an outer TOS.
func tunnelled(inner []byte, tos uint8) *wire.Frame {
	b := packet{src: peer4, dst: host4, proto: wire.ProtoIPIP, payload: inner}.ip()
	b[1] = tos
	f := wire.NewFrame(4000)
	f.SetBytes(b)
	return f
}

func newTestUnpacker() *unpacker {
	return &unpacker{
		header: plainHeader(wire.ProtoIPIP), outer4: true,
		vip: func(a netip.Addr) bool { return a == vip4 },
		own: func(a netip.Addr) bool { return a == vip4 || a == host4 },
	}
}

func TestUnpack(t *testing.T) {
	good := packet{src: other4, dst: vip4, proto: wire.ProtoTCP, sport: 1024, dport: 80}
	toOther, fromOwn := good, good
	toOther.dst, fromOwn.src = rs4, vip4
	ect := good.ip()
	ect[1] = 2
	wire.IPv4(ect).UpdateChecksum()
	for _, tc := range []struct {
		name  string
		inner []byte
		tos   uint8
		want  refusal
	}{
		{"whole", good.ip(), 0, unpacked},
		{"padded", append(good.ip(), 0, 0, 0), 0, unpacked},
		{"cut off", good.ip()[:30], 0, badInner},
		{"empty", nil, 0, badInner},
		{"IPv6 as protocol 4", packet{src: other6, dst: vip6, proto: 6}.ip(), 0, badInner},
		{"to somebody else", toOther.ip(), 0, notForVIP},
		{"from ourselves", fromOwn.ip(), 0, ownSource},
		{"congestion, unable", good.ip(), 3, congestionBit},
		{"congestion, able", ect, 3, unpacked},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := tunnelled(tc.inner, tc.tos)
			assert.Equal(t, tc.want, newTestUnpacker().unpack(f))
			if tc.want != unpacked {
				return
			}
			assert.Equal(t, wire.IP, f.Medium)
			assert.Equal(t, good.ip()[wire.IPv4Len:], f.Bytes()[wire.IPv4Len:])
			assert.True(t, wire.IPv4(f.Bytes()).HeaderChecksumOK())
			assert.Equal(t, tc.tos, wire.IPv4(f.Bytes()).TOS()&3)
		})
	}
	short := wire.NewFrame(100)
	short.SetBytes([]byte{0x4f, 0, 0})
	assert.Equal(t, badTunnel, newTestUnpacker().unpack(short))
	assert.Equal(t, "not for a VIP", notForVIP.String())
}

func TestMarkCongestionIPv6(t *testing.T) {
	b := packet{src: other6, dst: vip6, proto: wire.ProtoTCP, id: 77}.ip()
	assert.False(t, markCongestion(b))
	wire.IPv6(b).SetFlow(1, 77)
	assert.True(t, markCongestion(b))
	assert.Equal(t, uint8(3), wire.IPv6(b).TrafficClass())
	assert.Equal(t, uint32(77), wire.IPv6(b).FlowLabel())
}

func TestFindPartial(t *testing.T) {
	for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP} {
		p := packet{src: other4, dst: vip4, proto: proto, sport: 1, dport: 80}
		offset := map[uint8]int{wire.ProtoTCP: 16, wire.ProtoUDP: 6}[proto]
		body := p.transport()
		pseudo := wire.PseudoSum(p.src, p.dst, proto, len(body))
		complete := ^wire.Fold(wire.Sum(body, pseudo))
		for _, tc := range []struct {
			field uint16
			want  bool
		}{{wire.Fold(pseudo), true}, {complete, false}, {0, false}, {complete + 1, false}} {
			binary.BigEndian.PutUint16(body[offset:], tc.field)
			p.payload = body
			f := tunnelled(p.ip(), 0)
			require.Equal(t, unpacked, newTestUnpacker().unpack(f))
			assert.Equal(t, tc.want, f.Partial, "protocol %d, field %#x", proto, tc.field)
			if tc.want {
				assert.Equal(t, uint16(wire.IPv4Len), f.CsumStart)
				assert.Equal(t, uint16(offset), f.CsumOffset)
			}
		}
	}
}

// Segments that a kernel merged, or has not cut yet, go on as they came.
func TestFindSuper(t *testing.T) {
	for _, tc := range []struct {
		p        packet
		payload  int
		complete bool
		want     wire.GSO
		size     uint16
	}{
		{packet{src: other4, dst: vip4, proto: wire.ProtoTCP}, 60000, false, wire.GSOTCP4, 1460},
		{packet{src: other6, dst: vip6, proto: wire.ProtoTCP}, 60000, false, wire.GSOTCP6, 1440},
		{packet{src: other4, dst: vip4, proto: wire.ProtoTCP}, 1460, false, wire.GSONone, 0},
		{packet{src: other4, dst: vip4, proto: wire.ProtoTCP}, 8000, true, wire.GSONone, 0},
		{packet{src: other4, dst: vip4, proto: wire.ProtoUDP}, 8000, false, wire.GSONone, 0},
	} {
		tc.p.payload = make([]byte, tc.payload)
		tc.p.payload[12] = 5 << 4
		f := wire.NewFrame(wire.MaxFrame)
		f.SetBytes(tc.p.ip())
		var p wire.Packet
		require.Equal(t, wire.None, p.Parse(f.Bytes(), wire.IP))
		body := p.Transport()
		offset := map[uint8]int{wire.ProtoTCP: 16, wire.ProtoUDP: 6}[tc.p.proto]
		binary.BigEndian.PutUint16(body[offset:], wire.Fold(wire.PseudoSum(p.Src, p.Dst, p.Proto, len(body))))
		if tc.complete {
			body[offset]++
		}
		findPartial(f, &p)
		assert.Equal(t, !tc.complete, f.Partial)
		assert.Equal(t, []any{tc.want, tc.size}, []any{f.GSO, f.GSOSize}, "%d bytes of protocol %d", tc.payload, tc.p.proto)
	}
}

// FuzzUnpack: whatever arrives, an accepted packet is a whole IP packet to a VIP.
func FuzzUnpack(f *testing.F) {
	good := packet{src: other4, dst: vip4, proto: wire.ProtoTCP, dport: 80}.ip()
	for kind := range byte(4) {
		f.Add(kind, tunnelled(good, 3).Bytes())
		f.Add(kind, append([]byte{0, 4, 0, 0}, good...))
		f.Add(kind, append([]byte{0, 0, 8, 0}, good...))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		if len(b) > wire.MaxFrame {
			return
		}
		u := newTestUnpacker()
		u.header = []tunnelHeader{plainHeader(wire.ProtoIPIP), plainHeader(wire.ProtoIPv6), greHeader, gueHeader}[kind%4]
		u.outer4 = kind&4 == 0
		frame := wire.NewFrame(wire.MaxFrame)
		frame.SetBytes(b)
		if u.unpack(frame) != unpacked {
			return
		}
		var p wire.Packet
		require.Equal(t, wire.None, p.Parse(frame.Bytes(), wire.IP))
		require.Equal(t, vip4, p.Dst)
		require.Equal(t, frame.Len(), p.End)
		if frame.Partial {
			require.Less(t, int(frame.CsumStart)+int(frame.CsumOffset)+1, frame.Len())
		}
	})
}

func TestUnpackAllocatesNothing(t *testing.T) {
	f, u := tunnelled(packet{src: other4, dst: vip4, proto: wire.ProtoTCP, dport: 80}.ip(), 0), newTestUnpacker()
	b := append([]byte{}, f.Bytes()...)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		f.Reset()
		f.SetBytes(b)
		if u.unpack(f) != unpacked {
			t.Fail()
		}
	}))
}
