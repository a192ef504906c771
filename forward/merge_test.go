package forward

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

// TestMergePieces: lengths as a kernel was seen to merge them.
func TestMergePieces(t *testing.T) {
	for _, c := range []struct{ came, left []uint16 }{
		{[]uint16{800, 200, 1000}, []uint16{1000, 1000}},
		{[]uint16{800, 680, 528}, []uint16{1480, 528}},
		{[]uint16{200, 1200, 600}, []uint16{200, 1200, 600}},
		{[]uint16{200, 200, 200}, []uint16{600}},
		{[]uint16{200, 400}, []uint16{600}},
		{[]uint16{600, 620}, []uint16{600, 620}},
		{[]uint16{600, 8}, []uint16{608}},
		{[]uint16{8, 1440, 360}, []uint16{8, 1440, 360}},
		{[]uint16{1440, 568}, []uint16{1440, 568}},
		{[]uint16{1400, 8}, []uint16{1408}},
		{[]uint16{8960, 8}, []uint16{8960, 8}},
		{[]uint16{100}, []uint16{100}},
		{nil, nil},
	} {
		f, p := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP}.build(t)
		f.Pieces = append([]uint16(nil), c.came...)
		MergePieces(f, p)
		require.Equal(t, c.left, f.Pieces, "%v", c.came)
	}
	f, p := recipe{src: cip6, dst: vip6, proto: wire.ProtoUDP}.build(t)
	f.Pieces = []uint16{200, 200}
	MergePieces(f, p)
	require.Equal(t, []uint16{200, 200}, f.Pieces, "IPv6's are not")
}

// TestTranslationGathersTheHeader: a first piece without the whole transport
// header cannot be kept.
func TestTranslationGathersTheHeader(t *testing.T) {
	for _, c := range []struct {
		proto uint8
		first uint16
		kept  bool
	}{
		{wire.ProtoUDP, 8, true},
		{wire.ProtoTCP, 16, false}, {wire.ProtoTCP, 24, true},
		{wire.ProtoSCTP, 8, false}, {wire.ProtoSCTP, 16, true},
	} {
		for _, r := range []recipe{
			{src: cip4, dst: vip4, proto: c.proto, payload: counting(100)},
			{src: cip6, dst: vip6, proto: c.proto, payload: counting(100)},
		} {
			f, p := r.build(t)
			to := rip4
			if p.Version == 6 {
				to = rip6
			}
			f.Pieces = []uint16{c.first, 8}
			RewriteDst(f, p, to)
			require.Equal(t, c.kept, len(f.Pieces) > 0, "%+v", c)
			f.Pieces = []uint16{c.first, 8}
			RewriteSrc(f, p, to)
			require.Equal(t, c.kept, len(f.Pieces) > 0, "%+v", c)
		}
	}
	f, p := ipv6WithExtensions(t, []uint8{wire.ProtoRouting, wire.ProtoDstOpts}, counting(100))
	f.Pieces = []uint16{8, 8}
	RewriteDst(f, p, rip6)
	require.Empty(t, f.Pieces, "destination options are in front of it")
}

// TestDatagramsInTunnels: what is left of how a datagram came, as recorded.
func TestDatagramsInTunnels(t *testing.T) {
	t4 := &Tunnel{Params: ipvs.TunnelParams{Type: ipvs.IPIP}, Src: dip4, Dst: rip4.Addr()}
	t6 := &Tunnel{Params: ipvs.TunnelParams{Type: ipvs.IPIP}, Src: dip6, Dst: rip6.Addr()}
	r4 := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(1600)}
	r6 := recipe{src: cip6, dst: vip6, proto: wire.ProtoUDP, payload: counting(1600)}
	df := r4
	df.df = true
	for _, c := range []struct {
		name     string
		r        recipe
		t        *Tunnel
		size     int
		fragSize int
		pieces   []uint16
		piecesDF bool
	}{
		{"IPv6 in IPv4", r6, t4, 896, 0, []uint16{888, 760}, false},
		{"IPv6 in IPv4, a size that looks like a flag", r6, t4, 864, 0, []uint16{888, 760}, true},
		{"IPv4 in IPv6", r4, t6, 868, 0, []uint16{}, false},
		{"IPv4 in IPv6, DF", df, t6, 868, 64, []uint16{}, false},
		{"IPv4 in IPv4", r4, t4, 868, 868, []uint16{868, 760}, false},
		{"IPv4 in IPv4, DF", df, t4, 868, 868, []uint16{868, 760}, true},
		{"IPv6 in IPv6", r6, t6, 896, 896, []uint16{888, 760}, false},
		{"whole", r6, t4, 0, 0, nil, false},
	} {
		f, p := c.r.build(t)
		if c.size != 0 {
			f.FragSize, f.Pieces = c.size, []uint16{848, 760}
		}
		require.True(t, Encapsulate(f, p, c.t, true, 1), c.name)
		require.Equal(t, []any{c.fragSize, c.pieces, c.piecesDF}, []any{f.FragSize, f.Pieces, f.PiecesDF}, c.name)
	}
}

// TestPiecesAndDF: pieces that are kept have lost DF, those cut anew have it.
func TestPiecesAndDF(t *testing.T) {
	for _, c := range []struct {
		df, piecesDF bool
		pieces       []uint16
		want         bool
	}{
		{true, false, []uint16{800, 200, 608}, false},
		{true, false, nil, true},
		{false, true, []uint16{800, 200, 608}, false},
		{false, true, nil, true},
	} {
		f, p := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(1600), df: c.df}.build(t)
		f.FragSize, f.Pieces, f.PiecesDF = 820, c.pieces, c.piecesDF
		for _, g := range fragments(t, f, p, 1500) {
			require.Equal(t, c.want, parse(t, g).V4().DF(), "%+v", c)
		}
	}
}
