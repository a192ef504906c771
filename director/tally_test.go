package director

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// Servers that share a slot are counted each for itself.
func TestTallySlots(t *testing.T) {
	var y tally
	servers := map[uint32]*ipvs.RealServer{}
	for _, i := range []uint32{1, 2, 1 + tallySlots, 1 + 2*tallySlots} {
		rs := ipvs.NewRealServer(ipvs.ServerID{}, nil, ipvs.ServerSpec{})
		rs.Index, servers[i] = i, rs
	}
	for round := range 3 {
		for i, rs := range servers {
			for range i % 7 {
				y.of(rs).in.add(100 + round)
				y.of(rs).conns++
			}
		}
	}
	y.settle()
	for i, rs := range servers {
		require.EqualValues(t, 3*(i%7), rs.Counters.InPkts.Load(), i)
		require.EqualValues(t, 303*(i%7), rs.Counters.InBytes.Load(), i)
		require.EqualValues(t, 3*(i%7), rs.Counters.Conns.Load(), i)
	}
	const times = 1 + 2 + 65%7 + 129%7
	require.Equal(t, counts{conns: 3 * times, in: sum{packets: 3 * times, bytes: 303 * times}}, y.total)
}
