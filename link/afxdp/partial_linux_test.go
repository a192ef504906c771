package afxdp

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/vnet"
	"usvs/wire"
)

// partial makes the checksum half made, as a local sender's kernel leaves it.
func partial(f *link.Frame, proto uint8) {
	var p wire.Packet
	p.Parse(f.Bytes(), wire.Ethernet)
	offset := map[uint8]int{wire.ProtoTCP: tcpChecksum, wire.ProtoUDP: udpChecksum}[proto]
	data := p.Transport()
	binary.BigEndian.PutUint16(data[offset:], wire.Fold(wire.PseudoSum(p.Src, p.Dst, proto, len(data))))
	f.Partial, f.CsumStart, f.CsumOffset = true, uint16(p.L4), uint16(offset)
}

func TestMarkPartial(t *testing.T) {
	for _, pair := range [][2]netip.Addr{{cip, vip}, {cip6, vip6}} {
		for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP} {
			for n := range 300 {
				f := datagram(pair[0], pair[1], proto, uint16(1000+n), 80, n)
				for i := range n {
					f.Bytes()[f.Len()-1-i] = byte(i * n)
				}
				partial(f, proto)
				want := *f
				f.Partial, f.CsumStart, f.CsumOffset = false, 0, 0
				var p wire.Packet
				markPartial(f, &p)
				assert.Equal(t, want, *f, "half made")
				assert.True(t, vnet.Complete(f))
				markPartial(f, &p)
				assert.False(t, f.Partial, "finished: %v, %d bytes", pair, n)
			}
		}
	}
}

// A finished checksum that equals the pseudo-header's sum is left alone.
func TestMarkPartialByChance(t *testing.T) {
	f := datagram(cip, vip, wire.ProtoUDP, 0, 80, 2)
	var p wire.Packet
	p.Parse(f.Bytes(), wire.Ethernet)
	data := p.Transport()
	pseudo := wire.PseudoSum(p.Src, p.Dst, p.Proto, len(data))
	binary.BigEndian.PutUint16(data[udpChecksum:], wire.Fold(pseudo))
	// Two bytes of data make it verify.
	binary.BigEndian.PutUint16(data[8:], ^wire.Fold(wire.Sum(data, pseudo)))
	markPartial(f, &p)
	assert.False(t, f.Partial)
}

func TestMarkPartialLeavesAlone(t *testing.T) {
	for name, change := range map[string]func(b []byte){
		"a fragment":       func(b []byte) { b[20] = 0x20; wire.IPv4(b[14:]).UpdateChecksum() },
		"another protocol": func(b []byte) { b[23] = 47; wire.IPv4(b[14:]).UpdateChecksum() },
		"no IP":            func(b []byte) { b[12] = 0x88 },
		"no checksum":      func(b []byte) { b[40], b[41] = 0, 0 },
		"damaged":          func(b []byte) { b[41]++ },
	} {
		f := datagram(cip, vip, wire.ProtoUDP, 1000, 80, 20)
		partial(f, wire.ProtoUDP)
		f.Partial, f.CsumStart, f.CsumOffset = false, 0, 0
		change(f.Bytes())
		markPartial(f, new(wire.Packet))
		assert.False(t, f.Partial, name)
	}
}

func FuzzMarkPartial(f *testing.F) {
	f.Add(datagram(cip, vip, wire.ProtoUDP, 1, 2, 3).Bytes())
	f.Add(datagram(cip6, vip6, wire.ProtoTCP, 1, 2, 3).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := wire.NewFrame(len(b))
		fr.SetBytes(b)
		markPartial(fr, new(wire.Packet))
		if fr.Partial && !vnet.Complete(fr) {
			t.Fatal("the field is outside the frame")
		}
	})
}

// What mayBePartial rules out the parser would rule out as well.
func TestMayBePartial(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		proto := []uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoICMP}[rng.IntN(3)]
		src, dst := cip, vip
		if rng.IntN(2) == 0 {
			src, dst = cip6, vip6
		}
		f := datagram(src, dst, wire.ProtoUDP, uint16(rng.Uint32()), uint16(rng.Uint32()), 40)
		b := f.Bytes()
		if rng.IntN(2) == 0 {
			partial(f, wire.ProtoUDP)
			f.Partial, f.CsumStart, f.CsumOffset = false, 0, 0
		}
		if rng.IntN(2) == 0 { // anything may be anywhere
			b[12+rng.IntN(len(b)-12)] = byte(rng.Uint32())
		}
		if rng.IntN(4) == 0 && b[14] == 0x45 {
			b[23] = proto
		}
		f.Truncate(1 + rng.IntN(f.Len()))
		if mayBePartial(f.Bytes()) {
			continue
		}
		var p wire.Packet
		if p.Parse(f.Bytes(), wire.Ethernet) != wire.None || p.Fragment {
			continue
		}
		at, data := map[uint8]int{wire.ProtoTCP: tcpChecksum, wire.ProtoUDP: udpChecksum}[p.Proto], p.Transport()
		require.False(t, len(data) >= at+2 && binary.BigEndian.Uint16(data[at:]) == wire.Fold(wire.PseudoSum(p.Src, p.Dst, p.Proto, len(data))),
			"%x", f.Bytes())
	}
}
