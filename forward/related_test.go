package forward

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// icmpError is an ICMP or ICMPv6 error from src to dst that quotes n bytes of
// the IP packet that quoted builds.
func icmpError(t testing.TB, src, dst netip.Addr, quoted recipe, n int) (*wire.Frame, *wire.Packet) {
	quoted.bare = true
	q := quoted.bytes(t)
	q = q[:min(n, len(q))]
	r := recipe{src: netip.AddrPortFrom(src, 0), dst: netip.AddrPortFrom(dst, 0), proto: wire.ProtoICMP,
		payload: append([]byte{wire.ICMPUnreachable, 4, 0, 0, 0, 0, 5, 0x14}, q...)}
	if src.Is6() {
		r.proto = wire.ProtoICMPv6
		copy(r.payload, []byte{wire.ICMPv6TooBig, 0})
	}
	f, p := r.build(t)
	setICMPChecksum(f, p)
	return f, p
}

var router4, router6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:ffff::1")

// TestRelated: both directions, both families, quotes cut anywhere behind the
// ports. The quote must be what the other side sent, and the sums right.
func TestRelated(t *testing.T) {
	for _, c := range []struct {
		name              string
		router            netip.Addr
		cip, virtual, rip netip.AddrPort
	}{
		{"IPv4", router4, cip4, vip4, rip4},
		{"IPv6", router6, cip6, vip6, rip6},
	} {
		for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoSCTP} {
			for _, n := range []int{64, 60, 48, 44, 24} {
				if c.router.Is6() {
					n += 20
				}
				request := recipe{src: c.cip, proto: proto, payload: counting(50), ttl: 60}
				reply := recipe{dst: c.cip, proto: proto, payload: counting(50), ttl: 60}

				// Going in: the client saw a reply from the VIP, the server sent it.
				reply.src = c.virtual
				f, p := icmpError(t, c.router, c.virtual.Addr(), reply, n)
				var q wire.Packet
				require.True(t, ParseQuote(p, &q))
				require.Equal(t, c.virtual, netip.AddrPortFrom(q.Src, q.SrcPort))
				RewriteRelatedIn(f, p, &q, c.rip)
				reply.src = c.rip
				requireRelated(t, f, p, &q, c.router, c.rip.Addr(), reply, n)

				// Going out: the server saw a request to itself, the client sent it to the VIP.
				request.dst = c.rip
				f, p = icmpError(t, c.router, c.cip.Addr(), request, n)
				require.True(t, ParseQuote(p, &q))
				require.Equal(t, c.rip, netip.AddrPortFrom(q.Dst, q.DstPort))
				RewriteRelatedOut(f, p, &q, c.virtual)
				request.dst = c.virtual
				requireRelated(t, f, p, &q, c.virtual.Addr(), c.cip.Addr(), request, n)
			}
		}
	}
}

func requireRelated(t *testing.T, f *wire.Frame, p, q *wire.Packet, src, dst netip.Addr, quoted recipe, n int) {
	t.Helper()
	requireValid(t, f)
	require.Equal(t, src, p.Src)
	require.Equal(t, dst, p.Dst)
	require.Equal(t, parse(t, f), p)
	var again wire.Packet
	require.True(t, ParseQuote(p, &again))
	require.Equal(t, &again, q)
	quoted.bare = true
	want := quoted.bytes(t)
	want = want[:min(n, len(want))]
	got := bytes.Clone(p.Data[p.L4+wire.ICMPLen : p.End])
	// The quoted transport checksum stays that of the packet as it was sent.
	blank := map[uint8][2]int{wire.ProtoTCP: {16, 18}, wire.ProtoUDP: {6, 8}, wire.ProtoSCTP: {8, 12}}[quoted.proto]
	for i := q.L4 + blank[0]; i < min(q.L4+blank[1], len(got)); i++ {
		want[i], got[i] = 0, 0
	}
	require.Equal(t, hex.EncodeToString(want), hex.EncodeToString(got))
}

func TestParseQuoteRefuses(t *testing.T) {
	udp := recipe{src: vip4, dst: cip4, proto: wire.ProtoUDP, payload: counting(20)}
	for _, c := range []struct {
		why    string
		n      int
		change func(p *wire.Packet)
	}{
		{"ports cut off", 23, nil},
		{"header cut off", 19, nil},
		{"nothing quoted", 0, nil},
		{"quoted later fragment", 48, func(p *wire.Packet) { p.Data[p.L4+8+7] = 1 }},
		{"quoted ICMP", 48, func(p *wire.Packet) { p.Data[p.L4+8+9] = wire.ProtoICMP }},
		{"quoted other version", 48, func(p *wire.Packet) { p.Data[p.L4+8] = 0x65 }},
		{"quoted header length", 48, func(p *wire.Packet) { p.Data[p.L4+8] = 0x44 }},
		{"quoted header longer than the quote", 40, func(p *wire.Packet) { p.Data[p.L4+8] = 0x4f }},
		{"parameter problem", 48, func(p *wire.Packet) { p.Data[p.L4] = wire.ICMPParamProblem }},
		{"redirect", 48, func(p *wire.Packet) { p.Data[p.L4] = wire.ICMPRedirect }},
		{"echo", 48, func(p *wire.Packet) { p.Data[p.L4] = wire.ICMPEcho }},
		{"a fragment itself", 48, func(p *wire.Packet) { p.Fragment = true }},
		{"not ICMP", 48, func(p *wire.Packet) { p.Proto = wire.ProtoTCP }},
	} {
		_, p := icmpError(t, router4, vip4.Addr(), udp, c.n)
		if c.change != nil {
			c.change(p)
		}
		require.False(t, ParseQuote(p, new(wire.Packet)), c.why)
	}
	_, p := icmpError(t, router4, vip4.Addr(), udp, 24)
	require.True(t, ParseQuote(p, new(wire.Packet)), "just the ports")
}

