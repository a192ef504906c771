package link

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEveryDropHasAName(t *testing.T) {
	seen := map[string]bool{}
	for d := range NumDrops {
		assert.NotEmpty(t, d.String())
		assert.False(t, seen[d.String()], "%s twice", d)
		seen[d.String()] = true
	}
}

func TestCountersAreConcurrent(t *testing.T) {
	var c Counters
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				c.Received(2, 100)
				c.Sent(1, 50)
				c.Dropped(DropTooLong, 1)
				_ = c.Read()
			}
		})
	}
	wg.Wait()
	s := c.Read()
	assert.EqualValues(t, 8000, s.RxFrames)
	assert.EqualValues(t, 400000, s.RxBytes)
	assert.EqualValues(t, 4000, s.TxFrames)
	assert.EqualValues(t, 200000, s.TxBytes)
	assert.EqualValues(t, 4000, s.Drops[DropTooLong])
}

func TestOutputPool(t *testing.T) {
	var out Output
	for range 2 {
		for i := range MaxExtra {
			f := out.New()
			assert.NotNil(t, f)
			assert.Zero(t, f.Len())
			if i > 3 { // keep the test small
				out.used = MaxExtra
				out.pool = append(out.pool, make([]*Frame, MaxExtra-len(out.pool))...)
				break
			}
		}
		assert.Nil(t, out.New())
		out.Reset()
	}
}

func TestStatsPlus(t *testing.T) {
	var a, b Counters
	a.Received(1, 10)
	a.Dropped(DropOverrun, 3)
	b.Received(2, 20)
	b.Sent(4, 40)
	b.Dropped(DropOverrun, 5)
	want := Stats{RxFrames: 3, RxBytes: 30, TxFrames: 4, TxBytes: 40}
	want.Drops[DropOverrun] = 8
	assert.Equal(t, want, a.Read().Plus(b.Read()))
}
