package forward

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

var (
	dip4 = netip.MustParseAddr("10.2.0.1")
	dip6 = netip.MustParseAddr("fd00:2::1")
)

// tunnels are all encapsulations over both outer families.
func tunnels() []*Tunnel {
	var ts []*Tunnel
	for _, p := range []ipvs.TunnelParams{
		{Type: ipvs.IPIP},
		{Type: ipvs.GUE, Port: 6080},
		{Type: ipvs.GUE, Port: 6080, Flags: ipvs.TunnelCsum},
		{Type: ipvs.GUE, Port: 6080, Flags: ipvs.TunnelRemCsum},
		{Type: ipvs.GRE},
		{Type: ipvs.GRE, Flags: ipvs.TunnelCsum},
	} {
		ts = append(ts, &Tunnel{Params: p, Src: dip4, Dst: rip4.Addr(), Seed: 99},
			&Tunnel{Params: p, Src: dip6, Dst: rip6.Addr(), Seed: 99})
	}
	return ts
}

func (t *Tunnel) name() string { return fmt.Sprint(t.Params.Type, t.Params.Flags, t.Dst.Is6()) }

func inners() []recipe {
	return []recipe{
		{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: []byte("hello"), df: true, tos: 0xb8, ttl: 9, id: 77},
		{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(1001), tos: 3, vlans: 1},
		{src: cip6, dst: vip6, proto: wire.ProtoTCP, payload: counting(7), tos: 0xb9, vlans: 2},
		{src: cip6, dst: vip6, proto: wire.ProtoUDP, payload: []byte("bare"), bare: true},
		{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: []byte("bare"), bare: true},
	}
}

// unwrap checks the outer headers of a tunnelled frame by gopacket and returns
// the inner packet.
func unwrap(t *testing.T, f *wire.Frame, tun *Tunnel) []byte {
	t.Helper()
	p := parse(t, f)
	require.Equal(t, tun.Src, p.Src)
	require.Equal(t, tun.Dst, p.Dst)
	b := p.Transport()
	switch tun.Params.Type {
	case ipvs.GUE:
		requireUDPValid(t, p, tun.Params.Flags != 0)
		require.Equal(t, tun.Params.Port, p.DstPort)
		require.Zero(t, b[8]>>5, "version and control")
		hlen := int(b[8]&31) * 4
		require.Contains(t, []uint8{wire.ProtoIPIP, wire.ProtoIPv6}, b[9])
		return b[wire.UDPLen+gueLen+hlen:]
	case ipvs.GRE:
		gre := gopacket.NewPacket(b, layers.LayerTypeGRE, gopacket.DecodeOptions{}).Layer(layers.LayerTypeGRE).(*layers.GRE)
		require.Equal(t, tun.Params.Flags&ipvs.TunnelCsum != 0, gre.ChecksumPresent)
		require.False(t, gre.KeyPresent || gre.SeqPresent)
		return gre.Payload
	}
	return b
}

// requireUDPValid has gopacket compute the outer UDP checksum.
func requireUDPValid(t *testing.T, p *wire.Packet, sum bool) {
	t.Helper()
	u := wire.UDP(p.Transport())
	require.Equal(t, len(u), u.Length())
	if !sum {
		require.Zero(t, u.Checksum())
		return
	}
	require.Equal(t, uint16(0xffff), wire.Fold(wire.Sum(u, wire.PseudoSum(p.Src, p.Dst, wire.ProtoUDP, len(u)))))
	require.NotZero(t, u.Checksum())
}

func TestEncapsulate(t *testing.T) {
	for _, tun := range tunnels() {
		for i, r := range inners() {
			t.Run(fmt.Sprint(tun.name(), i), func(t *testing.T) {
				f, p := r.build(t)
				inner := bytes.Clone(p.Data[p.L3:p.End])
				link := bytes.Clone(p.Data[:p.L3])
				n := Overhead(tun, f)
				require.True(t, Encapsulate(f, p, tun, true, 0x1beef))
				require.Equal(t, parse(t, f), p, "the packet is the outer one")
				require.Equal(t, inner, unwrap(t, f, tun))
				require.Equal(t, len(inner)+n, p.IPLen())
				require.Equal(t, p.End, f.Len(), "no padding")
				requireLink(t, link, f, p)
				requireOuter(t, f, p, r)
			})
		}
	}
}

