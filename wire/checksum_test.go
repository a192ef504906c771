package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// slowSum is RFC 1071 as it reads: 16-bit words, end-around carry after each.
func slowSum(b []byte, sum uint16) uint16 {
	s := uint32(sum)
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestSumAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 300 {
		b := randomBytes(r, n)
		require.Equal(t, slowSum(b, 0), Fold(Sum(b, 0)), "%d bytes: %x", n, b)
		start := uint16(r.Uint32())
		require.Equal(t, slowSum(b, start), Fold(Sum(b, uint64(start))), "%d bytes after %#x", n, start)
		cut := r.IntN(n+1) &^ 1
		require.Equal(t, slowSum(b, 0), Fold(Sum(b[cut:], Sum(b[:cut], 0))), "%d bytes cut at %d", n, cut)
	}
}

func TestSumOfExtremes(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 8, 9, 31, 32, 33, 40, 63, 64, 65, 65535} {
		zeros, ones := make([]byte, n), make([]byte, n)
		for i := range ones {
			ones[i] = 0xff
		}
		require.Equal(t, slowSum(zeros, 0), Fold(Sum(zeros, 0)), n)
		require.Equal(t, slowSum(ones, 0), Fold(Sum(ones, 0)), n)
		// No running sum may get lost, however large it has become.
		require.Equal(t, slowSum(ones, 0xffff), Fold(Sum(ones, ^uint64(0))), n)
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[uint64]uint16{
		0: 0, 1: 1, 0xffff: 0xffff, 0x10000: 1, 0x1ffff: 1, 0xffffffff: 0xffff,
		0x1_0000_0000: 1, ^uint64(0): 0xffff, 0xfffe_ffff_ffff_ffff: 0xfffe,
	} {
		require.Equal(t, want, Fold(in), "%#x", in)
	}
}

// TestIncrementalUpdates changes words of random messages and compares the
// patched checksum with one computed anew.
func TestIncrementalUpdates(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	extremes := []uint16{0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff}
	word := func() uint16 {
		if r.IntN(3) == 0 {
			return extremes[r.IntN(len(extremes))]
		}
		return uint16(r.Uint32())
	}
	for range 20000 {
		b := randomBytes(r, 2*(2+r.IntN(10)))
		b[0] |= 1 // an Internet header is never all zero, so neither is this
		at := 2 + 2*r.IntN(len(b)/2-1)
		binary.BigEndian.PutUint16(b[at:], word())
		before, old := Checksum(b), binary.BigEndian.Uint16(b[at:])
		changed := word()
		binary.BigEndian.PutUint16(b[at:], changed)
		require.Equal(t, Checksum(b), Update16(before, old, changed), "%x at %d, was %#x", b, at, old)
	}
	for range 20000 {
		b := randomBytes(r, 4+2*(8+r.IntN(10)))
		b[0] |= 1
		before := Checksum(b)
		part := b[4 : 4+16]
		old := Sum(part, 0)
		copy(part, randomBytes(r, 16))
		require.Equal(t, Checksum(b), UpdateSum(before, old, Sum(part, 0)), "%x", b)
	}
}

// TestPseudoSum spells the pseudo-headers out.
func TestPseudoSum(t *testing.T) {
	a4, b4 := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("10.9.0.1")
	want := []byte{198, 51, 100, 7, 10, 9, 0, 1, 0, ProtoTCP, 0x12, 0x34}
	require.Equal(t, slowSum(want, 0), Fold(PseudoSum(a4, b4, ProtoTCP, 0x1234)))

	a6, b6 := netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr("fd00:9::1")
	x, y := a6.As16(), b6.As16()
	want = append(append(x[:], y[:]...), 0, 1, 0x23, 0x45, 0, 0, 0, ProtoICMPv6)
	require.Equal(t, slowSum(want, 0), Fold(PseudoSum(a6, b6, ProtoICMPv6, 0x12345)))
}

func TestChecksumOfItselfIsZero(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for range 1000 {
		h := IPv4(randomBytes(r, 20+4*r.IntN(11)))
		h[0] = 0x40 | byte(len(h)/4)
		h.UpdateChecksum()
		require.True(t, h.HeaderChecksumOK())
		h[r.IntN(len(h))] ^= 1 << r.IntN(4)
		if int(h[0]&15)*4 == len(h) {
			require.False(t, h.HeaderChecksumOK())
		}
	}
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{20, 1460} {
		data := make([]byte, n)
		b.Run("", func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				Sum(data, 0)
			}
		})
	}
}
