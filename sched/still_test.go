package sched

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStill: a still copy decides as the scheduler, whose next Update it does
// not see. Those that remember have none.
func TestStill(t *testing.T) {
	still := 0
	for _, name := range names {
		s, _ := New(name, rand.New(rand.NewPCG(1, 2)))
		list := servers(10)
		require.NoError(t, s.Update(Bind, list, nil))
		c := Still(s)
		if c == nil {
			continue
		}
		still++
		req := request(0)
		for range 30 {
			rs := s.Schedule(&req)
			require.Same(t, rs, c.Schedule(&req), name)
			rs.Bind(true)
		}
		require.NoError(t, s.Update(Delete, nil, list[0]))
		require.Nil(t, s.Schedule(&req))
		require.NotNil(t, c.Schedule(&req))
		require.NoError(t, s.Update(Bind, servers(rankedFrom), nil))
		if name != "dh" && name != "sh" {
			require.Nil(t, Still(s), "%s: a ranking is not still", name)
		}
	}
	require.Equal(t, 8, still)
	require.Nil(t, Still(nil))
}
