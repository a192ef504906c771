package forward

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// A server's reply has the virtual service's address in its record route
// option when it leaves: packets recorded on Linux 6.1.
func TestRepliesRecordTheRoute(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"4800002c000100004011386d0a02000bc6336407070b0400000000000000000100351388000cd90070696e67",
			"4800002c000100003f112b660a090001c6336407070b080a090001000000000100351388000cd90370696e67"},
		{"4800002c000100004011225b0a02000bc6336407070b0809090909000000000100351388000cd90070696e67",
			"4800002c000100003f1115540a090001c6336407070b0c090909090a0900010100351388000cd90370696e67"},
		{"4700002800010000401123630a02000bc6336407070708090909090100351388000cd90070696e67",
			"47000028000100003f1124660a090001c6336407070708090909090100351388000cd90370696e67"},
	} {
		f := newFrame()
		f.Medium = wire.IP
		f.SetBytes(unhex(t, c.in))
		p := parse(t, f)
		DecrementTTL(p)
		RewriteSrc(f, p, netip.MustParseAddrPort("10.9.0.1:53"))
		require.Equal(t, c.out, hex.EncodeToString(f.Bytes()))
	}
}

func TestSourceRouted(t *testing.T) {
	for options, want := range map[string]bool{
		"8307040a010001 01": true, "8307080a010001 00": true, "8907040a010001 00": true, "01010183 07040a01 00010000": true,
		"070704 00000000 83": false, "00 8307040a010001": false, "0783 0000": false, "8204 0000": false, "83000000": false,
	} {
		_, p := withOptions(t, unhex(t, options))
		require.Equal(t, want, SourceRouted(p), options)
	}
	_, p := recipe{src: cip6, dst: vip6, proto: wire.ProtoUDP}.build(t)
	require.False(t, SourceRouted(p))
}
