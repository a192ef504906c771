package stage

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Sleeper lets time pass.
type Sleeper interface {
	Sleep(time.Duration) error
}

// A busy kernel puts frames off until somebody sleeps: silence is listened to
// several times before it counts as an answer.
const (
	patience = 20 * time.Millisecond
	listens  = 3
)

// player plays one job. Its methods run on a thread in the director's namespace.
type player struct {
	set     *set
	time    Sleeper
	started time.Time
	lapses  lapses
}

// Play plays a job in fresh namespaces.
func Play(job Job, clock Sleeper) Answer {
	a := play(job, clock)
	if asksForModules(job) {
		if err := unload(clock); err != nil {
			a.Failure = err.Error()
		}
	}
	return a
}

func play(job Job, clock Sleeper) Answer {
	s, err := newSet(job.MTU)
	if err != nil {
		return Answer{Failure: err.Error()}
	}
	defer s.close()
	var a Answer
	err = s.director.Do(func() error {
		p := player{set: s, time: clock}
		if err := p.stir(); err != nil {
			return err
		}
		s.receive(nil)
		p.started = time.Now()
		begun := false
		for i, step := range merge(job.Steps) {
			if step.Kind != Setup && !begun {
				begun = true
				if err := p.stir(); err != nil {
					return err
				}
			}
			r, err := p.step(step)
			if err != nil {
				return fmt.Errorf("step %d, %s %s: %w", i+1, step.Kind, step.Text, err)
			}
			r.End = time.Since(p.started)
			a.Results = append(a.Results, r)
		}
		return nil
	})
	if err != nil {
		a.Failure = err.Error()
	}
	return a
}

// stir waits until new links have said what new links say, and until new
// addresses work: those of IPv6 do a little later.
func (p *player) stir() error { return p.time.Sleep(Settling) }

func (p *player) step(s Step) (Result, error) {
	switch s.Kind {
	case Setup:
		if s.Text == "" {
			return Result{}, nil
		}
		return Result{}, p.setup(s.Text)
	case Command:
		return p.undisturbed(func() (Result, error) { return p.command(s.Text) })
	case Frame:
		return p.undisturbed(func() (Result, error) { return p.frame(s) })
	case Wait:
		return p.wait(s.For)
	}
	return Result{}, fmt.Errorf("unknown kind %q", s.Kind)
}

// undisturbed does something when no connection is about to go: time passes
// between steps, too.
func (p *player) undisturbed(do func() (Result, error)) (Result, error) {
	began := time.Now()
	if err := p.outlast(lingers); err != nil {
		return Result{}, err
	}
	waited := time.Since(began)
	r, err := do()
	r.Waited = waited
	return r, err
}

// setup carries out commands that must succeed.
func (p *player) setup(text string) error {
	var cmd *exec.Cmd
	if program, lines, ok := batch(text); ok {
		cmd = exec.Command(program, batchOption[program]...)
		cmd.Stdin = strings.NewReader(lines)
	} else {
		cmd = exec.Command("sh", "-c", text)
	}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("\n")) && cmd.Stdin != nil {
		return fmt.Errorf("%v: %s", err, out)
	}
	return nil
}

// batchOption makes these programs read commands from their standard input:
// every process costs time in here. Both say something only if they fail.
var batchOption = map[string][]string{"ip": {"-batch", "-"}, "ipvsadm": {"-R"}}

// batch makes a batch of commands, separated by semicolons, that are all of one
// program that takes batches. The family of ip(8)'s shows in the addresses.
func batch(text string) (program, lines string, ok bool) {
	var b strings.Builder
	for part := range strings.SplitSeq(text, ";") {
		name, rest, _ := strings.Cut(strings.TrimSpace(part), " ")
		familyShows := !strings.HasPrefix(rest, "-6 ") || strings.Contains(rest, ":")
		if batchOption[name] == nil || program != "" && name != program || !familyShows {
			return "", "", false
		}
		program = name
		b.WriteString(strings.TrimPrefix(rest, "-6 ") + "\n")
	}
	return program, b.String(), program != ""
}

// merge makes one set-up of those that follow each other and fit in one batch:
// the step at i becomes all of them, the others empty.
func merge(steps []Step) []Step {
	merged := append([]Step(nil), steps...)
	for i := 0; i < len(merged); i++ {
		for j := i + 1; j < len(merged) && merged[i].Kind == Setup && merged[j].Kind == Setup; j++ {
			both := merged[i].Text + "; " + merged[j].Text
			if _, _, ok := batch(both); !ok {
				break
			}
			merged[i].Text, merged[j].Text = both, ""
		}
	}
	return merged
}

// What a line must not have to be run without a shell; brackets mean nothing to
// one either if no file has such a name, as none has an IPv6 address's.
const special, brackets = "'\"\\|;&<>$()*?{}~#`", "[]="

// command runs a command and keeps what it prints.
func (p *player) command(text string) (Result, error) {
	words := strings.Fields(text)
	if !plain(text) || len(words) == 0 {
		words = []string{"sh", "-c", text}
	}
	cmd := exec.Command(words[0], words[1:]...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return Result{}, err
	}
	return Result{Out: out.String(), Err: errOut.String(), Exit: cmd.ProcessState.ExitCode()}, nil
}

// plain reports whether a line needs no shell.
func plain(text string) bool {
	return !strings.ContainsAny(text, special) && (strings.HasPrefix(text, "ipvsadm ") || !strings.ContainsAny(text, brackets))
}

func (p *player) frame(s Step) (Result, error) {
	var r Result
	for range max(s.Count, 1) {
		sent, err := p.set.send(s.Link, s.Data)
		if err != nil {
			return r, err
		}
		r.Refused = !sent
		p.lapses.sent(s.Data, time.Since(p.started))
		r.Frames = p.set.receive(r.Frames)
	}
	for range listens {
		if len(r.Frames) > 0 {
			break
		}
		if err := p.time.Sleep(patience); err != nil {
			return r, err
		}
		r.Frames = p.set.receive(r.Frames)
	}
	return r, nil
}

// overdue bounds the wait for connections that are about to go.
const overdue = 60 * time.Second

// wait lets time pass. The kernel's timers for long times are late by up to an
// eighth, so what is to be gone may linger: time passes until all that has less
// than a second left is gone, and the step has lasted that much longer. The same
// goes for fragments.
func (p *player) wait(d time.Duration) (Result, error) {
	if err := p.time.Sleep(d); err != nil {
		return Result{}, err
	}
	err := p.outlast(func() bool { return lingers() || p.lapses.near(time.Since(p.started)) })
	return Result{Frames: p.set.receive(nil)}, err
}

// outlast waits while something is about to go, within limits.
func (p *player) outlast(about func() bool) error {
	for more := time.Duration(0); more < overdue && about(); more += time.Second {
		if err := p.time.Sleep(time.Second); err != nil {
			return err
		}
	}
	return nil
}

// lingers reports whether a connection has less than a second left.
func lingers() bool {
	table, err := os.ReadFile("/proc/thread-self/net/ip_vs_conn")
	if err != nil {
		return false
	}
	const expires = 8 // column
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > expires && f[expires] == "0" {
			return true
		}
	}
	return false
}
