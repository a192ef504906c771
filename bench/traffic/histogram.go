package traffic

import (
	"math/bits"
	"time"
)

// Histogram counts durations with a precision of 1/32, in fixed space.
type Histogram struct {
	counts [histBuckets]uint64
	total  uint64
}

const (
	histPrecision = 5 // bits
	histBuckets   = (64 - histPrecision + 1) << histPrecision
)

// Add counts a duration; negative ones as zero.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
}

// Count is how many there are.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile is the duration that the share q of all does not exceed, rounded
// down to the histogram's precision; 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.total))
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; seen > rank || n > 0 && seen == h.total {
			return time.Duration(lowest(i))
		}
	}
	return 0
}

// bucketOf: the first 32 values have buckets of their own, and then every power
// of two has 32.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-histPrecision-1, 0)
	return shift<<histPrecision + int(v>>shift)
}

// lowest is the lowest value in a bucket.
func lowest(i int) uint64 {
	if i < 2<<histPrecision {
		return uint64(i)
	}
	shift := i>>histPrecision - 1
	return uint64(i-shift<<histPrecision) << shift
}
