package staff

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
)

// machine is a model of workers and their traffic.
type machine struct {
	s    *Staff
	r    Reading
	most int

	// gain is what so many workers forward, in frames a second of 1000 bytes.
	gain func(active int) float64
	// demand is what each worker's thread wants of a CPU, and idle what the CPUs do
	// not do.
	demand func(active int) []float64
	idle   func(active int) float64

	changes []int
}

func newMachine(most int) *machine {
	m := &machine{s: New(most), most: most}
	m.r.At = clock.Instant(time.Hour)
	return m
}

// run lets time pass.
func (m *machine) run(long time.Duration) {
	for range int(long / Every) {
		active := m.s.Active()
		m.r.At = m.r.At.Add(Every)
		frames := uint64(m.gain(active) * Every.Seconds())
		m.r.Frames, m.r.Bytes = m.r.Frames+frames, m.r.Bytes+1000*frames
		m.r.Idle += time.Duration(m.idle(active) * float64(Every))
		threads, demand := make([][]time.Duration, m.most), m.demand(active)
		for w := range threads {
			now := time.Duration(0)
			if w < len(demand) {
				now = time.Duration(demand[w] * float64(Every))
			}
			if m.r.Threads != nil {
				now += m.r.Threads[w][1]
			}
			threads[w] = []time.Duration{0, now}
		}
		m.r.Threads = threads
		if m.s.Look(m.r); m.s.Active() != active {
			m.changes = append(m.changes, m.s.Active())
		}
	}
}

// always is the same whatever the workers do.
func always[T any](v T) func(int) T { return func(int) T { return v } }

// busy is what so many workers want who have no time left.
func busy(active int) (list []float64) {
	for range active {
		list = append(list, 0.97)
	}
	return list
}

func bulk(m *machine) {
	m.gain = func(active int) float64 { return 1e5 * min(float64(active), 1.3) }
	m.demand, m.idle = busy, func(active int) float64 { return max(0.5-0.4*float64(active-1), 0.1) }
}

func quiet(m *machine) {
	m.gain, m.demand, m.idle = always(100.0), always([]float64{0.01}), always(1.9)
}

// A second worker that helps stays as long as it is needed.
func TestHelps(t *testing.T) {
	m := newMachine(2)
	quiet(m)
	m.run(time.Second)
	require.Empty(t, m.changes)
	bulk(m)
	m.run(200 * time.Millisecond)
	require.Equal(t, []int{2}, m.changes, "at once")
	m.run(time.Minute)
	require.Equal(t, []int{2}, m.changes, "and for good")
	quiet(m)
	m.run(time.Second)
	require.Equal(t, []int{2, 1}, m.changes)
	bulk(m)
	m.run(time.Second)
	require.Equal(t, []int{2, 1, 2}, m.changes)
}

// What does not help is taken back and tried ever less often: the traffic of one
// client goes to one worker, whoever it is.
func TestDoesNotHelp(t *testing.T) {
	m := newMachine(2)
	m.gain, m.idle = always(1e5), always(0.5)
	m.demand = func(active int) []float64 {
		if active == 1 {
			return []float64{0.97}
		}
		return []float64{0, 0.97}
	}
	m.run(500 * time.Millisecond)
	require.Equal(t, []int{2, 1}, m.changes)
	m.run(10 * time.Minute)
	require.Equal(t, 1, m.s.Active())
	assert.InDelta(t, 2*(6+10), len(m.changes), 4, "1, 2, 4, ... 64 seconds, and every 64 seconds then")
}

// Without an idle CPU, and without want, nothing is tried.
func TestNothingToTry(t *testing.T) {
	for name, set := range map[string]func(*machine){
		"no CPU idles":       func(m *machine) { bulk(m); m.idle = always(0.1) },
		"there is time left": func(m *machine) { bulk(m); m.demand = always([]float64{0.8}) },
		"only one":           func(m *machine) { bulk(m); m.s = New(1) },
	} {
		m := newMachine(2)
		set(m)
		m.run(time.Minute)
		assert.Empty(t, m.changes, name)
	}
}

