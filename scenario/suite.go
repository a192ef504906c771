package scenario

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Suite plays scenarios with seeds.
type Suite struct {
	World    string // the name of the world
	Open     func(seed uint64) (World, error)
	Files    []*File
	From, To uint64 // the seeds
	Parallel int    // how many at a time; 0: one
	// Inspect, if not nil, sees each World after its scenario, before it is closed.
	Inspect func(*Verdict, World) error
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
	runs := len(s.Files) * int(s.To-s.From+1)
	counts := map[Outcome]int{}
	slots := make([]chan *Verdict, runs)
	for i := range slots {
		slots[i] = make(chan *Verdict, 1)
	}
	stop := make(chan struct{})
	var workers sync.WaitGroup
	defer workers.Wait()
	defer close(stop)
	next := make(chan int)
	go feed(next, runs, stop)
	for range max(1, s.Parallel) {
		workers.Go(func() {
			for i := range next {
				slots[i] <- s.play(s.Files[i%len(s.Files)], s.From+uint64(i/len(s.Files)))
			}
		})
	}
	for i := range slots {
		v := <-slots[i]
		if errors.Is(v.Err, ErrUnsupported) {
			return counts, v.Err
		}
		counts[v.Outcome]++
		s.Report(v)
	}
	return counts, nil
}

// feed hands out the numbers of the runs until stopped.
func feed(next chan<- int, runs int, stop <-chan struct{}) {
	defer close(next)
	for i := range runs {
		select {
		case next <- i:
		case <-stop:
			return
		}
	}
}

// play plays one scenario with one seed.
func (s *Suite) play(f *File, seed uint64) *Verdict {
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
	count := func(_ *Step, replies []Reply) { v.Replies += len(replies) }
	err = Run(v.File, w, Options{World: s.World, Seen: count})
	v.Elapsed = w.Now()
	if s.Inspect == nil {
		return err
	}
	v.Err = err
	return errors.Join(err, s.Inspect(v, w))
}
