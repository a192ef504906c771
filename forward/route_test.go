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