// A worker too many, whose CPU others could use, is found out: the traffic has
// changed since it helped.
func TestTooMany(t *testing.T) {
	m := newMachine(2)
	bulk(m)
	m.run(time.Second)
	require.Equal(t, 2, m.s.Active())
	m.gain = func(active int) float64 { return 1e6 / float64(active) }
	m.idle = always(0.0)
	m.run(20 * time.Second)
	require.Equal(t, []int{2, 1}, m.changes)
	m.gain = func(active int) float64 { return 1e5 * float64(active) }
	m.idle = always(0.5)
	m.run(10 * time.Second)
	require.Equal(t, []int{2, 1, 2}, m.changes)
}

// Of eight workers as many get frames as help.
func TestMany(t *testing.T) {
	m := newMachine(8)
	m.demand = busy
	m.gain = func(active int) float64 { return 1e5 * min(float64(active), 5) }
	m.idle = func(active int) float64 { return 8 - float64(active) }
	m.run(10 * time.Second)
	assert.Equal(t, 5, m.s.Active())
	m.demand = func(active int) []float64 { return []float64{0.3, 0.3, 0.3} }
	m.run(5 * time.Second)
	assert.Equal(t, 2, m.s.Active())
}

// Traffic that ends during a trial does not count against it.
func TestEndsMeanwhile(t *testing.T) {
	m := newMachine(2)
	bulk(m)
	m.run(200 * time.Millisecond)
	require.Equal(t, 2, m.s.Active())
	quiet(m)
	m.run(100 * time.Millisecond)
	require.Equal(t, 1, m.s.Active())
	bulk(m)
	m.run(200 * time.Millisecond)
	require.Equal(t, 2, m.s.Active())
}

// Whatever the readings say, there is at least one and at most all.
func TestAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for most := 1; most <= 4; most++ {
		s, r := New(most), Reading{}
		for range 20000 {
			r.At = r.At.Add(time.Duration(rng.Int64N(int64(2*Every))) - Every/10)
			r.Frames, r.Bytes = rng.Uint64N(1e9), rng.Uint64N(1e12)
			r.Idle += time.Duration(rng.Int64N(int64(Every)))
			r.Threads = nil
			for range rng.IntN(most + 2) {
				r.Threads = append(r.Threads, []time.Duration{time.Duration(rng.Int64N(int64(time.Hour)))}[:rng.IntN(2)])
			}
			before := s.Active()
			why := s.Look(r)
			require.Equal(t, s.Active() != before, why != "")
			require.True(t, s.Active() >= 1 && s.Active() <= most, "%d of %d", s.Active(), most)
		}
	}
}

// rounds has traffic come and go.
func (m *machine) rounds(n int, on, off time.Duration) {
	for range n {
		bulk(m)
		m.run(on)
		quiet(m)
		m.run(off)
	}
}

// Bursts too short to try anything during them are not each the beginning of a
// trial.
func TestShortBursts(t *testing.T) {
	m := newMachine(2)
	m.rounds(400, 200*time.Millisecond, 200*time.Millisecond)
	assert.LessOrEqual(t, len(m.changes), 50, "in 160 seconds")
	bulk(m)
	m.run(9 * time.Second)
	assert.Equal(t, 2, m.s.Active(), "the next that lasts has what it needs soon")
}

// Who helps in bursts stays between them.
func TestLongBursts(t *testing.T) {
	m := newMachine(2)
	m.rounds(20, time.Second, time.Second)
	assert.LessOrEqual(t, len(m.changes), 10, "in 40 seconds")
	m.run(time.Minute)
	assert.Equal(t, 1, m.s.Active())
}

// Workers who have little to do together, as one waits less for its CPU then,
// are no reason for an endless to and fro.
func TestLittleToDoTogether(t *testing.T) {
	m := newMachine(2)
	m.gain, m.idle = always(1e5), always(0.5)
	m.demand = func(active int) []float64 { return [][]float64{{0.95}, {0.28, 0.28}}[active-1] }
	m.run(160 * time.Second)
	assert.LessOrEqual(t, len(m.changes), 50)
}
