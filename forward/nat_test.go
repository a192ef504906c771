package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// clientPackets are packets to the virtual service in all shapes NAT meets.
func clientPackets(rng *rand.Rand) []recipe {
	var rs []recipe
	for _, a := range [][2]netip.AddrPort{{cip4, vip4}, {cip6, vip6}} {
		for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoSCTP} {
			for _, n := range []int{0, 1, 2, 7, 100, 1399} {
				payload := make([]byte, n)
				for i := range payload {
					payload[i] = byte(rng.Uint32())
				}
				rs = append(rs, recipe{src: a[0], dst: a[1], proto: proto, payload: payload,
					vlans: rng.IntN(3), bare: rng.IntN(4) == 0, id: uint16(rng.Uint32())})
			}
		}
	}
	return rs
}

func realFor(r recipe) netip.AddrPort {
	if r.src.Addr().Is6() {
		return rip6
	}
	return rip4
}

func TestRewriteGivesWhatTheServerWouldHaveBeenSent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, r := range clientPackets(rng) {
		t.Run(fmt.Sprint(r.proto, r.src, len(r.payload)), func(t *testing.T) {
			f, p := r.build(t)
			RewriteDst(f, p, realFor(r))
			in := r
			in.dst = realFor(r)
			requireSame(t, in, f, p)

			reply := recipe{src: realFor(r), dst: r.src, proto: r.proto, payload: r.payload}
			f, p = reply.build(t)
			RewriteSrc(f, p, r.dst)
			reply.src = r.dst
			requireSame(t, reply, f, p)
		})
	}
}

// requireSame checks the frame against one built by gopacket, and the packet
// against the frame parsed anew.
func requireSame(t *testing.T, want recipe, f *wire.Frame, p *wire.Packet) {
	t.Helper()
	w, _ := want.build(t)
	require.Equal(t, w.Bytes(), f.Bytes())
	require.Equal(t, parse(t, f), p)
	if want.proto != wire.ProtoSCTP {
		requireValid(t, f)
	}
}

func TestRoundTripRestoresEveryByte(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, r := range clientPackets(rng) {
		f, p := r.build(t)
		before := bytes.Clone(f.Bytes())
		RewriteDst(f, p, realFor(r))
		require.NotEqual(t, before, f.Bytes())
		RewriteDst(f, p, r.dst)
		require.Equal(t, before, f.Bytes())
		RewriteSrc(f, p, realFor(r))
		RewriteSrc(f, p, r.src)
		require.Equal(t, before, f.Bytes())
	}
}

func TestPartialChecksumFinishedAfterRewritingEqualsComplete(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, r := range clientPackets(rng) {
		f, p := r.build(t)
		makePartial(f, p)
		RewriteDst(f, p, realFor(r))
		if r.proto != wire.ProtoSCTP {
			pseudo := wire.Fold(wire.PseudoSum(p.Src, p.Dst, p.Proto, p.End-p.L4))
			require.Equal(t, pseudo, be16(p.Data[int(f.CsumStart+f.CsumOffset):]), "the field holds the new pseudo-header's sum")
		}
		FinishChecksum(f, p)
		require.False(t, f.Partial)
		in := r
		in.dst = realFor(r)
		requireSame(t, in, f, p)
	}
}

func TestWrongChecksumStaysWrong(t *testing.T) {
	for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP} {
		r := recipe{src: cip4, dst: vip4, proto: proto, payload: []byte("hello")}
		f, p := r.build(t)
		at := p.L4 + map[uint8]int{wire.ProtoTCP: tcpChecksum, wire.ProtoUDP: udpChecksum}[proto]
		good := be16(p.Data[at:])
		put16(p.Data[at:], good+0x100)
		RewriteDst(f, p, rip4)
		r.dst = rip4
		w, _ := r.build(t)
		require.NotEqual(t, w.Bytes(), f.Bytes())
		f2, p2 := r.build(t)
		f2.SetBytes(f.Bytes())
		RewriteDst(f2, p2, rip4)
		require.Equal(t, f.Bytes(), f2.Bytes(), "rewriting to the same changes nothing")
	}
}

func TestUDPWithoutChecksumGetsOne(t *testing.T) {
	for _, r := range []recipe{
		{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: []byte("odd"), noCsum: true},
		{src: cip6, dst: vip6, proto: wire.ProtoUDP, payload: []byte("even"), noCsum: true},
	} {
		f, p := r.build(t)
		require.Zero(t, wire.UDP(p.Transport()).Checksum())
		RewriteDst(f, p, realFor(r))
		r.dst, r.noCsum = realFor(r), false
		requireSame(t, r, f, p)
	}
}

