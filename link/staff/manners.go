package staff

import "time"

// Nowhere is no CPU.
const Nowhere = -1

const (
	// brisk is how many frames a second, of smallBytes at most on average, make it
	// worth while to have manners. They are kept as long as some come.
	brisk, some, smallBytes = 60_000, 20_000, 600

	// mostly is the share of the frames that one CPU receives for it to be kept off,
	// and mainly for it to be kept off still.
	mostly, mainly = 0.9, 0.75

	// tooLong is how long, on average, a thread may wait for its turn.
	tooLong = time.Millisecond

	// outlast is how long manners last without traffic.
	outlast = time.Second
)

// Manners are those of a worker that is alone: on which CPU its threads do not
// run, because the kernel receives their frames there. On the others they let
// whoever is at work finish. Both makes batches larger and switches rarer, where
// clients and servers share the machine; of super-frames that is not wanted.
type Manners struct {
	last  Reading
	seen  bool
	off   int           // or Nowhere
	rest  time.Duration // how long there has been little to do
	long  int           // in how many readings in a row they waited too long
	again pause         // before they are tried again
}

// NewManners returns those of a worker that runs anywhere.
func NewManners() *Manners { return &Manners{off: Nowhere} }

// Look takes a reading, with so many workers active, and returns the CPU to keep
// off, or Nowhere.
func (m *Manners) Look(r Reading, active int) (off int) {
	before, seen := m.last, m.seen
	m.last, m.seen = r, true
	took := r.At.Sub(before.At)
	if !seen || took <= 0 {
		return m.off
	}
	switch {
	case active > 1 || !m.again.over(r.At):
		m.off = Nowhere
	case r.Threads == nil: // the next burst may be like the last
		if m.rest += took; m.rest >= outlast {
			m.off = Nowhere
		}
	case m.waitsLong(before, r):
		m.again.failed(r.At)
		m.off = Nowhere
	default:
		m.off, m.rest = m.receiver(before, r, took.Seconds()), 0
	}
	return m.off
}

// receiver is the CPU that received what came, if that was much and small.
func (m *Manners) receiver(before, now Reading, seconds float64) int {
	frames, bytes := now.Frames-before.Frames, now.Bytes-before.Bytes
	enough, share := float64(brisk), mostly
	if m.off != Nowhere {
		enough, share = some, mainly
	}
	if float64(frames) < enough*seconds || bytes > smallBytes*frames || len(now.Received) != len(before.Received) {
		return Nowhere
	}
	sum, most, cpu := uint64(0), uint64(0), Nowhere
	for i, n := range now.Received {
		n -= before.Received[i]
		if sum += n; n > most {
			most, cpu = n, i
		}
	}
	if float64(most) < share*float64(sum) || m.off != Nowhere && cpu != m.off {
		return Nowhere
	}
	return cpu
}

// waitsLong reports whether letting others finish takes too long.
func (m *Manners) waitsLong(before, now Reading) bool {
	turns := now.Turns - before.Turns
	if m.long++; m.off == Nowhere || before.Turns == 0 || turns == 0 || (now.Waited-before.Waited)/time.Duration(turns) <= tooLong {
		m.long = 0
	}
	return m.long >= sure
}
