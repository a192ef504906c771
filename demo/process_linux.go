package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the demo waits for a process to do its part. It is a
// bound for what should never happen: everything is waited for by its effect.
const patience = 20 * time.Second

// stopGrace is how long a process may take to end when asked to.
const stopGrace = 2 * time.Second

// process is this program at work in a namespace.
type process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{}
	err  error // valid once done is closed
}

// command is this program with arguments. It is started from its own image, so
// that it does not matter if its file is gone, as after `go run`. A control
// socket named in the environment is not the demo's.
func command(args []string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "usvs"
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "USVS_") })
	return cmd
}

// start starts the program in the namespace.
func (ns *namespace) start(args ...string) (*process, error) {
	p := &process{cmd: command(args), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.WaitDelay = stopGrace
	if err := ns.do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start usvs %s on %s: %w", args[0], ns.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// run runs the program in the namespace to its end and returns what it printed.
func (ns *namespace) run(args ...string) (string, error) {
	p, err := ns.start(args...)
	if err != nil {
		return "", err
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.stop()
		p.err = fmt.Errorf("not done after %v", patience)
	}
	if p.err != nil && !errors.Is(p.err, exec.ErrWaitDelay) {
		return p.out.String(), fmt.Errorf("%s# usvs %s: %w\n%s", ns.name, strings.Join(args, " "), p.err, tail(p.out.String()))
	}
	return p.out.String(), nil
}

// waitFor waits until what the process has printed satisfies good.
func (p *process) waitFor(what string, good func(out string) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		text, changed := p.out.look()
		if good(text) {
			return nil
		}
		select {
		case <-changed:
		case <-p.done:
			if text := p.out.String(); !good(text) {
				return fmt.Errorf("%s: the process ended (%v):\n%s", what, p.err, tail(text))
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%s: not there after %v; the process printed:\n%s", what, patience, tail(text))
		}
	}
}

// stop ends the process.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// output collects what a process prints.
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

// look returns what was printed so far, and a channel that closes with the next.
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