// TestUDPChecksumIsNeverZero sweeps a payload word through every value.
func TestUDPChecksumIsNeverZero(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: []byte{0, 0}}
	f, p := r.build(t)
	orig := bytes.Clone(f.Bytes())
	mangled := 0
	for v := range 1 << 16 {
		copy(f.Bytes(), orig)
		require.Equal(t, wire.None, p.Parse(f.Bytes(), f.Medium))
		put16(p.Data[p.End-2:], uint16(v))
		u := wire.UDP(p.Transport())
		u.SetChecksum(0)
		if v%2 == 0 { // else it has none
			u.SetChecksum(transportSum(f, p))
			if u.Checksum() == 0 {
				u.SetChecksum(0xffff)
			}
		}
		RewriteDst(f, p, rip4)
		u = wire.UDP(p.Transport())
		sum := u.Checksum()
		if sum == 0 {
			t.Fatalf("payload %#x: checksum 0", v)
		}
		if sum == 0xffff {
			mangled++
		}
		pseudo := wire.PseudoSum(p.Src, p.Dst, p.Proto, len(u))
		if got := wire.Fold(wire.Sum(u, pseudo)); got != 0xffff {
			t.Fatalf("payload %#x: checksum %#x is wrong", v, sum)
		}
	}
	require.Equal(t, 1, mangled)
}

func TestRewriteOfFragmentsChangesWhatIsThere(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(64), id: 7}
	first, p := r.build(t)
	p.V4().SetFragWord(ipv4MF)
	p.V4().UpdateChecksum()
	p = parse(t, first)
	before := wire.UDP(p.Transport()).Checksum()
	RewriteDst(first, p, rip4)
	require.Equal(t, rip4, netip.AddrPortFrom(p.Dst, p.DstPort))
	require.NotEqual(t, before, wire.UDP(p.Transport()).Checksum())
	require.True(t, p.V4().HeaderChecksumOK())

	later, p := r.build(t)
	p.V4().SetFragWord(5)
	p.V4().UpdateChecksum()
	p = parse(t, later)
	data := bytes.Clone(p.Transport())
	RewriteDst(later, p, rip4)
	require.Equal(t, rip4.Addr(), p.Dst)
	require.Equal(t, data, p.Transport(), "a later fragment has no port")
	require.True(t, p.V4().HeaderChecksumOK())

	f6 := ipv6Fragment(t, 8, false, counting(64))
	p = parse(t, f6)
	data = bytes.Clone(p.Transport())
	RewriteSrc(f6, p, vip6)
	require.Equal(t, vip6.Addr(), p.V6().Src())
	require.Equal(t, data, p.Transport())
}

func TestFragmentWithoutChecksumStaysWithout(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(64), noCsum: true}
	f, p := r.build(t)
	p.V4().SetFragWord(ipv4MF)
	p.V4().UpdateChecksum()
	p = parse(t, f)
	RewriteDst(f, p, rip4)
	require.Zero(t, wire.UDP(p.Transport()).Checksum())
}

func TestRewriteOfTruncatedTransportHeader(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP}
	f, p := r.build(t)
	p.V4().SetTotalLen(wire.IPv4Len + 8)
	p.V4().UpdateChecksum()
	p = parse(t, f)
	data := bytes.Clone(p.Transport())
	RewriteDst(f, p, rip4)
	require.Equal(t, rip4.Addr(), p.V4().Dst())
	require.Equal(t, data, p.Transport())
	require.True(t, p.V4().HeaderChecksumOK())
}

func TestSCTPChecksumFollowsThePortOnly(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoSCTP, payload: []byte{14, 0, 0, 4}}
	f, p := r.build(t)
	wrong := p.Data[p.L4+sctpChecksum:][:4]
	copy(wrong, "oops")
	RewriteDst(f, p, netip.AddrPortFrom(rip4.Addr(), vip4.Port()))
	require.Equal(t, "oops", string(wrong), "same port: not looked at")
	RewriteDst(f, p, rip4)
	require.Equal(t, slowCRC32c(p.Transport()), binary.LittleEndian.Uint32(wrong))
}

// slowCRC32c is RFC 9260 appendix A bit by bit, with the checksum field as zero.
func slowCRC32c(b []byte) uint32 {
	crc := ^uint32(0)
	for i, x := range b {
		if i >= sctpChecksum && i < sctpChecksum+4 {
			x = 0
		}
		crc ^= uint32(x)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0x82f63b78
			} else {
				crc >>= 1
			}
		}
	}
	return ^crc
}

func TestDecrementTTL(t *testing.T) {
	for ttl := 2; ttl <= 255; ttl++ {
		for _, src := range []netip.AddrPort{cip4, cip6} {
			r := recipe{src: src, dst: vip4, proto: wire.ProtoUDP, ttl: uint8(ttl), id: uint16(ttl * 251)}
			if src == cip6 {
				r.dst = vip6
			}
			f, p := r.build(t)
			DecrementTTL(p)
			r.ttl--
			require.Equal(t, r.bytes(t), f.Bytes())
			require.Equal(t, uint8(ttl-1), p.TTL)
		}
	}
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP}
	f, p := r.build(t)
	p.V4().SetTTL(0)
	p.V4().UpdateChecksum()
	p = parse(t, f)
	DecrementTTL(p)
	require.Zero(t, p.V4().TTL(), "never below zero")
}

