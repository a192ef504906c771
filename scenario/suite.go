package scenario

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Suite plays scenarios with seeds.
type Suite struct {
	World    string // the name of the world
	Open     func(seed uint64) (World, error)
	Files    []*File
	From, To uint64 // the seeds
	Parallel int    // how many at a time; 0: one
	// Inspect, if not nil, sees each World after its scenario, before it is
	// closed. It is called by as many goroutines as Parallel says.
	Inspect func(*Verdict, World) error
	// Follow, if not nil, makes the Options of each run, whose World is filled in.
	// Like Inspect it is called by as many goroutines as Parallel says.
	Follow func(*Verdict) Options
	// Report hears of each scenario and seed, in order.
	Report func(*Verdict)
}

// Outcome is how a scenario ended.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "pass"
	Failed  Outcome = "fail"
	Skipped Outcome = "skip" // not for this world
)

// Verdict is what became of one scenario with one seed.
type Verdict struct {
	File    *File
	World   string
	Seed    uint64
	Outcome Outcome
	Err     error         // why it failed
	Reason  string        // why it was skipped
	Elapsed time.Duration // in the World's own time
	Replies int           // requests that were made
	Drawing string        // what Inspect wants to be shown with it
}

// Replay is the command that repeats the run.
func (v *Verdict) Replay() string {
	if v.World == "sim" {
		return fmt.Sprintf("usvs sim --seed %d %s", v.Seed, v.File.Name)
	}
	return fmt.Sprintf("usvs sim --world %s %s", v.World, v.File.Name)
}

// Run plays all and returns how many ended how. An error that wraps
// ErrUnsupported says that there is no such World here.
func (s *Suite) Run() (map[Outcome]int, error) {
	runs := uint64(len(s.Files)) * (s.To - s.From + 1)
	counts := map[Outcome]int{}
	for first := uint64(0); first < runs; first += batchSize {
		if err := s.runBatch(first, min(batchSize, runs-first), counts); err != nil {
			return counts, err
		}
	}
	return counts, nil
}

// batchSize bounds how many verdicts wait for those before them.
const batchSize = 1024

// runBatch plays n runs from first on and reports them in order, each as soon
// as those before it have ended.
func (s *Suite) runBatch(first, n uint64, counts map[Outcome]int) error {
	ended := make([]chan *Verdict, n)
	for i := range ended {
		ended[i] = make(chan *Verdict, 1)
	}
	var next atomic.Uint64
	var stop atomic.Bool
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop.Store(true)
	for range max(1, s.Parallel) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < n && !stop.Load(); i = next.Add(1) - 1 {
				ended[i] <- s.play(first + i)
			}
		})
	}
	for _, c := range ended {
		v := <-c
		if errors.Is(v.Err, ErrUnsupported) {
			return v.Err
		}
		counts[v.Outcome]++
		s.Report(v)
	}
	return nil
}

// play plays run number i: all scenarios with the first seed, then all with the
// next.
func (s *Suite) play(i uint64) *Verdict {
	files := uint64(len(s.Files))
	f, seed := s.Files[i%files], s.From+i/files
	v := &Verdict{File: f, World: s.World, Seed: seed, Outcome: Passed}
	if reason, ok := f.For(s.World); !ok {
		v.Outcome, v.Reason = Skipped, reason
		return v
	}
	if v.Err = s.playIn(v); v.Err != nil {
		v.Outcome = Failed
	}
	return v
}

func (s *Suite) playIn(v *Verdict) (err error) {
	w, err := s.Open(v.Seed)
	if err != nil {
		return fmt.Errorf("%s: %w", v.File.Name, err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	err = Run(v.File, w, s.options(v))
	v.Elapsed = w.Now()
	if s.Inspect == nil {
		return err
	}
	v.Err = err
	return errors.Join(err, s.Inspect(v, w))
}

// options are those of one run, which also counts its requests.
func (s *Suite) options(v *Verdict) Options {
	var o Options
	if s.Follow != nil {
		o = s.Follow(v)
	}
	seen := o.Seen
	o.World = s.World
	o.Seen = func(step *Step, replies []Reply) {
		v.Replies += len(replies)
		if seen != nil {
			seen(step, replies)
		}
	}
	return o
}
