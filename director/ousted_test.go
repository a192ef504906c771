package director

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

// TestErrorsCountForWhatMakesWay: a connection that is to make way is there until
// the kernel's next tick, so the error about the packet that ousted it is its own.
func TestErrorsCountForWhatMakesWay(t *testing.T) {
	for method, out := range map[ipvs.ForwardMethod]uint64{ipvs.DirectRoute: 1, ipvs.Masquerade: 0} {
		b := newTestbed(t)
		rs := b.service(tcpID(vip, 80), method, "10.2.0.11:80")[0]
		for _, flags := range []uint8{wire.FlagSYN, wire.FlagFIN | wire.FlagACK} {
			require.Len(t, b.feed(0, segment(ap(cip, 1), ap(vip, 80), flags, 0)).Tx, 1)
		}
		rs.SetSpec(ipvs.ServerSpec{Method: method, Weight: 0})
		for range 2 { // of the second error there is no connection any more
			sent := b.feed(0, segment(ap(cip, 1), ap(vip, 80), wire.FlagSYN, 0)).Tx
			require.Len(t, sent, 1, method)
			requireICMP(t, b.parse(sent[0]), wire.ICMPUnreachable, 3)
			require.Equal(t, out, rs.Counters.OutPkts.Load(), method)
		}
	}
}