// TestIPv4ChecksumMatchesRecomputation: the incremental update must choose the
// same of the two zeros as a sum over the header.
func TestIPv4ChecksumMatchesRecomputation(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP}
	f, p := r.build(t)
	check := func() {
		got := p.V4().Checksum()
		p.V4().UpdateChecksum()
		if want := p.V4().Checksum(); got != want {
			t.Fatalf("%#x, recomputed %#x", got, want)
		}
	}
	for id := range 1 << 16 {
		p.V4().SetID(uint16(id))
		p.V4().SetTTL(64)
		p.TTL = 64
		p.V4().UpdateChecksum()
		DecrementTTL(p)
		check()
		RewriteDst(f, p, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(rng.Uint32()), byte(rng.Uint32()), byte(id)}), 80))
		check()
	}
}

func TestFinishChecksumOfNonsense(t *testing.T) {
	for _, c := range []struct{ start, off uint16 }{{0, 0}, {13, 2}, {60000, 6}, {34, 60000}, {65535, 65535}, {41, 0}} {
		f, p := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP}.build(t)
		before := bytes.Clone(f.Bytes())
		f.Partial, f.CsumStart, f.CsumOffset = true, c.start, c.off
		FinishChecksum(f, p)
		require.False(t, f.Partial)
		require.Equal(t, before, f.Bytes())
	}
}

func TestFinishChecksumIgnoresPadding(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: []byte("ab")}
	f, p := r.build(t)
	want := bytes.Clone(f.Bytes())
	makePartial(f, p)
	n := f.Len()
	f.Extend(n + 16)
	copy(f.Bytes()[n:], "padding not zero")
	p = parse(t, f)
	FinishChecksum(f, p)
	require.Equal(t, want, f.Bytes()[:n])
}

// TestInnerPartialUnderOuterChecksum: a VXLAN-like datagram, complete but for
// an inner checksum the device fills in, is patched as the complete one it will be.
func TestInnerPartialUnderOuterChecksum(t *testing.T) {
	inner := recipe{src: cip4, dst: rip4, proto: wire.ProtoTCP, payload: []byte("payload"), bare: true}
	for _, zero := range []bool{false, true} {
		r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: inner.bytes(t)}
		f, p := r.build(t)
		innerL4 := p.L4 + wire.UDPLen + wire.IPv4Len
		if zero {
			wire.UDP(p.Transport()).SetChecksum(0)
		}
		f.Partial, f.CsumStart, f.CsumOffset = true, uint16(innerL4), tcpChecksum
		put16(p.Data[innerL4+tcpChecksum:], wire.Fold(wire.PseudoSum(cip4.Addr(), rip4.Addr(), wire.ProtoTCP, p.End-innerL4)))
		RewriteDst(f, p, rip4)
		FinishChecksum(f, p)
		r.dst = rip4
		require.Equal(t, r.bytes(t), f.Bytes())
	}
}

// ipv6Fragment is a fragment from cip6 to vip6 carrying data at offset.
func ipv6Fragment(t testing.TB, offset int, more bool, data []byte) *wire.Frame {
	f := newFrame()
	f.Medium = wire.IP
	b := make([]byte, wire.IPv6Len+fragmentLen+len(data))
	h := wire.IPv6(b)
	h.SetFlow(0, 0)
	h.SetPayloadLen(fragmentLen + len(data))
	h.SetNextHeader(wire.ProtoFragment)
	h.SetHopLimit(64)
	h.SetSrc(cip6.Addr())
	h.SetDst(vip6.Addr())
	b[wire.IPv6Len] = wire.ProtoUDP
	put16(b[wire.IPv6Len+2:], uint16(offset))
	if more {
		b[wire.IPv6Len+3] |= ipv6MoreFragments
	}
	put32(b[wire.IPv6Len+4:], 0x1234)
	copy(b[wire.IPv6Len+fragmentLen:], data)
	f.SetBytes(b)
	parse(t, f)
	return f
}

// TestFinishedUDPChecksumIsNeverZero sweeps a payload word through every value.
func TestFinishedUDPChecksumIsNeverZero(t *testing.T) {
	f, p := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: []byte{0, 0}}.build(t)
	seg := wire.NewFrame(200)
	mangled := 0
	for v := range 1 << 16 {
		put16(p.Data[p.End-2:], uint16(v))
		makePartial(f, p)
		FinishChecksum(f, p)
		u := wire.UDP(p.Transport())
		if u.Checksum() == 0 {
			t.Fatalf("payload %#x: checksum 0", v)
		}
		if u.Checksum() == 0xffff {
			mangled++
		}
		// Every segment's is made the same way: here the only one.
		f.GSO, f.GSOSize = wire.GSOUDP, 2
		Segment(f, p, func() *wire.Frame { return seg }, func(g *wire.Frame) {
			if got := wire.UDP(g.Bytes()[p.L4:]).Checksum(); got != u.Checksum() {
				t.Fatalf("payload %#x: segment %#x, datagram %#x", v, got, u.Checksum())
			}
		})
		f.GSO = wire.GSONone
	}
	require.Equal(t, 1, mangled)
}

func TestAddrSumIsSumAddr(t *testing.T) {
	for _, a := range []netip.Addr{cip4.Addr(), cip6.Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified(),
		netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")} {
		require.Equal(t, wire.Fold(wire.SumAddr(a, 0)), wire.Fold(addrSum(a)), a)
	}
}
