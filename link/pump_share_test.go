package link_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/link"
	"usvs/wire"
)

// A whole batch of super-frames can be cut to segments: the handler gets no
// more at once than the output has frames for.
func TestPumpSharesSuperFrames(t *testing.T) {
	const segmentBytes = 1400
	synctest.Test(t, func(t *testing.T) {
		segments, calls := 0, 0
		h := handler{handle: func(_ clock.Instant, batch []*link.Frame, out *link.Output) {
			calls++
			for _, f := range batch {
				for range (f.Len() + segmentBytes - 1) / segmentBytes {
					if assert.NotNil(t, out.New(), "a frame for every segment") {
						segments++
					}
				}
			}
		}}
		l := start(t, 1, h, nil)
		for range link.BatchSize {
			f := wire.NewFrame(wire.MaxFrame)
			f.SetBytes(make([]byte, 64000))
			f.GSO, f.GSOSize = wire.GSOTCP4, segmentBytes
			require.NoError(t, l.near[0].Inject(f))
		}
		synctest.Wait()
		assert.Equal(t, link.BatchSize*46, segments)
		assert.Greater(t, calls, 1)
		l.stop(t)
	})
}

// Ordinary frames still come in whole batches.
func TestPumpKeepsBatchesWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		most := 0
		h := handler{handle: func(_ clock.Instant, batch []*link.Frame, _ *link.Output) {
			most = max(most, len(batch))
			time.Sleep(time.Second) // meanwhile frames gather
		}}
		l := start(t, 1, h, nil)
		for range 4 * link.BatchSize {
			require.NoError(t, l.near[0].InjectBytes(make([]byte, 1514)))
		}
		time.Sleep(time.Minute)
		l.stop(t)
		assert.Equal(t, link.BatchSize, most)
	})
}
