package netnstest

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long a process may take to end when asked to. It is a bound
// for those that hang: on a busy machine everything takes its time.
const stopGrace = 20 * time.Second

// Run runs a program in the namespace and returns what it printed. The test
// ends if the program fails.
func (n *Namespace) Run(name string, args ...string) string {
	n.tb.Helper()
	out, err := n.Try(name, args...)
	if err != nil {
		n.tb.Fatalf("%s: %s %s: %v\n%s", n.name, name, strings.Join(args, " "), err, out)
	}
	return out
}

// Try runs a program in the namespace and returns what it printed on both of
// its outputs.
func (n *Namespace) Try(name string, args ...string) (string, error) {
	var out []byte
	var err error
	n.Do(func() { out, err = exec.Command(name, args...).CombinedOutput() })
	return string(out), err
}

// Process is a program that runs beside the test.
type Process struct {
	cmd  *exec.Cmd
	out  lockedBuffer
	done chan struct{}
	err  error // valid once done is closed
}

// Start starts a program in the namespace. It is stopped when the test ends.
func (n *Namespace) Start(name string, args ...string) *Process {
	n.tb.Helper()
	return n.StartCmd(exec.Command(name, args...))
}

// StartCmd starts a command in the namespace, for those who want to set more
// than its arguments. Its outputs go to Process.Output unless set.
func (n *Namespace) StartCmd(cmd *exec.Cmd) *Process {
	n.tb.Helper()
	p := &Process{cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.out
	}
	n.Do(func() { n.must("start "+cmd.Path, cmd.Start()) })
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	n.tb.Cleanup(func() { _ = p.Stop() })
	return p
}

// Pid is the process's number, as the lab's process sees it.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output is what the process has printed so far.
func (p *Process) Output() string { return p.out.String() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and returns how it ended.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Stop asks the process to end, makes it end if it does not, and returns how
// it ended.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.cmd.Process.Kill()
	}
	return p.Wait()
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
