package forward

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// Every plain packet, with any checksum whatever in it: what the general
// functions make of it is what those for plain packets make of it.
func TestPlainIsGeneral(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		for _, r := range clientPackets(rng) {
			r.vlans, r.bare = 0, false
			f, _ := r.build(t)
			requirePlainIsGeneral(t, rng, f)
		}
	}
}

func requirePlainIsGeneral(t *testing.T, rng *rand.Rand, f *wire.Frame) {
	var plain wire.Plain
	if !plain.Parse(f.Bytes()) {
		return
	}
	f.Truncate(int(plain.End))
	spoil(t, rng, f, &plain)
	to := netip.AddrPortFrom(wire.Words{Hi: rng.Uint64(), Lo: rng.Uint64()}.Addr(plain.V6), uint16(rng.Uint32()))
	words := wire.WordsOf(to.Addr())
	end, id, pmtuDisc := netip.MustParseAddr("192.0.2.77"), rng.Uint32(), rng.IntN(2) == 0
	if rng.IntN(2) == 0 {
		end = netip.MustParseAddr("2001:db8::77")
	}
	tunnel, ends := Tunnel{Src: end, Dst: end.Next()}, TunnelEnds{wire.WordsOf(end), wire.WordsOf(end.Next()), end.Is6()}
	for name, way := range map[string]struct {
		general func(*wire.Frame, *wire.Packet)
		plain   func(*wire.Frame) bool
	}{
		"hop": {func(*wire.Frame, *wire.Packet) {}, func(g *wire.Frame) bool { PlainHop(g.Bytes(), &plain); return true }},
		"dst": {func(g *wire.Frame, p *wire.Packet) { RewriteDst(g, p, to) },
			func(g *wire.Frame) bool { return PlainDst(g, g.Bytes(), &plain, words, to.Port()) }},
		"src": {func(g *wire.Frame, p *wire.Packet) { RewriteSrc(g, p, to) },
			func(g *wire.Frame) bool { return PlainSrc(g, g.Bytes(), &plain, words, to.Port()) }},
		"tunnel": {func(g *wire.Frame, p *wire.Packet) { Encapsulate(g, p, &tunnel, pmtuDisc, id) },
			func(g *wire.Frame) bool {
				return (!f.Partial || PartialInside(f, &plain)) && PlainTunnel(g, &plain, &ends, pmtuDisc, id) != nil
			}},
	} {
		a, b := copyOf(f), copyOf(f)
		var p wire.Packet
		require.Equal(t, wire.None, p.Parse(a.Bytes(), a.Medium))
		if !way.plain(b) {
			require.Equal(t, f.Bytes(), b.Bytes(), "%s: refused, and changed", name)
			require.True(t, plain.Proto == wire.ProtoUDP || f.Partial)
			continue
		}
		DecrementTTL(&p)
		way.general(a, &p)
		from := 0
		if name == "tunnel" {
			from = 12 // the addresses are the caller's
		}
		require.Equal(t, a.Bytes()[from:], b.Bytes()[from:], "%s of % x", name, f.Bytes())
		require.Equal(t, [4]any{a.Partial, a.CsumStart, a.CsumOffset, a.FragID}, [4]any{b.Partial, b.CsumStart, b.CsumOffset, b.FragID})
	}
}

// spoil gives a packet random checksums, the special ones often, and sometimes
// leaves the transport's to the device.
func spoil(t *testing.T, rng *rand.Rand, f *wire.Frame, p *wire.Plain) {
	b := f.Bytes()
	at := uint16(tcpChecksum)
	if p.Proto == wire.ProtoUDP {
		at = udpChecksum
	}
	some := []uint16{0, 0xffff, 1, 0xfffe, uint16(rng.Uint32()), be16(b[p.L4+at:])}
	put16(b[p.L4+at:], some[rng.IntN(len(some))])
	if rng.IntN(2) == 0 {
		f.Partial, f.CsumStart, f.CsumOffset = true, p.L4, at
		if rng.IntN(4) == 0 {
			f.CsumStart += 2 // of something else in it
		}
	}
	if !p.V6 && rng.IntN(3) == 0 { // a header whose sum is 0, or its other form
		h := wire.IPv4(b[wire.EthernetLen:])
		h.SetID(0)
		h.UpdateChecksum()
		h.SetID(h.Checksum())
		h.SetChecksum([]uint16{0, 0xffff}[rng.IntN(2)])
		require.True(t, h.HeaderChecksumOK())
	}
}

func copyOf(f *wire.Frame) *wire.Frame {
	g := wire.NewFrame(f.Len())
	g.CopyFrom(f)
	return g
}

func BenchmarkPlainDst(b *testing.B) {
	for _, r := range []recipe{
		{src: cip4, dst: vip4, proto: wire.ProtoTCP}, {src: cip6, dst: vip6, proto: wire.ProtoTCP},
	} {
		b.Run(map[bool]string{true: "IPv6", false: "IPv4"}[r.src.Addr().Is6()], func(b *testing.B) {
			f, _ := r.build(b)
			var p wire.Plain
			require.True(b, p.Parse(f.Bytes()))
			to := wire.WordsOf(realFor(r).Addr())
			for b.Loop() {
				PlainDst(f, f.Bytes(), &p, to, 8080)
			}
		})
	}
}