// requireLink: addresses and tags as before, EtherType that of the outer packet.
func requireLink(t *testing.T, link []byte, f *wire.Frame, p *wire.Packet) {
	t.Helper()
	if f.Medium == wire.IP {
		require.Zero(t, p.L3)
		return
	}
	require.Equal(t, link[:len(link)-2], f.Bytes()[:p.L3-2])
	require.Equal(t, map[uint8]uint16{4: wire.TypeIPv4, 6: wire.TypeIPv6}[p.Version], p.EtherType)
}

func requireOuter(t *testing.T, f *wire.Frame, p *wire.Packet, inner recipe) {
	t.Helper()
	tos := inner.tos
	if tos&3 == 3 {
		tos = tos&^3 | 2
	}
	ttl := inner.ttl
	if ttl == 0 {
		ttl = 64
	}
	require.Equal(t, ttl, p.TTL)
	require.Equal(t, tos, innerTOS(p))
	if p.Version == 6 {
		require.Zero(t, p.V6().FlowLabel())
		require.Equal(t, uint32(0x1beef), f.FragID)
		return
	}
	h := p.V4()
	require.Equal(t, wire.IPv4Len, h.HeaderLen())
	require.Equal(t, inner.df, h.DF())
	if inner.df {
		require.Zero(t, h.ID())
	} else {
		require.Equal(t, uint16(0xbeef), h.ID())
	}
}

// TestEncapsulatePartial: whoever finishes the inner checksum, the device or
// the far end, the outer one must be right, and the inner packet what it was.
func TestEncapsulatePartial(t *testing.T) {
	for _, tun := range tunnels() {
		for i, r := range inners() {
			t.Run(fmt.Sprint(tun.name(), i), func(t *testing.T) {
				f, p := r.build(t)
				want := bytes.Clone(p.Data[p.L3:p.End])
				makePartial(f, p)
				l4 := p.L4 - p.L3
				off := f.CsumOffset
				n := Overhead(tun, f)
				require.True(t, Encapsulate(f, p, tun, true, 1))
				require.Equal(t, len(want)+n, p.IPLen())
				if tun.Params.Flags&ipvs.TunnelRemCsum != 0 && tun.Params.Type == ipvs.GUE {
					require.False(t, f.Partial, "it is the far end's now")
					gue := p.Transport()[wire.UDPLen:]
					require.Equal(t, unhex(t, "0001 80000000"), append(gue[2:4:4], gue[4:8]...))
					require.Equal(t, l4, int(be16(gue[8:])))
					require.Equal(t, l4+int(off), int(be16(gue[10:])))
					inner := unwrap(t, f, tun)
					put16(inner[l4+int(off):], wire.Checksum(inner[l4:]))
					require.Equal(t, want, inner)
					return
				}
				require.True(t, f.Partial)
				FinishChecksum(f, p)
				require.Equal(t, want, unwrap(t, f, tun))
				if tun.Params.Type == ipvs.GRE && tun.Params.Flags != 0 {
					require.Equal(t, uint16(0xffff), wire.Fold(wire.Sum(p.Transport(), 0)))
				}
			})
		}
	}
}

func TestEncapsulateFinishesWhatNobodyElseCan(t *testing.T) {
	sctp := recipe{src: cip4, dst: vip4, proto: wire.ProtoSCTP, payload: []byte{14, 0, 0, 4}}
	f, p := sctp.build(t)
	want := bytes.Clone(p.Data[p.L3:p.End])
	makePartial(f, p)
	tun := &Tunnel{Params: ipvs.TunnelParams{Type: ipvs.GUE, Flags: ipvs.TunnelRemCsum}, Src: dip4, Dst: rip4.Addr()}
	require.True(t, Encapsulate(f, p, tun, true, 1))
	require.False(t, f.Partial)
	require.Equal(t, want, p.Transport()[wire.UDPLen+gueLen:])

	for _, start := range []uint16{0, 5, 35, 4000, 65535} {
		f, p = recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP}.build(t)
		f.Partial, f.CsumStart, f.CsumOffset = true, start, 60
		require.True(t, Encapsulate(f, p, tun, true, 1))
		require.False(t, f.Partial)
		unwrap(t, f, tun)
	}
}

