package vnet

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

func header(flags, gso uint8, hdrLen, size, start, offset uint16) []byte {
	h := []byte{flags, gso}
	for _, v := range []uint16{hdrLen, size, start, offset} {
		h = binary.NativeEndian.AppendUint16(h, v)
	}
	return h
}

func frame(n int) *wire.Frame {
	f := wire.NewFrame(2048)
	f.SetLen(n)
	return f
}

func TestDecode(t *testing.T) {
	for _, tc := range []struct {
		name string
		h    []byte
		len  int
		ok   bool
		want wire.Frame
	}{
		{"complete", header(0, 0, 0, 0, 0, 0), 60, true, wire.Frame{}},
		{"checked by the sender's card", header(2, 0, 0, 0, 0, 0), 60, true, wire.Frame{}},
		{"partial", header(1, 0, 0, 0, 34, 16), 60, true, wire.Frame{Partial: true, CsumStart: 34, CsumOffset: 16}},
		{"partial, last two bytes", header(1, 0, 0, 0, 34, 24), 60, true, wire.Frame{Partial: true, CsumStart: 34, CsumOffset: 24}},
		{"partial, outside", header(1, 0, 0, 0, 34, 25), 60, false, wire.Frame{}},
		{"partial, sum overflows 16 bits", header(1, 0, 0, 0, 0xffff, 0xffff), 60, false, wire.Frame{}},
		{"TCP4", header(1, 1, 66, 1448, 34, 16), 2000, true, wire.Frame{Partial: true, CsumStart: 34, CsumOffset: 16, GSO: wire.GSOTCP4, GSOSize: 1448}},
		{"TCP6 with ECN", header(1, 0x84, 86, 1428, 54, 16), 2000, true, wire.Frame{Partial: true, CsumStart: 54, CsumOffset: 16, GSO: wire.GSOTCP6, GSOSize: 1428, ECN: true}},
		{"UDP", header(1, 5, 42, 1200, 34, 6), 2000, true, wire.Frame{Partial: true, CsumStart: 34, CsumOffset: 6, GSO: wire.GSOUDP, GSOSize: 1200}},
		{"TCP4 with a complete checksum", header(0, 1, 66, 1448, 0, 0), 2000, true, wire.Frame{GSO: wire.GSOTCP4, GSOSize: 1448}},
		{"no segment size", header(1, 1, 66, 0, 34, 16), 2000, false, wire.Frame{}},
		{"UFO", header(1, 3, 42, 1480, 34, 6), 2000, false, wire.Frame{}},
		{"tunnel", header(1, 0x21, 42, 1480, 34, 6), 2000, false, wire.Frame{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := frame(tc.len)
			ok := Decode(tc.h, f)
			require.Equal(t, tc.ok, ok)
			if !ok {
				return
			}
			assert.Equal(t, tc.want.Partial, f.Partial)
			assert.Equal(t, tc.want.CsumStart, f.CsumStart)
			assert.Equal(t, tc.want.CsumOffset, f.CsumOffset)
			assert.Equal(t, tc.want.GSO, f.GSO)
			assert.Equal(t, tc.want.GSOSize, f.GSOSize)
			assert.Equal(t, tc.want.ECN, f.ECN)
		})
	}
}

func TestEncodeHeadersLen(t *testing.T) {
	for _, tc := range []struct {
		name string
		gso  wire.GSO
		part bool
		len  int
		doff byte
		want uint16
	}{
		{"no super-frame needs none", wire.GSONone, true, 200, 8, 0},
		{"TCP with options", wire.GSOTCP4, true, 200, 8, 34 + 32},
		{"TCP6", wire.GSOTCP6, true, 200, 5, 34 + 20},
		{"UDP", wire.GSOUDP, true, 200, 0, 34 + 8},
		{"complete checksum: unknown", wire.GSOTCP4, false, 200, 8, 0},
		{"TCP header cut off", wire.GSOTCP4, true, 50, 8, 0},
		{"TCP options cut off", wire.GSOTCP4, true, 60, 15, 0},
		{"UDP header cut off", wire.GSOUDP, true, 40, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := frame(200)
			f.Bytes()[34+12] = tc.doff << 4
			f.Truncate(tc.len)
			f.GSO, f.GSOSize, f.Partial, f.CsumStart, f.CsumOffset = tc.gso, 100, tc.part, 34, 16
			h := make([]byte, HeaderLen)
			Encode(h, f)
			assert.Equal(t, tc.want, binary.NativeEndian.Uint16(h[2:]))
		})
	}
}

func TestEncodeForgetsTheLastFrame(t *testing.T) {
	h := header(0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff)
	Encode(h, frame(60))
	assert.Equal(t, make([]byte, HeaderLen), h)
}

func TestComplete(t *testing.T) {
	src, dst := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for n := wire.UDPLen; n < 80; n++ { // odd lengths too
		f := frame(wire.IPv4Len + n)
		udp := f.Bytes()[wire.IPv4Len:]
		for i := range udp {
			udp[i] = byte(i * 7)
		}
		pseudo := wire.PseudoSum(src, dst, wire.ProtoUDP, n)
		wire.UDP(udp).SetChecksum(wire.Fold(pseudo))
		f.Partial, f.CsumStart, f.CsumOffset = true, wire.IPv4Len, 6
		require.True(t, Complete(f))
		assert.False(t, f.Partial)
		assert.Equal(t, uint16(0xffff), wire.Fold(wire.Sum(udp, pseudo)), "the receiver's check, length %d", n)
		assert.True(t, Complete(f), "nothing left to do")
	}
}

func TestCompleteNeverWritesZero(t *testing.T) {
	f := frame(8)
	b := f.Bytes()
	copy(b, []byte{0xff, 0xff, 0, 0, 0, 0, 0, 0})
	f.Partial, f.CsumOffset = true, 6
	require.True(t, Complete(f))
	assert.Equal(t, []byte{0xff, 0xff}, b[6:8])
}

func TestCompleteOutside(t *testing.T) {
	f := frame(8)
	f.Partial, f.CsumStart, f.CsumOffset = true, 4, 3
	assert.False(t, Complete(f))
}

func TestNoAllocations(t *testing.T) {
	f, h := frame(200), header(1, 1, 66, 100, 34, 16)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		Decode(h, f)
		Encode(h, f)
		Complete(f)
	}))
}

// FuzzDecode: whatever is accepted survives a round trip and can be completed.
func FuzzDecode(f *testing.F) {
	f.Add(header(1, 1, 66, 1448, 34, 16), make([]byte, 100))
	f.Add(header(1, 5, 42, 1200, 34, 6), make([]byte, 50))
	f.Fuzz(func(t *testing.T, h, packet []byte) {
		if len(h) < HeaderLen || len(packet) > 2048 {
			return
		}
		fr := frame(0)
		fr.SetBytes(packet)
		if !Decode(h, fr) {
			return
		}
		again, back := make([]byte, HeaderLen), frame(0)
		back.SetBytes(packet)
		Encode(again, fr)
		if !Decode(again, back) {
			t.Fatalf("%x was accepted, its own encoding %x was not", h[:HeaderLen], again)
		}
		if back.Partial != fr.Partial || back.CsumStart != fr.CsumStart || back.CsumOffset != fr.CsumOffset ||
			back.GSO != fr.GSO || back.GSOSize != fr.GSOSize || back.ECN != fr.ECN {
			t.Fatalf("round trip of %x changed the metadata", h[:HeaderLen])
		}
		if !Complete(fr) {
			t.Fatal("accepted, but cannot be completed")
		}
	})
}
