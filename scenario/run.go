package scenario

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Options are how Run plays a scenario.
type Options struct {
	World string // the World's name, one of Worlds
	// Progress, if not nil, hears of each step before it is done.
	Progress func(s *Step, at time.Duration)
	// Seen, if not nil, hears what each request became.
	Seen func(s *Step, replies []Reply)
}

// For reports whether the whole scenario is for a world; if not, why.
func (f *File) For(world string) (reason string, ok bool) {
	if len(f.Only) == 0 || slices.Contains(f.Only, world) {
		return "", true
	}
	return f.Reason, false
}

// Run plays a scenario in a World and returns the first thing that is not as
// the file wants it: an *Error that wraps nothing, or what the World failed at.
// The World is not closed.
func Run(f *File, w World, o Options) error {
	r := &run{file: f, world: w, traffic: map[string]result{}, moments: map[string]time.Duration{}}
	if err := w.Build(&f.Topology); err != nil {
		return fmt.Errorf("%s: the network: %w", f.Name, err)
	}
	for i := range f.Steps {
		s := &f.Steps[i]
		if len(s.Worlds) > 0 && !slices.Contains(s.Worlds, o.World) {
			continue
		}
		if o.Progress != nil {
			o.Progress(s, w.Now())
		}
		r.step = s
		if err := r.do(s.Do, &o); err != nil {
			return r.failed(s, err)
		}
	}
	return nil
}

// run is a scenario under way.
type run struct {
	file    *File
	world   World
	step    *Step
	traffic map[string]result // by name; "" is the last
	moments map[string]time.Duration
}

// result is what a line of traffic gave.
type result struct {
	step    *Step
	replies []Reply
}

// unmet is an expectation that failed: what was found.
type unmet struct {
	line int // 0: that of the step
	msg  string
}

func (u *unmet) Error() string { return u.msg }

func unmetf(format string, args ...any) error { return &unmet{msg: fmt.Sprintf(format, args...)} }

// failed makes an error say where in the file it happened.
func (r *run) failed(s *Step, err error) error {
	e := &Error{File: r.file.Name, Line: s.Line, Text: s.Text}
	var u *unmet
	if !errors.As(err, &u) {
		return fmt.Errorf("%s:%d: %w\n\t%s", e.File, e.Line, err, shown(e.Text))
	}
	e.Msg = u.msg
	if u.line != 0 {
		e.Line = u.line
	}
	return e
}

// do does one thing.
func (r *run) do(a Action, o *Options) error {
	switch a := a.(type) {
	case *Exec:
		return r.exec(a, o)
	case *Traffic:
		return r.send(a, o)
	case *Again:
		return r.again(a, o)
	case *Hangup:
		return r.world.Hangup(a.Name)
	case *Inject:
		return r.world.Inject(a.From, a.Frame)
	case *Fault:
		return r.world.Fault(a)
	case *Disturbance:
		return r.world.Disturb(a)
	case *Multicast:
		return r.world.Multicast(a)
	case *Wait:
		return r.world.Wait(a.For)
	case *Moment:
		r.moments[a.Name] = r.world.Now()
		return nil
	}
	return r.judge(a)
}

func (r *run) send(t *Traffic, o *Options) error {
	replies, err := r.world.Traffic(t)
	if err != nil {
		return err
	}
	if len(replies) != t.Count {
		return fmt.Errorf("%d requests were to be made, %d were", t.Count, len(replies))
	}
	r.keep(t.As, replies, o)
	return nil
}

func (r *run) again(a *Again, o *Options) error {
	replies, err := r.world.Again(a)
	if err != nil {
		return err
	}
	r.keep("", replies, o)
	return nil
}

func (r *run) keep(name string, replies []Reply, o *Options) {
	res := result{r.step, replies}
	r.traffic[""] = res
	if name != "" {
		r.traffic[name] = res
	}
	if o.Seen != nil {
		o.Seen(r.step, replies)
	}
}

// exec runs a command and compares what it wrote.
func (r *run) exec(x *Exec, o *Options) error {
	out, err := r.world.Exec(x.Node, x.Command, r.file.Data[x.Stdin])
	if err != nil {
		return err
	}
	text := out.Stdout + out.Stderr
	switch {
	case x.Fails && out.Exit == 0:
		return unmetf("the command should fail, but it did not%s", wrote(text))
	case !x.Fails && out.Exit != 0:
		return unmetf("the command failed with exit status %d%s", out.Exit, wrote(text))
	}
	return x.compare(text, o.World)
}