func TestEncapsulateWithoutPMTUDiscovery(t *testing.T) {
	f, p := inners()[0].build(t)
	require.True(t, p.V4().DF())
	require.True(t, Encapsulate(f, p, tunnels()[0], false, 0xbeef))
	require.False(t, p.V4().DF())
	require.Equal(t, uint16(0xbeef), p.V4().ID())
}

func TestEncapsulateRefuses(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(100)}
	tun := tunnels()[2]
	for _, c := range []struct {
		why    string
		change func(*wire.Frame, *wire.Packet)
	}{
		{"super-frame", func(f *wire.Frame, _ *wire.Packet) { f.GSO, f.GSOSize = wire.GSOUDP, 10 }},
		{"no headroom", func(f *wire.Frame, _ *wire.Packet) { f.Prepend(f.Room() - Overhead(tun, f) + 1) }},
		{"no IP", func(_ *wire.Frame, p *wire.Packet) { p.Version = 0 }},
	} {
		f, p := r.build(t)
		c.change(f, p)
		before := bytes.Clone(f.Bytes())
		require.False(t, Encapsulate(f, p, tun, true, 1), c.why)
		require.Equal(t, before, f.Bytes(), c.why)
	}
	long := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: make([]byte, 65535-28-Overhead(tun, newFrame()))}
	f, p := long.build(t)
	require.True(t, Encapsulate(f, p, tun, true, 1))
	long.payload = append(long.payload, 0)
	f, p = long.build(t)
	require.False(t, Encapsulate(f, p, tun, true, 1))
}

func TestOverhead(t *testing.T) {
	partial := newFrame()
	partial.Partial = true
	for _, c := range []struct {
		params  ipvs.TunnelParams
		v4, v6  int
		partial int // more
	}{
		{ipvs.TunnelParams{Type: ipvs.IPIP}, 20, 40, 0},
		{ipvs.TunnelParams{Type: ipvs.GUE}, 32, 52, 0},
		{ipvs.TunnelParams{Type: ipvs.GUE, Flags: ipvs.TunnelCsum}, 32, 52, 0},
		{ipvs.TunnelParams{Type: ipvs.GUE, Flags: ipvs.TunnelRemCsum}, 32, 52, 8},
		{ipvs.TunnelParams{Type: ipvs.GRE}, 24, 44, 0},
		{ipvs.TunnelParams{Type: ipvs.GRE, Flags: ipvs.TunnelCsum}, 28, 48, 0},
	} {
		t4 := &Tunnel{Params: c.params, Dst: rip4.Addr()}
		t6 := &Tunnel{Params: c.params, Dst: rip6.Addr()}
		require.Equal(t, c.v4, Overhead(t4, newFrame()))
		require.Equal(t, c.v6, Overhead(t6, newFrame()))
		require.Equal(t, c.v4+c.partial, Overhead(t4, partial))
		require.Equal(t, c.v6+c.partial, Overhead(t6, partial))
	}
}

func TestOuterTOS(t *testing.T) {
	for tos := range 256 {
		want := tos
		if tos&3 == 3 {
			want = tos - 1
		}
		require.Equal(t, uint8(want), outerTOS(uint8(tos)))
	}
}

// TestFlowPort: one port per flow, whatever else differs in the packet, within
// the local port range, and spread evenly over flows.
func TestFlowPort(t *testing.T) {
	r := recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP}
	_, p := r.build(t)
	want := flowPort(p, 1)
	r.payload, r.ttl, r.tos, r.vlans = counting(99), 3, 4, 1
	_, p = r.build(t)
	require.Equal(t, want, flowPort(p, 1))
	require.NotEqual(t, want, flowPort(p, 2), "the seed matters")

	const flows, buckets = 1 << 14, 16
	var seen [buckets]int
	for i := range flows {
		p.SrcPort = uint16(i)
		port := flowPort(p, 1)
		require.GreaterOrEqual(t, port, uint16(32768))
		require.Less(t, port, uint16(60999))
		seen[(int(port)-32768)*buckets/flowPorts]++
	}
	for _, n := range seen {
		require.InDelta(t, flows/buckets, n, flows/buckets/5)
	}
}

