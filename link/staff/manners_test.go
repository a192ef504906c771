package staff

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"usvs/clock"
)

// traffic is what comes in a second, to a worker among two CPUs.
type traffic struct {
	frames, size uint64
	cpus         []float64     // their shares of it
	wait         time.Duration // of a turn
	active       int
}

// small is what clients that share the machine make of requests.
var small = traffic{frames: 100_000, size: 190, cpus: []float64{0.97, 0.03}, wait: 100 * time.Microsecond, active: 1}

func (t traffic) but(change func(*traffic)) traffic {
	t.cpus = slices.Clone(t.cpus)
	change(&t)
	return t
}

// table is where manners are watched.
type table struct {
	m *Manners
	r Reading
}

func newTable() *table { return &table{m: NewManners(), r: Reading{At: clock.Instant(time.Hour)}} }

// serve lets traffic come for so long and returns which CPU was kept off at each
// reading.
func (b *table) serve(t traffic, long time.Duration) (off []int) {
	for range int(long / Every) {
		part := func(perSecond uint64) uint64 { return uint64(float64(perSecond) * Every.Seconds()) }
		r := b.r
		r.At = r.At.Add(Every)
		r.Frames, r.Bytes = r.Frames+part(t.frames), r.Bytes+part(t.frames)*t.size
		r.Turns, r.Waited = r.Turns+100, r.Waited+100*t.wait
		r.Received = slices.Clone(r.Received)
		for i, share := range t.cpus {
			if i == len(r.Received) {
				r.Received = append(r.Received, 0)
			}
			r.Received[i] += uint64(share * float64(part(t.frames)))
		}
		r.Threads = [][]time.Duration{{0}}
		seen := r
		if t.frames < 5000 { // nobody looked any further
			seen.Threads, seen.Turns, seen.Waited = nil, 0, 0
		}
		b.r = r
		off = append(off, b.m.Look(seen, max(t.active, 1)))
	}
	return off
}

func TestMannersOfASmallTableTalk(t *testing.T) {
	b := newTable()
	off := b.serve(small, time.Second)
	assert.Equal(t, []int{Nowhere, 0}, off[:2], "the first reading has nothing before it")
	assert.NotContains(t, off[1:], Nowhere)
	assert.Equal(t, 1, last(b.serve(small.but(func(t *traffic) { slices.Reverse(t.cpus) }), time.Second)), "the clients moved")
}

func last(list []int) int { return list[len(list)-1] }

// What is not like that gets no manners, and ends them at once.
func TestNoManners(t *testing.T) {
	for name, other := range map[string]traffic{
		"super-frames":    small.but(func(t *traffic) { t.size = 30_000 }),
		"from everywhere": small.but(func(t *traffic) { t.cpus[0], t.cpus[1] = 0.6, 0.4 }),
		"several workers": small.but(func(t *traffic) { t.active = 2 }),
		"CPUs not known":  small.but(func(t *traffic) { t.cpus = nil }),
	} {
		b := newTable()
		assert.Equal(t, Nowhere, last(b.serve(other, time.Second)), name)
		if len(other.cpus) == 0 {
			continue
		}
		assert.Equal(t, 0, last(b.serve(small, time.Second)), name)
		assert.Equal(t, Nowhere, b.serve(other, time.Second)[0], name)
	}
}

// Traffic near a bound does not change them all the time.
func TestMannersNearTheBounds(t *testing.T) {
	less := small.but(func(t *traffic) { t.frames, t.cpus[0], t.cpus[1] = 25_000, 0.8, 0.2 })
	b := newTable()
	assert.Equal(t, Nowhere, last(b.serve(less, time.Second)))
	b.serve(small, time.Second)
	assert.NotContains(t, b.serve(less, time.Second), Nowhere)
}

// Bursts of the same kind find the manners that the last one had, for some time.
func TestMannersOutlastBursts(t *testing.T) {
	b := newTable()
	quiet := small.but(func(t *traffic) { t.frames = 100 })
	b.serve(small, time.Second)
	assert.NotContains(t, b.serve(quiet, outlast-Every), Nowhere)
	assert.Equal(t, 0, last(b.serve(small, time.Second)))
	assert.Equal(t, Nowhere, last(b.serve(quiet, outlast)))
	assert.Equal(t, 0, last(b.serve(small, time.Second)))
}

// Whoever does not let the worker have its turn is not given way to.
func TestMannersEndWithPatience(t *testing.T) {
	b := newTable()
	b.serve(small, time.Second)
	slow := small.but(func(t *traffic) { t.wait = 2 * tooLong })
	off := b.serve(slow, minPause)
	assert.Equal(t, []int{0, Nowhere}, off[:2])
	assert.Equal(t, Nowhere, last(off), "nor soon after")
	kept := 0
	for range 10 {
		for _, cpu := range b.serve(slow, 10*time.Second) {
			if cpu != Nowhere {
				kept++
			}
		}
	}
	assert.Less(t, kept, 40, "readings of 2000, as it is tried ever more rarely")
	assert.Equal(t, 0, last(b.serve(small, maxPause+time.Second)))
}

// A clock that stands, or goes back, divides nothing by zero.
func TestMannersWithoutTime(t *testing.T) {
	b := newTable()
	b.serve(small, time.Second)
	assert.Equal(t, 0, b.m.Look(b.r, 1))
	earlier := b.r
	earlier.At = earlier.At.Add(-time.Second)
	assert.Equal(t, 0, b.m.Look(earlier, 1))
}