func TestParseQuoteFirstFragment(t *testing.T) {
	udp := recipe{src: vip4, dst: cip4, proto: wire.ProtoUDP, payload: counting(20)}
	_, p := icmpError(t, router4, vip4.Addr(), udp, 48)
	p.Data[p.L4+8+6] |= 0x20
	require.True(t, ParseQuote(p, new(wire.Packet)))
}

func TestICMPChecksumOK(t *testing.T) {
	udp4 := recipe{src: vip4, dst: cip4, proto: wire.ProtoUDP, payload: counting(21)}
	udp6 := recipe{src: vip6, dst: cip6, proto: wire.ProtoUDP, payload: counting(21)}

	f, p := icmpError(t, router4, vip4.Addr(), udp4, 100)
	require.True(t, ICMPChecksumOK(f, p, false))
	require.True(t, ICMPChecksumOK(f, p, true))
	p.Data[p.End-1] ^= 1
	require.False(t, ICMPChecksumOK(f, p, false))
	require.False(t, ICMPChecksumOK(f, p, true))
	f.Partial, f.CsumStart, f.CsumOffset = true, uint16(p.L4), icmpChecksum
	require.True(t, ICMPChecksumOK(f, p, true))

	f, p = icmpError(t, router6, vip6.Addr(), udp6, 100)
	require.True(t, ICMPChecksumOK(f, p, false))
	require.False(t, ICMPChecksumOK(f, p, true), "correct, and dropped on the way out")
	m := wire.ICMP(p.Transport())
	m.SetChecksum(0)
	m.SetChecksum(wire.Checksum(m)) // without the pseudo-header
	require.True(t, ICMPChecksumOK(f, p, true))
	m.SetChecksum(0xdead)
	require.True(t, ICMPChecksumOK(f, p, false), "not looked at on the way in")
	require.False(t, ICMPChecksumOK(f, p, true))
}

// TestRelatedOutRecordedOnIPv6: a message whose checksum leaves out the
// pseudo-header passes and leaves with a correct one (ipvs.md 5.7).
func TestRelatedOutRecordedOnIPv6(t *testing.T) {
	request := recipe{src: cip6, dst: rip6, proto: wire.ProtoUDP, payload: counting(21)}
	f, p := icmpError(t, rip6.Addr(), cip6.Addr(), request, 100)
	m := wire.ICMP(p.Transport())
	m.SetChecksum(0)
	m.SetChecksum(wire.Checksum(m))
	require.True(t, ICMPChecksumOK(f, p, true))
	var q wire.Packet
	require.True(t, ParseQuote(p, &q))
	RewriteRelatedOut(f, p, &q, vip6)
	requireValid(t, f)
}

func TestRecordRoute(t *testing.T) {
	me := netip.MustParseAddr("10.9.0.1")
	for _, c := range []struct{ name, in, want string }{
		{"first slot", "070b04 0000000000000000 00", "070b08 0a09000100000000 00"},
		{"second slot", "070b08 0101010100000000 00", "070b0c 010101010a090001 00"},
		{"full", "070b0c 0101010101010101 00", "070b0c 0101010101010101 00"},
		{"behind no-ops", "0101 070704 00000000 000000", "0101 070708 0a090001 000000"},
		{"behind the end", "00 070704 00000000", "00 070704 00000000"},
		{"pointer 0", "070700 00000000 00", "070700 00000000 00"},
		{"pointer into the header", "070703 00000000 00", "070703 00000000 00"},
		{"pointer 255", "0707ff 00000000 00", "0707ff 00000000 00"},
		{"slot cut short", "070604 000000 0000", "070604 000000 0000"},
		{"no room at all", "0702 0000", "0702 0000"},
		{"length 1", "0701 0000", "0701 0000"},
		{"length beyond", "0709 0400 00000000", "0709 0400 00000000"},
		{"length missing", "010101 07", "010101 07"},
		{"other option", "440c0500 0000000000000000", "440c0500 0000000000000000"},
		{"behind another", "8204 0000 070704 00000000 00", "8204 0000 070708 0a090001 00"},
	} {
		f, p := withOptions(t, unhex(t, c.in))
		RecordRoute(p, me)
		require.Equal(t, hex.EncodeToString(unhex(t, c.want)), hex.EncodeToString(p.Data[p.L3+20:p.L4]), c.name)
		parse(t, f) // checks the header checksum
	}
	f, p := recipe{src: cip6, dst: vip6, proto: wire.ProtoUDP}.build(t)
	before := bytes.Clone(f.Bytes())
	RecordRoute(p, me)
	require.Equal(t, before, f.Bytes())
}

// withOptions is a UDP datagram with these IPv4 options.
func withOptions(t testing.TB, options []byte) (*wire.Frame, *wire.Packet) {
	t.Helper()
	require.Zero(t, len(options)%4)
	plain := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(100), bare: true, id: 5}.bytes(t)
	b := append(append(bytes.Clone(plain[:20]), options...), plain[20:]...)
	b[0] += byte(len(options) / 4)
	h := wire.IPv4(b)
	h.SetTotalLen(len(b))
	h.UpdateChecksum()
	f := newFrame()
	f.Medium = wire.IP
	f.SetBytes(b)
	return f, parse(t, f)
}
