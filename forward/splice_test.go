package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// spliced are the packets of the tests: both families, with and without link
// header, padding, and room for SACK options.
func spliced() []recipe {
	const flags = wire.FlagACK | wire.FlagPSH
	text := []byte("227 Entering Passive Mode (10,2,0,13,19,137)\r\n")
	return []recipe{
		{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: text, tcpFlags: flags, id: 7, df: true},
		{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: text, tcpFlags: flags, bare: true},
		{src: cip6, dst: vip6, proto: wire.ProtoTCP, payload: text, tcpFlags: flags},
		{src: cip6, dst: vip6, proto: wire.ProtoTCP, payload: text[:5], tcpFlags: flags, bare: true},
	}
}

// TestSplice: whatever takes whatever place, the result is the packet with that
// payload, with right lengths and sums.
func TestSplice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i, r := range spliced() {
		for range 50 {
			f, p := r.build(t)
			if !r.bare && rng.IntN(2) == 0 {
				f.Extend(f.Len() + 3) // padding
				p = parse(t, f)
			}
			partial := rng.IntN(2) == 0
			if partial {
				makePartial(f, p)
			}
			start := rng.IntN(len(r.payload))
			end := start + rng.IntN(len(r.payload)-start)
			text := counting(rng.IntN(60))
			require.True(t, Splice(f, p, start, end, text))

			want := r
			want.payload = bytes.Join([][]byte{r.payload[:start], text, r.payload[end:]}, nil)
			g, q := want.build(t)
			if partial {
				makePartial(g, q)
			}
			require.Equal(t, g.Bytes(), f.Bytes(), "%d: %d..%d becomes %d bytes, partial %v", i, start, end, len(text), partial)
			require.Equal(t, *parse(t, f), *p)
		}
	}
}

func TestSpliceRefuses(t *testing.T) {
	f, p := recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(65000), tcpFlags: wire.FlagACK}.build(t)
	before := bytes.Clone(f.Bytes())
	require.False(t, Splice(f, p, 0, 0, counting(600)), "longer than an IP packet")
	require.Equal(t, before, f.Bytes())
	require.True(t, Splice(f, p, 0, 0, counting(400)))

	small := wire.NewFrame(100)
	small.SetBytes(recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(40)}.bytes(t))
	p = parse(t, small)
	require.False(t, Splice(small, p, 0, 0, counting(7)), "longer than the frame's buffer")
	require.True(t, Splice(small, p, 0, 0, counting(6)))
}

func TestPayload(t *testing.T) {
	_, p := recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: []byte("hello")}.build(t)
	require.Equal(t, "hello", string(Payload(p)))
	p.Data[p.L4+12] = 0xf0 // header longer than the packet
	require.Nil(t, Payload(p))
	p.Data[p.L4+12] = 0x40
	require.Nil(t, Payload(p))
	_, p = recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: []byte("hello")}.build(t)
	require.Nil(t, Payload(p))
}

// withTCPOptions gives a TCP packet options and a right checksum.
func withTCPOptions(t testing.TB, r recipe, options []byte) (*wire.Frame, *wire.Packet) {
	f, p := r.build(t)
	require.True(t, Splice(f, p, 0, 0, options)) // they are where the payload begins
	p.Data[p.L4+12] = uint8(20+len(options)) / 4 << 4
	put16(p.Data[p.L4+tcpChecksum:], 0)
	put16(p.Data[p.L4+tcpChecksum:], transportSum(f, p))
	return f, p
}

func numbers(n ...uint32) (b []byte) {
	for _, v := range n {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestShiftTCP: numbers move, at even and at odd offsets, and the checksum stays right.
func TestShiftTCP(t *testing.T) {
	minus := func(at uint32) int32 {
		if at > 5000 {
			return -3
		}
		return 7
	}
	for i, c := range []struct{ options, want []byte }{
		{nil, nil},
		{join([]byte{1, 1, 5, 10}, numbers(4000, 6000)), join([]byte{1, 1, 5, 10}, numbers(3993, 6003))},
		{join([]byte{1, 5, 10}, numbers(0xfffffffe, 1), []byte{0}), join([]byte{1, 5, 10}, numbers(1, 0xfffffffa), []byte{0})},
		{join([]byte{8, 10}, numbers(5500, 5500), []byte{5, 18}, numbers(1, 2, 3, 4)), nil},
		{[]byte{5, 2, 1, 0}, []byte{5, 2, 1, 0}},
		{[]byte{5, 9, 1, 0}, []byte{5, 9, 1, 0}},
		{[]byte{5, 1, 0, 0}, []byte{5, 1, 0, 0}},
		{[]byte{0, 5, 10, 0}, []byte{0, 5, 10, 0}},
		{[]byte{1, 1, 1, 5}, []byte{1, 1, 1, 5}},
	} {
		for _, r := range spliced() {
			for _, partial := range []bool{false, true} {
				f, p := withTCPOptions(t, r, c.options)
				if partial {
					makePartial(f, p)
				}
				seq, ack := be32(p.Data[p.L4+4:]), be32(p.Data[p.L4+8:])
				ShiftTCP(f, p, -70000, minus)
				require.Equal(t, seq-70000, be32(p.Data[p.L4+4:]))
				require.Equal(t, ack-uint32(minus(ack)), be32(p.Data[p.L4+8:]))
				if c.want != nil {
					require.Equal(t, c.want, p.Data[p.L4+20:p.L4+20+len(c.want)], "%d", i)
				}
				FinishChecksum(f, p)
				require.True(t, TCPChecksumOK(f, p), fmt.Sprint(i, partial))
				p.Data[p.L4+4]++
				require.False(t, TCPChecksumOK(f, p))
			}
		}
	}
}

func TestSpliceAllocatesNothing(t *testing.T) {
	f, p := spliced()[0].build(t)
	d := int32(1)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		Splice(f, p, 5, 6, []byte("22"))
		Splice(f, p, 5, 7, []byte("2"))
		ShiftTCP(f, p, d, func(uint32) int32 { return d })
		TCPChecksumOK(f, p)
	}))
}

func FuzzShiftTCP(f *testing.F) {
	f.Add([]byte{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2}, int32(5))
	f.Fuzz(func(t *testing.T, options []byte, d int32) {
		options = options[:min(len(options), 40)&^3]
		fr, p := withTCPOptions(t, spliced()[0], options)
		ShiftTCP(fr, p, d, func(at uint32) int32 { return int32(at) ^ d })
		if !TCPChecksumOK(fr, p) {
			t.Fatalf("% x: wrong checksum", options)
		}
	})
}
