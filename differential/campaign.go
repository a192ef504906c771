package differential

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"usvs/oracle"
)

// Campaign plays the scenarios of some areas and seeds.
type Campaign struct {
	Areas  []string
	Seed   uint64 // the first
	N      int    // scenarios of each area
	Shrink int    // how many findings of each area are reduced
	Out    string // a directory for the recordings of findings; none if empty
	Log    io.Writer

	mutex sync.Mutex // guards what follows
	next  int
	Tally map[string]*Tally
}

// Tally is what became of an area's scenarios.
type Tally struct {
	Played, Steps int
	Refused       int // could not be played as written
	Lost          int // the kernel broke down
	Unclear       int // within the inexactness of the kernel's timers
	Unplayable    int // the player of recordings did not understand
	Different     int
	Unsteady      int // differed, and played again did not
	reduced       int
}

// progress is after how many scenarios a campaign says how far it is.
const progress = 100

// shrinkBudget is how many recordings reducing a finding may take.
const shrinkBudget = 250

// Run plays the campaign on kernels that boot returns, one after the other when
// one breaks down. Any number of goroutines may run it together.
func (c *Campaign) Run(boot func() (Kernel, func(), error)) error {
	k, end, err := boot()
	if err != nil {
		return err
	}
	defer func() { end() }()
	for {
		s, ok := c.take()
		if !ok {
			return nil
		}
		err := c.play(k, s)
		if err == nil {
			continue
		}
		c.say("%s: the kernel broke down: %v\n", s.Name(), err)
		end()
		if k, end, err = boot(); err != nil {
			end = func() {}
			return err
		}
	}
}

// take hands out the next scenario.
func (c *Campaign) take() (Scenario, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.next >= c.N*len(c.Areas) {
		return Scenario{}, false
	}
	area, seed := c.Areas[c.next%len(c.Areas)], c.Seed+uint64(c.next/len(c.Areas))
	c.next++
	if c.next%progress == 0 {
		fmt.Fprintf(c.Log, "-- %d scenarios begun\n", c.next)
	}
	s, err := Generate(area, seed)
	if err != nil {
		panic(err) // the areas were checked
	}
	return s, true
}

// count changes an area's tally.
func (c *Campaign) count(area string, change func(*Tally)) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.Tally == nil {
		c.Tally = map[string]*Tally{}
	}
	if c.Tally[area] == nil {
		c.Tally[area] = &Tally{}
	}
	change(c.Tally[area])
}

func (c *Campaign) say(format string, args ...any) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	fmt.Fprintf(c.Log, format, args...)
}

// play plays one scenario; an error is the kernel's end.
func (c *Campaign) play(k Kernel, s Scenario) error {
	trace, d, err := clearly(k, s)
	switch {
	case errors.Is(err, ErrRefused):
		c.count(s.Area, func(t *Tally) { t.Refused++ })
		c.say("%s: %v\n", s.Name(), err)
		return nil
	case errors.Is(err, ErrUnclear):
		c.count(s.Area, func(t *Tally) { t.Unclear++ })
		c.say("%s: unclear: %v\n", s.Name(), err)
		c.keep(Finding{Scenario: s, Trace: trace})
		return nil
	case err != nil && trace != "":
		c.count(s.Area, func(t *Tally) { t.Unplayable++ })
		c.say("%s: not understood: %v\n", s.Name(), err)
		return nil
	case err != nil:
		c.count(s.Area, func(t *Tally) { t.Lost++ })
		return err
	}
	c.count(s.Area, func(t *Tally) { t.Played++; t.Steps += len(s.Lines) })
	if d == nil {
		return nil
	}
	f := Finding{Scenario: s, Trace: trace, Difference: d}
	steady, err := recurs(k, f)
	if err != nil {
		c.count(s.Area, func(t *Tally) { t.Lost++ })
		return err
	}
	if !steady {
		c.count(s.Area, func(t *Tally) { t.Unsteady++ })
		c.say("%s: unsteady: it differed once, and not again:\n%s\n", s.Name(), Describe(d))
		c.keep(f)
		return nil
	}
	return c.found(k, f)
}

// clearly checks a scenario until something can be said about it, a few times:
// how late the kernel's timers are differs from one recording to the next.
func clearly(k Kernel, s Scenario) (trace string, d *oracle.Difference, err error) {
	const tries = 4
	for range tries {
		if trace, d, err = Check(k, s); !errors.Is(err, ErrUnclear) {
			break
		}
	}
	return trace, d, err
}

// recurs plays a finding's scenario twice again, and reports whether it still
// differs in the same way: a recording may have missed a frame.
func recurs(k Kernel, f Finding) (bool, error) {
	const again = 2
	for range again {
		_, d, err := clearly(k, f.Scenario)
		if d == nil || kind(d) != kind(f.Difference) {
			return false, ignoreRefusal(err)
		}
	}
	return true, nil
}

// found reports a difference, reduced if that is wanted of so many.
func (c *Campaign) found(k Kernel, f Finding) (err error) {
	reduce := false
	c.count(f.Scenario.Area, func(t *Tally) {
		t.Different++
		if reduce = t.reduced < c.Shrink; reduce {
			t.reduced++
		}
	})
	if reduce {
		f, err = Shrink(k, f, shrinkBudget)
	}
	c.say("%s\n", report(f))
	c.keep(f)
	return err
}

// keep writes a finding's recording, if that is wanted.
func (c *Campaign) keep(f Finding) {
	if c.Out == "" || f.Trace == "" {
		return
	}
	path := filepath.Join(c.Out, f.Scenario.Name()+".trace")
	if err := os.WriteFile(path, []byte(f.Trace), 0o644); err != nil {
		c.say("%v\n", err)
	}
}

func report(f Finding) string {
	head := fmt.Sprintf("== %s: %s", f.Scenario.Name(), kind(f.Difference))
	if f.Tried == 0 {
		return head
	}
	return fmt.Sprintf("%s (%d recordings)\n%s\n%s", head, f.Tried, Describe(f.Difference), tail(f.Scenario))
}

// tail is a scenario without the machine's set-up.
func tail(s Scenario) string {
	text := ""
	for _, line := range s.Lines {
		if !essential(line) {
			text += "    " + line + "\n"
		}
	}
	return text
}

// CheckTrace plays a kept recording through usvs.
func CheckTrace(path string) (*oracle.Difference, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return compareWithSlack(filepath.Base(path), string(data))
}
