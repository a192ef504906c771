package properties

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A packet that says by which hosts it is to go goes nowhere, whoever sent it:
// recorded on Linux 6.1, for requests by every method and for replies.
func TestNoSourceRoutes(t *testing.T) {
	for _, m := range modes() {
		if m.v6 {
			continue
		}
		tr := newTraffic(t, m, 1)
		tr.vary()
		for _, o := range [][]byte{
			{131, 7, 4, 10, 1, 0, 1, 1}, {131, 7, 8, 10, 1, 0, 1, 1}, {1, 137, 7, 4, 10, 1, 0, 1}, {137, 7, 8, 10, 1, 0, 1, 0},
		} {
			for _, f := range tr.flows {
				s := shipment{flow: f}
				h := header{src: f.client.Addr(), dst: f.virtual.Addr(), proto: f.proto, ttl: 64, options: o}
				sport, dport := f.client.Port(), f.virtual.Port()
				if m.out {
					h.src, h.dst, sport, dport = f.real.Addr(), f.client.Addr(), f.real.Port(), f.client.Port()
				}
				s.in = look(h.packet(tr.r.body(f.proto, sport, dport, 100)))
				s.in.seal()
				s.frames = [][]byte{ethernet(tr.side(s), s.in.b)}
				require.Empty(t, tr.deliver(s), "%v %x", m, o)
			}
		}
		require.EqualValues(t, 4*len(tr.flows), tr.d.Counters()["drop_martian"], m)
	}
}
