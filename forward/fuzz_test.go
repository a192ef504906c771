package forward

import (
	"bytes"
	"net/netip"
	"testing"

	"usvs/clock"
	"usvs/ipvs"
	"usvs/wire"
)

// fuzzed is a frame with arbitrary bytes and metadata; nil if it does not parse.
func fuzzed(b []byte, meta uint64) (*wire.Frame, *wire.Packet) {
	if len(b) > 4096 {
		return nil, nil
	}
	f := wire.NewFrame(4096)
	f.SetBytes(b)
	f.Medium = wire.Medium(meta & 1)
	f.Partial = meta&2 != 0
	f.GSO = wire.GSO(meta >> 2 & 3)
	f.CsumStart = uint16(meta >> 4 & 0xff)
	f.CsumOffset = uint16(meta >> 12 & 0x1f)
	f.GSOSize = uint16(meta >> 17 & 0x7ff)
	if meta>>28&1 != 0 {
		f.FragSize = int(meta >> 29 & 0x7ff)
		f.Pieces = []uint16{uint16(meta >> 40 & 0x3f8), uint16(meta >> 50 & 0x3ff)}
	}
	// A header checksum that is right lets more of the frames in.
	var p wire.Packet
	if p.Parse(f.Bytes(), f.Medium) == wire.BadIPv4Checksum {
		wire.IPv4(p.Data[p.L3:]).UpdateChecksum()
	}
	if p.Parse(f.Bytes(), f.Medium) != wire.None || p.Version == 0 {
		return nil, nil
	}
	return f, &p
}

// seedFrames are recorded frames and some of our own, with their metadata.
func seedFrames(f *testing.F) {
	f.Helper()
	for i, r := range append(supers(), inners()...) {
		if len(r.payload) > 3000 {
			r.payload = r.payload[:3000]
		}
		b := r.bytes(f)
		meta := uint64(i % 4 << 2)
		if r.bare {
			meta |= 1
		}
		f.Add(b, meta|2|34<<4|16<<12|100<<17)
		f.Add(b, meta&1|1<<28|500<<29|400<<40|100<<50)
	}
	fr, _ := piece{1, 0, 80, true}.frame(f)
	f.Add(fr.Bytes(), uint64(0))
	f.Add(ipv6Fragment(f, 8, true, counting(80)).Bytes(), uint64(1))
	ext, _ := ipv6WithExtensions(f, []uint8{wire.ProtoHopByHop, wire.ProtoDstOpts, wire.ProtoRouting}, counting(2000))
	f.Add(ext.Bytes(), uint64(1))
	opt, _ := withOptions(f, []byte{7, 7, 4, 0, 0, 0, 0, 0})
	f.Add(opt.Bytes(), uint64(1))
	e4, _ := icmpError(f, router4, vip4.Addr(), recipe{src: vip4, dst: cip4, proto: wire.ProtoTCP}, 48)
	f.Add(e4.Bytes(), uint64(0))
	e6, _ := icmpError(f, router6, vip6.Addr(), recipe{src: vip6, dst: cip6, proto: wire.ProtoUDP}, 48)
	f.Add(e6.Bytes(), uint64(0))
}

func mustParse(t *testing.T, f *wire.Frame) *wire.Packet {
	var p wire.Packet
	if m := p.Parse(f.Bytes(), f.Medium); m != wire.None {
		t.Fatalf("%v: %x", m, f.Bytes())
	}
	return &p
}

func sameFamily(p *wire.Packet, a4, a6 netip.AddrPort) netip.AddrPort {
	if p.Version == 6 {
		return a6
	}
	return a4
}

// FuzzRewrite: what is rewritten still parses to what the packet says, and
// rewriting back restores it.
func FuzzRewrite(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, b []byte, meta uint64) {
		fr, p := fuzzed(b, meta)
		if fr == nil {
			return
		}
		before := bytes.Clone(p.Data[:p.L4])
		dst, src := netip.AddrPortFrom(p.Dst, p.DstPort), netip.AddrPortFrom(p.Src, p.SrcPort)
		RecordRoute(p, p.Dst)
		recorded := !bytes.Equal(before, p.Data[:p.L4])
		RewriteDst(fr, p, sameFamily(p, rip4, rip6))
		RewriteSrc(fr, p, sameFamily(p, vip4, vip6))
		if q := mustParse(t, fr); q.Src != p.Src || q.Dst != p.Dst || q.SrcPort != p.SrcPort || q.DstPort != p.DstPort {
			t.Fatalf("%+v is not %+v", p, q)
		}
		RewriteDst(fr, p, dst)
		RewriteSrc(fr, p, src)
		if !recorded && !bytes.Equal(before, p.Data[:p.L4]) {
			t.Fatalf("%x became %x", before, p.Data[:p.L4])
		}
		Length(fr, p)
		ExceedsMTU(fr, p, 1500)
		if p.TTL > 1 {
			DecrementTTL(p)
		}
		FinishChecksum(fr, p)
		mustParse(t, fr)
	})
}

func FuzzParseQuote(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, b []byte, meta uint64) {
		fr, p := fuzzed(b, meta)
		var q wire.Packet
		if fr == nil || !ParseQuote(p, &q) {
			return
		}
		ICMPChecksumOK(fr, p, meta&1 != 0)
		RewriteRelatedIn(fr, p, &q, sameFamily(p, rip4, rip6))
		RewriteRelatedOut(fr, p, &q, sameFamily(p, vip4, vip6))
		p = mustParse(t, fr)
		var again wire.Packet
		if !ParseQuote(p, &again) || again.Src != q.Src || again.DstPort != q.DstPort {
			t.Fatalf("%+v is not %+v", again, q)
		}
	})
}

