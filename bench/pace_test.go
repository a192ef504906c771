package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	o := &Options{Quick: true}
	figures, err := Measure(t.Context(), o, o.Pace("g"))
	require.NoError(t, err)
	require.Len(t, figures, 2)
	for _, f := range figures {
		require.Positive(t, f.Result().Median, f.Name)
	}
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
