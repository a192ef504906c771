package traffic

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHistogramAgainstSorting: quantiles are those of the sorted values, but for
// the precision.
func TestHistogramAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 10, 1000} {
		var h Histogram
		var all []time.Duration
		for range n {
			d := time.Duration(math.Exp(r.Float64() * 25))
			h.Add(d)
			all = append(all, d)
		}
		slices.Sort(all)
		require.EqualValues(t, n, h.Count())
		for _, q := range []float64{0, 0.1, 0.5, 0.99, 0.999, 1} {
			want := all[min(int(q*float64(n)), n-1)]
			got := h.Quantile(q)
			require.LessOrEqual(t, got, want)
			require.GreaterOrEqual(t, float64(got), float64(want)*31/32-1, "%v of %d", q, n)
		}
	}
}

func TestHistogramExtremes(t *testing.T) {
	var h Histogram
	require.Zero(t, h.Quantile(0.5), "of nothing")
	h.Add(-time.Second)
	require.Zero(t, h.Quantile(1))
	h.Add(math.MaxInt64)
	require.InEpsilon(t, float64(math.MaxInt64), float64(h.Quantile(1)), 1.0/31)
}

func TestBuckets(t *testing.T) {
	for i := range histBuckets - 1 {
		low := lowest(i)
		require.Equal(t, i, bucketOf(low), "%d", low)
		if next := lowest(i + 1); next > low {
			require.Equal(t, i, bucketOf(next-1), "%d", next-1)
		}
	}
}
