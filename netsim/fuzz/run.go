package fuzz

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Options are what Run is told.
type Options struct {
	First   uint64        // seed of the first case
	Seeds   int           // how many; 0: until the time is up
	Time    time.Duration // no case begins after that; 0: no limit
	Workers int           // cases played at once; 0: one
	Shrink  int           // cases played to shrink one that fails; 0: none
	// Progress, if not nil, is called now and then.
	Progress func(c *Coverage)
}

// Failure is a case in which an invariant broke, shrunk.
type Failure struct {
	Seed      uint64
	Violation *Violation
	Case      string
}

// Error describes it.
func (f *Failure) Error() string { return fmt.Sprintf("seed %d: %v", f.Seed, f.Violation) }

// memoryLimit bounds what all cases together may keep: a case is garbage when
// it is over, whatever its traffic was.
const memoryLimit = 512 << 20

// progressEvery is how many cases pass between two looks at progress and memory.
const progressEvery = 100

// Run plays the cases of consecutive seeds until one fails, and returns the
// first failure, a *Failure, and what was covered.
func Run(o Options) (*Coverage, error) {
	r := &runner{o: o, cover: NewCoverage(), next: o.First, begin: time.Now()}
	var wg sync.WaitGroup
	for range max(o.Workers, 1) {
		wg.Go(r.work)
	}
	wg.Wait()
	if r.failed == nil {
		return r.cover, nil
	}
	var v *Violation
	if !errors.As(r.err, &v) {
		return r.cover, r.err
	}
	f := &Failure{Seed: *r.failed, Violation: v, Case: Generate(*r.failed)}
	if o.Shrink > 0 {
		f.Case = Shrink(f.Case, f.Seed, v.Rule, o.Shrink)
	}
	return r.cover, f
}

// runner is a Run under way.
type runner struct {
	o     Options
	begin time.Time

	mu     sync.Mutex
	cover  *Coverage
	next   uint64
	failed *uint64 // the lowest seed that failed
	err    error
}

func (r *runner) work() {
	for {
		seed, ok := r.take()
		if !ok {
			return
		}
		cover := NewCoverage()
		err := Play(Generate(seed), seed, cover)
		r.played(seed, cover, err)
	}
}

// take returns the next seed, if there is to be another case.
func (r *runner) take() (uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil || r.o.Seeds > 0 && r.next-r.o.First >= uint64(r.o.Seeds) ||
		r.o.Time > 0 && time.Since(r.begin) > r.o.Time {
		return 0, false
	}
	r.next++
	return r.next - 1, true
}

func (r *runner) played(seed uint64, cover *Coverage, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && (r.failed == nil || seed < *r.failed) {
		r.failed, r.err = &seed, err
	}
	r.cover.add(cover)
	if r.cover.Cases%progressEvery != 0 {
		return
	}
	if r.o.Progress != nil {
		r.o.Progress(r.cover)
	}
	if n := heap(); n > memoryLimit && r.failed == nil {
		r.failed, r.err = &seed, &Violation{"memory", fmt.Sprintf("%d MiB are in use after %d cases", n>>20, r.cover.Cases)}
	}
}

// heap is what is really in use.
func heap() uint64 {
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc <= memoryLimit {
		return m.HeapAlloc
	}
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
