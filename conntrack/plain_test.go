package conntrack

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was set before an atomic step is seen by whoever saw that step, whole,
// even if it looked before as well.
func TestSetIsSeenWithTheNextStep(t *testing.T) {
	const steps = 100_000
	var word, turn atomic.Uint64
	var link atomic.Uint32
	var both sync.WaitGroup
	both.Go(func() {
		for n := uint64(1); n <= steps; n++ {
			set64(&word, n<<32|n)
			set32(&link, uint32(n))
			turn.CompareAndSwap(n-1, n)
		}
	})
	bad := 0
	both.Go(func() {
		for seen := uint64(0); seen < steps; {
			seen = turn.Load()
			w, l := word.Load(), link.Load()
			if w>>32 != w&(1<<32-1) || w>>32 < seen || uint64(l) < seen {
				bad++
			}
		}
	})
	both.Wait()
	require.Zero(t, bad, "words older than the step, or torn")
}
