package forward

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
	"usvs/wire"
)

// requireNoAllocs runs what a director does with a frame, again and again.
func requireNoAllocs(t *testing.T, what string, run func()) {
	t.Helper()
	require.Zero(t, testing.AllocsPerRun(100, run), what)
}

// pool hands out the same frames over and over.
type pool struct {
	frames []*wire.Frame
	used   int
}

func newPool(n int) *pool {
	p := &pool{}
	for range n {
		p.frames = append(p.frames, newFrame())
	}
	return p
}

func (p *pool) next() *wire.Frame {
	p.used++
	return p.frames[(p.used-1)%len(p.frames)]
}

func TestNoAllocs(t *testing.T) {
	frames := newPool(64)
	alloc, emit := frames.next, func(*wire.Frame) {}
	for _, r := range append(supers(), inners()...) {
		f, p := r.build(t)
		orig := newFrame()
		orig.CopyFrom(f)
		reset := func() {
			f.Reset()
			f.CopyFrom(orig)
			p.Parse(f.Bytes(), f.Medium)
		}
		requireNoAllocs(t, "NAT", func() {
			DecrementTTL(p)
			ExceedsMTU(f, p, 1500)
			RewriteDst(f, p, realFor(r))
			RewriteSrc(f, p, r.src)
			p.TTL++
		})
		reset()
		for _, tun := range tunnels() {
			requireNoAllocs(t, "Encapsulate "+tun.name(), func() {
				reset()
				Encapsulate(f, p, tun, true, 1)
			})
		}
		reset()
		requireNoAllocs(t, "Fragment", func() { require.True(t, Fragment(f, p, 1280, alloc, emit) || p.Version == 6) })
		f.GSOSize, f.GSO = 1400, map[uint8]wire.GSO{4: wire.GSOTCP4, 6: wire.GSOTCP6}[p.Version]
		if p.Proto == wire.ProtoUDP {
			f.GSO = wire.GSOUDP
		}
		requireNoAllocs(t, "Segment", func() { require.True(t, Segment(f, p, alloc, emit)) })
		requireNoAllocs(t, "Fragment a super-frame", func() { Fragment(f, p, 1000, alloc, emit) })
	}
}

func TestNoAllocsRelated(t *testing.T) {
	f, p := icmpError(t, router4, vip4.Addr(), recipe{src: vip4, dst: cip4, proto: wire.ProtoTCP}, 48)
	var q wire.Packet
	requireNoAllocs(t, "related", func() {
		ParseQuote(p, &q)
		ICMPChecksumOK(f, p, true)
		RewriteRelatedIn(f, p, &q, rip4)
		RewriteRelatedOut(f, p, &q, vip4)
	})
}

func TestNoAllocsReassembler(t *testing.T) {
	r := NewReassembler(Limits{Datagrams: 8, Bytes: 1}, 1)
	f1, p1 := piece{1, 0, 1480, true}.frame(t)
	f2, p2 := piece{1, 1480, 1600, false}.frame(t)
	out := newFrame()
	add := func() {
		r.Add(1, f1, p1, out)
		if r.Add(1, f2, p2, out) != Complete {
			t.Fatal("not complete")
		}
	}
	add() // the frame gets its storage for Pieces once
	requireNoAllocs(t, "Add", add)
	requireNoAllocs(t, "Tick", func() { r.Tick(1, nil) })
	p := parse(t, out)
	requireNoAllocs(t, "MergePieces", func() { MergePieces(out, p) })
	l := &sameFrame{out}
	requireNoAllocs(t, "Tick that tells", func() {
		r.Add(1, f1, p1, out)
		r.Tick(clock.Never, l)
	})
}

// sameFrame is a Lapsed that offers one frame over and over.
type sameFrame struct{ f *wire.Frame }

func (l *sameFrame) New() *wire.Frame   { return l.f }
func (l *sameFrame) Lapsed(*wire.Frame) {}

func benchFrame(b *testing.B, r recipe) (*wire.Frame, *wire.Packet) {
	f, p := r.build(b)
	b.ReportAllocs()
	b.SetBytes(int64(f.Len()))
	return f, p
}

func BenchmarkRewriteDst(b *testing.B) {
	for _, c := range []struct {
		name string
		r    recipe
	}{
		{"tcp4", recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP}},
		{"udp4", recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP}},
		{"tcp6", recipe{src: cip6, dst: vip6, proto: wire.ProtoTCP}},
	} {
		b.Run(c.name, func(b *testing.B) {
			f, p := benchFrame(b, c.r)
			for b.Loop() {
				RewriteDst(f, p, realFor(c.r))
				RewriteDst(f, p, c.r.dst)
			}
		})
	}
}

func BenchmarkDecrementTTL(b *testing.B) {
	_, p := benchFrame(b, recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP})
	for b.Loop() {
		p.TTL = 64
		DecrementTTL(p)
	}
}

func BenchmarkEncapsulate(b *testing.B) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(1400)}
	for _, c := range []struct {
		name string
		p    ipvs.TunnelParams
	}{
		{"ipip", ipvs.TunnelParams{}},
		{"gue", ipvs.TunnelParams{Type: ipvs.GUE}},
		{"gue-csum", ipvs.TunnelParams{Type: ipvs.GUE, Flags: ipvs.TunnelCsum}},
		{"gre", ipvs.TunnelParams{Type: ipvs.GRE}},
	} {
		b.Run(c.name, func(b *testing.B) {
			f, p := benchFrame(b, r)
			tun := &Tunnel{Params: c.p, Src: dip4, Dst: rip4.Addr()}
			n := Overhead(tun, f)
			for b.Loop() {
				Encapsulate(f, p, tun, true, 1)
				copy(f.Bytes()[n:], f.Bytes()[:12])
				put16(f.Bytes()[n+12:], wire.TypeIPv4)
				f.TrimFront(n)
				p.Parse(f.Bytes(), f.Medium)
			}
		})
	}
}

func BenchmarkSegment64K(b *testing.B) {
	f, p := super(b, supers()[0], 1448)
	b.SetBytes(int64(f.Len()))
	frames := newPool(64)
	for b.Loop() {
		Segment(f, p, frames.next, func(*wire.Frame) {})
	}
}

func BenchmarkFragment(b *testing.B) {
	f, p := benchFrame(b, recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(3000)})
	frames := newPool(4)
	for b.Loop() {
		Fragment(f, p, 1500, frames.next, func(*wire.Frame) {})
	}
}

func BenchmarkReassemble(b *testing.B) {
	r := NewReassembler(Limits{}, 1)
	f1, p1 := piece{1, 0, 1480, true}.frame(b)
	f2, p2 := piece{1, 1480, 2960, false}.frame(b)
	out := newFrame()
	b.ReportAllocs()
	for b.Loop() {
		r.Add(1, f1, p1, out)
		r.Add(1, f2, p2, out)
	}
}