// TestOuterUDPChecksumIsNeverZero sweeps an inner word through every value.
func TestOuterUDPChecksumIsNeverZero(t *testing.T) {
	tun := tunnels()[4]
	require.Equal(t, ipvs.TunnelCsum, tun.Params.Flags)
	f, p := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: []byte{0, 0}, bare: true}.build(t)
	inner := bytes.Clone(f.Bytes())
	mangled := 0
	for v := range 1 << 16 {
		put16(inner[len(inner)-2:], uint16(v))
		f.Reset()
		f.Medium = wire.IP
		f.SetBytes(inner)
		require.Equal(t, wire.None, p.Parse(f.Bytes(), f.Medium))
		require.True(t, Encapsulate(f, p, tun, true, 1))
		switch wire.UDP(p.Transport()).Checksum() {
		case 0:
			t.Fatalf("payload %#x: checksum 0", v)
		case 0xffff:
			mangled++
		}
	}
	require.Equal(t, 1, mangled)
}

// Whole within a tunnel, a super-frame is the one it was behind the outer headers.
func TestEncapsulateSuperFrames(t *testing.T) {
	for _, r := range []recipe{
		{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(5000), df: true, id: 77},
		{src: cip6, dst: vip6, proto: wire.ProtoTCP, payload: counting(64000)},
	} {
		for _, tun := range tunnels() {
			f, p := super(t, r, 1400)
			inner := bytes.Clone(p.Data[p.L3:p.End])
			partial, size, n := *f, f.GSOSize, Overhead(tun, f)
			plain := tun.Params.Flags == 0
			require.Equal(t, plain, Wrappable(f, p, tun), tun.name())
			require.Equal(t, plain, Encapsulate(f, p, tun, true, 1), tun.name())
			require.Equal(t, plain, f.Wrapped, tun.name())
			if !plain {
				continue
			}
			require.Equal(t, inner, unwrap(t, f, tun))
			require.Equal(t, []any{partial.GSO, size, true}, []any{f.GSO, f.GSOSize, f.Partial})
			require.Equal(t, int(partial.CsumStart)+n, int(f.CsumStart))
			require.Equal(t, len(inner)+n, p.IPLen())
		}
	}
}

func TestNotWrappable(t *testing.T) {
	tcp := recipe{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(5000)}
	with := func(change func(*recipe)) recipe {
		r := tcp
		change(&r)
		return r
	}
	for _, c := range []struct {
		why    string
		r      recipe
		change func(*wire.Frame)
	}{
		{"UDP", with(func(r *recipe) { r.proto = wire.ProtoUDP }), nil},
		{"a tag", with(func(r *recipe) { r.vlans = 1 }), nil},
		{"no link header", with(func(r *recipe) { r.bare = true }), nil},
		{"no super-frame", tcp, func(f *wire.Frame) { f.GSO = wire.GSONone }},
		{"another family's", tcp, func(f *wire.Frame) { f.GSO = wire.GSOTCP6 }},
		{"no size", tcp, func(f *wire.Frame) { f.GSOSize = 0 }},
		{"complete", tcp, func(f *wire.Frame) { f.Partial = false }},
		{"another's checksum", tcp, func(f *wire.Frame) { f.CsumStart += 2 }},
		{"its checksum elsewhere", tcp, func(f *wire.Frame) { f.CsumOffset = 18 }},
	} {
		f, p := super(t, c.r, 1400)
		if c.change != nil {
			c.change(f)
		}
		require.False(t, Wrappable(f, p, tunnels()[0]), c.why)
	}
	long := tcp
	long.payload = counting(65535 - wire.IPv4Len - wire.TCPLen)
	f, p := super(t, long, 1400)
	before := bytes.Clone(f.Bytes())
	require.False(t, Encapsulate(f, p, tunnels()[0], true, 1), "longer than IP allows")
	require.Equal(t, before, f.Bytes())
	require.False(t, f.Wrapped)
}