func FuzzEncapsulate(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, b []byte, meta uint64) {
		for _, tun := range tunnels() {
			fr, p := fuzzed(b, meta)
			if fr == nil {
				return
			}
			inner := p.IPLen()
			n := Overhead(tun, fr)
			if !Encapsulate(fr, p, tun, meta&4 != 0, uint32(meta)) {
				continue
			}
			if q := mustParse(t, fr); q.Dst != tun.Dst || q.IPLen() > inner+n {
				t.Fatalf("%+v", q)
			}
			fragmentAll(t, fr, p, int(meta>>17&0x7ff))
		}
	})
}

// fragmentAll cuts what can be cut, and checks sizes.
func fragmentAll(t *testing.T, fr *wire.Frame, p *wire.Packet, mtu int) {
	left := 10000
	alloc := func() *wire.Frame {
		if left--; left < 0 {
			return nil
		}
		return wire.NewFrame(4300)
	}
	Fragment(fr, p, mtu, alloc, func(g *wire.Frame) {
		if q := mustParse(t, g); q.IPLen() > mtu && fr.GSO == wire.GSONone && q.Version == 4 {
			t.Fatalf("%d bytes for MTU %d", q.IPLen(), mtu)
		}
	})
}

func FuzzFragment(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, b []byte, meta uint64) {
		if fr, p := fuzzed(b, meta); fr != nil {
			fragmentAll(t, fr, p, int(meta>>17&0x7ff))
		}
	})
}

// FuzzSegment: however it is cut, the payloads add up.
func FuzzSegment(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, b []byte, meta uint64) {
		fr, p := fuzzed(b, meta)
		if fr == nil {
			return
		}
		head, sum := segmentHeader(fr, p), 0
		ok := Segment(fr, p, func() *wire.Frame { return wire.NewFrame(4096) }, func(g *wire.Frame) {
			mustParse(t, g)
			sum += g.Len() - head
		})
		if ok && sum != p.End-head {
			t.Fatalf("%d of %d bytes", sum, p.End-head)
		}
	})
}

// FuzzReassembler reads a script of fragments: what comes out must be what was
// put in, and no block may get lost.
func FuzzReassembler(f *testing.F) {
	f.Add([]byte{1, 0, 4, 1, 1, 4, 4, 0}, []byte(nil))
	f.Add([]byte{1, 4, 4, 0, 1, 0, 4, 1, 2, 0, 200, 3}, ipv6Fragment(f, 0, true, counting(16)).Bytes())
	f.Fuzz(func(t *testing.T, script, raw []byte) {
		r := NewReassembler(Limits{Datagrams: 16, Bytes: 1}, 1)
		out := wire.NewFrame(wire.MaxFrame)
		now := clock.Instant(0)
		if fr, p := fuzzed(raw, 1); fr != nil && r.Add(now, fr, p, out) == Complete {
			wantPieces(t, out, mustParse(t, out))
		}
		for ; len(script) >= 4 && now < 1000; script = script[4:] {
			from := int(script[1]) * 64
			pc := piece{id: uint16(script[0] % 8), from: from, end: from + int(script[2])*8 + int(script[3]>>5), more: script[3]&1 != 0}
			if script[3]&2 != 0 {
				now = now.Add(1)
			}
			if pc.add(t, r, now, out) {
				if p := mustParse(t, out); !bytes.Equal(p.Transport(), datagramData(pc.id)[:len(p.Transport())]) {
					t.Fatalf("datagram %d: wrong bytes", pc.id)
				} else {
					wantPieces(t, out, p)
				}
			}
		}
		r.Tick(clock.Never, lapsedFunc(func(first *wire.Frame) {
			var p wire.Packet
			if m := p.Parse(first.Bytes(), first.Medium); m == wire.None && (!p.Fragment || p.FragOffset != 0) {
				t.Fatalf("no first fragment lapsed: %x", first.Bytes())
			}
		}))
		requireAllFree(t, r)
	})
}

// wantPieces checks that a datagram's pieces, if they are known, are all of it
// before and after they are merged, and that it can be cut that way. Of IPv6's, a
// routing header may be a part that becomes none when it comes to the front.
func wantPieces(t *testing.T, f *wire.Frame, p *wire.Packet) {
	t.Helper()
	data := p.End - p.L4
	if p.Version == 6 {
		end, _ := unfragmentable(p)
		data = p.End - end
	}
	for range 2 {
		sum := 0
		for _, n := range f.Pieces {
			sum += int(n)
		}
		if len(f.Pieces) > 0 && (sum < data || sum > data && p.Version == 4) {
			t.Fatalf("pieces %v of %d bytes", f.Pieces, data)
		}
		fragmentAll(t, f, p, 1500)
		MergePieces(f, p)
	}
}

// FuzzOuterTypes keeps the tunnel's own parameters arbitrary too: an unknown
// type is IPIP, as in the kernel's default.
func FuzzOuterTypes(f *testing.F) {
	f.Add(uint8(1), uint16(3), uint16(6080), uint32(1))
	f.Fuzz(func(t *testing.T, kind uint8, flags, port uint16, seed uint32) {
		tun := &Tunnel{Params: ipvs.TunnelParams{Type: ipvs.TunnelType(kind), Flags: flags, Port: port}, Src: dip4, Dst: rip4.Addr(), Seed: seed}
		fr, p := inners()[0].build(t)
		if !Encapsulate(fr, p, tun, true, 1) {
			t.Fatal("refused")
		}
	})
}
