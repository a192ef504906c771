package chaos

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what Run is told.
type Options struct {
	First   uint64 // the first seed
	Seeds   int
	Kinds   []Kind // of faults; empty: all but mistakes
	Workers int    // seeds played at once; 0: one
	Shrink  int    // runs to shrink each finding with; 0: 200
	// Schedule, if not nil, is played with every seed instead of its own.
	Schedule Schedule
	// Progress, if not nil, is called now and then with how many seeds are done.
	Progress func(done int)
}

const (
	defaultShrink = 200
	// progressEvery is how many seeds pass between two calls of Progress.
	progressEvery = 100
)

// played is what is kept of a seed.
type played struct {
	schedule   Schedule
	requests   int
	failed     int
	sessions   int
	ended      int
	outages    []attributed
	worst      time.Duration
	violations []Violation
}

// attributed is an outage and what came before it.
type attributed struct {
	kind   Kind
	over   bool // it began after the end of the fault
	length time.Duration
}

// Run plays seeds and tells what came of it. The report depends on the lab and
// the options alone.
func Run(l *Lab, o Options) (*Report, error) {
	if len(o.Kinds) == 0 {
		o.Kinds, _ = Kinds()
	}
	if err := l.Check(o.Schedule); err != nil {
		return nil, err
	}
	r := &runner{lab: l, bounds: NewBounds(l), o: o, seeds: make([]played, o.Seeds)}
	var wg sync.WaitGroup
	for range max(o.Workers, 1) {
		wg.Go(r.work)
	}
	wg.Wait()
	if r.err != nil {
		return nil, r.err
	}
	return r.report()
}

// runner is a Run under way. Each element of seeds belongs to the worker that
// took its index.
type runner struct {
	lab    *Lab
	bounds Bounds
	o      Options
	seeds  []played
	next   atomic.Int64
	done   atomic.Int64

	mu  sync.Mutex
	err error
}

func (r *runner) work() {
	for {
		i := int(r.next.Add(1)) - 1
		if i >= len(r.seeds) {
			return
		}
		h, err := Play(r.lab, r.bounds, r.scheduleOf(i), r.seedOf(i))
		if err != nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
			return
		}
		r.seeds[i] = r.summary(h)
		if n := int(r.done.Add(1)); r.o.Progress != nil && n%progressEvery == 0 {
			r.mu.Lock()
			r.o.Progress(n)
			r.mu.Unlock()
		}
	}
}

func (r *runner) seedOf(i int) uint64 { return r.o.First + uint64(i) }

func (r *runner) scheduleOf(i int) Schedule {
	if r.o.Schedule != nil {
		return r.o.Schedule
	}
	return Generate(r.lab, r.bounds, r.seedOf(i), r.o.Kinds)
}

// summary keeps of a history what the report needs.
func (r *runner) summary(h *History) played {
	j := &judge{r.lab, r.bounds, h}
	p := played{
		schedule: h.Schedule, requests: len(h.Requests), failed: h.Failed(), sessions: len(h.Sessions),
		worst: h.Worst().Length(), violations: Judge(r.lab, r.bounds, h),
	}
	for _, s := range h.Sessions {
		if s.Ended > 0 {
			p.ended++
		}
	}
	for _, o := range h.Outages() {
		p.outages = append(p.outages, j.attribute(o))
	}
	return p
}

// attribute finds the last change before an outage, which is taken for its
// cause: at a server if only requests to servers with faults failed, else at a
// director or network, if there was any.
func (j *judge) attribute(o Outage) attributed {
	servers := j.onlyServers(o)
	if a := j.lastChange(o, func(f Fault) bool { return (f.Kind.info().at == atServer) == servers }); a.kind != "" {
		return a
	}
	return j.lastChange(o, func(Fault) bool { return true })
}

// lastChange is the last beginning or end before an outage of a fault that fits.
func (j *judge) lastChange(o Outage, fits func(Fault) bool) attributed {
	a := attributed{length: o.Length()}
	last := time.Duration(-1)
	for _, f := range j.h.Schedule {
		if !fits(f) {
			continue
		}
		if f.At <= o.From && f.At > last {
			a.kind, a.over, last = f.Kind, false, f.At
		}
		if f.End() <= o.From && f.End() > last {
			a.kind, a.over, last = f.Kind, true, f.End()
		}
	}
	return a
}

// report puts everything together.
func (r *runner) report() (*Report, error) {
	rep := &Report{Lab: r.lab, Bounds: r.bounds, First: r.o.First, Seeds: len(r.seeds)}
	rep.count(r.seeds)
	if err := r.worst(rep); err != nil {
		return nil, err
	}
	for _, f := range r.firsts() {
		if err := r.finding(rep, f); err != nil {
			return nil, err
		}
	}
	return rep, nil
}

// worst plays the seed with the longest outage again.
func (r *runner) worst(rep *Report) error {
	at := -1
	for i, p := range r.seeds {
		if p.worst > 0 && (at < 0 || p.worst > r.seeds[at].worst) {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	h, err := Play(r.lab, r.bounds, r.scheduleOf(at), r.seedOf(at))
	if err != nil {
		return err
	}
	o := h.Worst()
	rep.Worst = r.episode(h, o)
	rep.Worst.Because = (&judge{r.lab, r.bounds, h}).why(o)
	return nil
}

// first is a kind of violation, and the first seed that had it.
type first struct {
	violation Violation
	seed      int // index
	seeds     int // how many had it
}

// same reports whether two violations are one finding.
func (v *Violation) same(o *Violation) bool { return v.Rule == o.Rule && v.Cause == o.Cause }

// firsts lists the kinds of violations, by rule and by how common they are.
func (r *runner) firsts() []first {
	var list []first
	for i, p := range r.seeds {
		for _, v := range p.violations {
			k := slices.IndexFunc(list, func(f first) bool { return f.violation.same(&v) })
			if k < 0 {
				list = append(list, first{violation: v, seed: i})
				k = len(list) - 1
			}
			list[k].seeds++
		}
	}
	rules := Rules()
	slices.SortStableFunc(list, func(a, b first) int {
		return cmp.Or(slices.Index(rules, a.violation.Rule)-slices.Index(rules, b.violation.Rule), b.seeds-a.seeds)
	})
	return list
}

// finding shrinks a violation's schedule and tells its story.
func (r *runner) finding(rep *Report, f first) error {
	seed := r.seedOf(f.seed)
	s := r.scheduleOf(f.seed)
	if r.o.Schedule == nil {
		s = Shrink(s, cmp.Or(r.o.Shrink, defaultShrink), func(s Schedule) bool { return r.breaks(s, seed, &f.violation) != nil })
	}
	h, err := Play(r.lab, r.bounds, s, seed)
	if err != nil {
		return err
	}
	for _, v := range Judge(r.lab, r.bounds, h) {
		if v.same(&f.violation) {
			e := r.episode(h, Outage{From: v.At, To: v.At + v.For, Service: max(v.service, 0)})
			rep.Findings = append(rep.Findings, Finding{Violation: v, Seeds: f.seeds, Episode: e})
			return nil
		}
	}
	return nil
}

// breaks plays a schedule and returns the violation that it is to cause, or nil.
func (r *runner) breaks(s Schedule, seed uint64, want *Violation) *Violation {
	h, err := Play(r.lab, r.bounds, s, seed)
	if err != nil {
		return nil
	}
	for _, v := range Judge(r.lab, r.bounds, h) {
		if v.same(want) {
			return &v
		}
	}
	return nil
}
