package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	o := &Options{Quick: true}
	figures, err := Measure(t.Context(), o, o.Pace("g"))
	require.NoError(t, err)
	require.Len(t, figures, 3)
	for _, f := range figures {
		require.Positive(t, f.Result().Median, f.Name)
	}
}

// TestAdded: no sum is left out, and each has all numbers.
func TestAdded(t *testing.T) {
	sums := added([8]uint64{}, 1)
	require.Equal(t, [8]uint64{3, 5, 7, 9, 11, 13, 15, 17}, sums)
	require.NotEqual(t, sums, added(sums, 1))
}

// TestRing: it is one cycle through everything.
func TestRing(t *testing.T) {
	ring := newRing(1000)
	seen, at := map[uint32]bool{}, uint32(0)
	for range ring {
		require.False(t, seen[at])
		seen[at] = true
		at = ring[at]
	}
	require.Zero(t, at)
}
