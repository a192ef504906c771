package netlab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long a process may take to end when asked to.
const stopGrace = 2 * time.Second

// Self is a command that runs this program. It is started from its own image,
// so that it does not matter if its file is gone, as after `go run`. A control
// socket named in the environment is not for it.
func Self(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = name
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "USVS_") })
	return cmd
}

// Process is a program that runs in a namespace.
type Process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{}
	err  error // valid once done is closed
}

// Start starts a command in the namespace. What it writes is kept, unless the
// command says where to.
func (ns *Namespace) Start(cmd *exec.Cmd) (p *Process, err error) {
	err = ns.Do(func() error {
		p, err = Start(cmd)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("on %s: %w", ns.name, err)
	}
	return p, nil
}

// Start is Namespace.Start where the calling thread is.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.out
	}
	cmd.WaitDelay = stopGrace
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Args[0], err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how it ended, once Done is closed.
func (p *Process) Err() error { return p.err }

// PID is its number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what it has written so far.
func (p *Process) Output() string { return p.out.String() }

// WaitFor waits until what the process has written is good; an error, which
// calls it what, if the process ends before or the time is over.
func (p *Process) WaitFor(what string, patience time.Duration, good func(output string) bool) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		text, changed := p.out.look()
		if good(text) {
			return nil
		}
		select {
		case <-changed:
		case <-p.done:
			if text := p.Output(); !good(text) {
				return fmt.Errorf("%s: the process ended (%v):\n%s", what, p.err, text)
			}
			return nil
		case <-timeout.C:
			return fmt.Errorf("%s: not there after %v; the process wrote:\n%s", what, patience, text)
		}
	}
}

// Stop ends the process: it is asked to, and made to if it does not.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// output collects what a process writes.
type output struct {
	mu      sync.Mutex
	buf     bytes.Buffer  // guarded by mu
	changed chan struct{} // guarded by mu; closed by the next Write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return o.buf.Write(b)
}

// look returns what was written so far, and a channel that closes with the next.
func (o *output) look() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.buf.String(), o.changed
}

func (o *output) String() string {
	text, _ := o.look()
	return text
}
