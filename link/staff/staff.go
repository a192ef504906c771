package staff

import (
	"fmt"
	"time"

	"usvs/clock"
)

// Every is how often readings are to be taken.
const Every = 50 * time.Millisecond

const (
	// full is the share of the time in which a thread runs or waits for a CPU, from
	// which on it has no time left.
	full = 0.88

	// spare is how much of a CPU must idle for another worker to be tried. With less
	// than scarce one may be too many.
	spare, scarce = 0.25, 0.04

	// slack is what the workers may have to do, as a share of what one less could,
	// for one to be sent away.
	slack = 0.6

	// sure is for how many readings in a row a state is to last before it counts.
	sure = 2

	// settling readings after a change are not compared; trying ones are.
	settling, trying = 1, 3

	// better is what a worker more has to gain, and one less may lose.
	better, worse = 1.05, 0.98

	// A trial that failed is not repeated before a pause, which doubles; nor, for trust
	// at most, are those that keep ending without a result. What a trial has shown to
	// be better is not doubted for some time either, nor sent away between bursts.
	minPause, trust, maxPause = time.Second, 8 * time.Second, 64 * time.Second

	// recent is over how long an average is taken.
	recent = 500 * time.Millisecond

	// frameBytes take as long to copy as a frame takes otherwise.
	frameBytes = 8 << 10
)

// Reading is what was counted until a moment. Everything only grows.
type Reading struct {
	At      clock.Instant
	Threads [][]time.Duration // by worker: how long each of its threads ran or waited for a CPU; nil: there was so little traffic that nobody looked
	Idle    time.Duration     // how long the CPUs for the workers idled, all together
	Frames  uint64            // that were received
	Bytes   uint64            // of them

	Received []uint64      // by the CPU on which the kernel received them; nil: not known
	Waited   time.Duration // how long the first worker's threads were ready to run and did not; only with Threads
	Turns    uint64        // how often it was their turn; only with Threads
}

// work is how much was forwarded.
func (r *Reading) work() float64 { return float64(r.Frames) + float64(r.Bytes)/frameBytes }

// Staff is the workers as a whole.
type Staff struct {
	most   int
	active int
	last   Reading
	seen   bool

	busy, scarce, lax int // readings in a row
	rate              average

	trial *trial // nil: there is none
	more  pause  // before a worker more is tried
	less  pause  // likewise
}

// trial is a change whose effect is not known yet.
type trial struct {
	before   float64 // work per second
	from     int     // workers
	readings int
	rate     average
}

// average is of the readings of a state.
type average struct {
	work, seconds float64
}

// add forgets what is long past.
func (a *average) add(work, seconds float64) {
	if a.seconds > recent.Seconds() {
		a.work, a.seconds = a.work/2, a.seconds/2
	}
	a.work, a.seconds = a.work+work, a.seconds+seconds
}

func (a *average) perSecond() float64 {
	if a.seconds == 0 {
		return 0
	}
	return a.work / a.seconds
}

// pause is how long something that did not help is left alone.
type pause struct {
	until  clock.Instant
	long   time.Duration
	spoilt int // trials that said nothing
}

func (p *pause) failed(now clock.Instant) { p.double(now, maxPause) }

// spoil is for a trial that said nothing: once is no reason to wait, but traffic
// that comes in short bursts would do it forever.
func (p *pause) spoil(now clock.Instant) {
	if p.spoilt++; p.spoilt > 1 {
		p.double(now, max(trust, p.long))
	}
}

func (p *pause) double(now clock.Instant, most time.Duration) {
	p.long = min(max(2*p.long, minPause), most)
	p.until = now.Add(p.long)
}

func (p *pause) over(now clock.Instant) bool { return !now.Before(p.until) }

// New returns a staff of so many workers, the first of which works.
func New(most int) *Staff { return &Staff{most: most, active: 1} }

// Active is how many workers are to be given frames.
func (s *Staff) Active() int { return s.active }

// Look takes a reading and returns why Active changed; "": it did not.
func (s *Staff) Look(r Reading) (why string) {
	before, seen := s.last, s.seen
	s.last, s.seen = r, true
	took := r.At.Sub(before.At).Seconds()
	if !seen || took <= 0 {
		return ""
	}
	work := r.work() - before.work()
	load, busiest := loads(before.Threads, r.Threads, took)
	if s.trial != nil {
		return s.judge(r.At, work, load, took)
	}
	idle := (r.Idle - before.Idle).Seconds() / took
	s.count(work, took, load, busiest, idle)
	switch {
	case s.busy >= sure && s.active < s.most && s.more.over(r.At):
		return s.try(s.active+1, fmt.Sprintf("the busiest was busy %.0f %% of the time with %.0f %% of a CPU idle", 100*busiest, 100*idle))
	case s.scarce >= sure && s.less.over(r.At):
		return s.try(s.active-1, "no CPU idles")
	case s.lax >= 2*trying && s.less.over(r.At):
		s.change(s.active - 1)
		return "fewer have little to do"
	}
	return ""
}

// loads are how much of the time the busiest threads of all workers had something to
// do, added up, and the busiest of all.
func loads(before, now [][]time.Duration, seconds float64) (sum, busiest float64) {
	for w, threads := range now {
		most := 0.0
		for t, d := range threads {
			if w < len(before) && t < len(before[w]) {
				most = max(most, (d-before[w][t]).Seconds()/seconds)
			}
		}
		sum, busiest = sum+most, max(busiest, most)
	}
	return sum, busiest
}

// count sees how long what the reading says has lasted.
func (s *Staff) count(work, took, load, busiest, idle float64) {
	last := func(n *int, is bool) {
		if *n++; !is {
			*n = 0
		}
	}
	last(&s.busy, busiest >= full && idle >= spare)
	last(&s.scarce, s.active > 1 && busiest >= full && idle < scarce)
	last(&s.lax, s.active > 1 && load < slack*float64(s.active-1))
	if s.busy+s.scarce <= 1 { // the state has only begun
		s.rate = average{}
	}
	s.rate.add(work, took)
}

// try changes the number of workers to see what comes of it.
func (s *Staff) try(active int, why string) string {
	s.trial = &trial{before: s.rate.perSecond(), from: s.active}
	s.change(active)
	return why
}

func (s *Staff) change(active int) {
	s.active, s.busy, s.scarce, s.lax, s.rate = active, 0, 0, 0, average{}
}

// judge ends a trial once enough was seen of it. If the traffic goes meanwhile
// it says nothing.
func (s *Staff) judge(now clock.Instant, work, load, took float64) (why string) {
	t := s.trial
	wanted, again, back := better, &s.more, &s.less
	if s.active < t.from {
		wanted, again, back = worse, &s.less, &s.more
	}
	if load < slack {
		s.trial = nil
		again.spoil(now)
		s.change(t.from)
		return "there is little to do"
	}
	if t.readings++; t.readings <= settling {
		return ""
	}
	t.rate.add(work, took)
	if t.readings < settling+trying {
		return ""
	}
	s.trial = nil
	gain := t.rate.perSecond() / max(t.before, 1)
	if gain >= wanted {
		*again, *back = pause{}, pause{until: now.Add(trust)}
		return ""
	}
	again.failed(now)
	s.change(t.from)
	return fmt.Sprintf("it forwarded %.2f times as much", gain)
}
