package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Grace is how long a program has between SIGTERM and SIGKILL.
const Grace = 2 * time.Second

// Options of one run.
type Options struct {
	// Limit is how long the program may take; 0 is for ever.
	Limit time.Duration
	// Grace is how long it has after SIGTERM before it is killed; 0 stands
	// for the constant.
	Grace time.Duration
	// Args come after the configured arguments.
	Args []string
	// Output keeps the beginning of what the program writes; otherwise it
	// goes to /dev/null.
	Output bool
	// Bound programs die with us, whatever becomes of us.
	Bound bool
}

// Exit is how a run ended.
type Exit struct {
	// Err is why the program did not start. The rest is not set then.
	Err error
	// Status is the exit status, -1 if a signal ended the program.
	Status int
	// Signal is the signal that did.
	Signal syscall.Signal
	// TimedOut is whether Options.Limit passed.
	TimedOut bool
	// Cancelled is whether the context ended the run.
	Cancelled bool
	// Took is how long the run took.
	Took time.Duration
	// Output is the beginning of what the program wrote.
	Output string
}

// OK reports whether the program ran and exited with status 0.
func (e Exit) OK() bool {
	return e.Err == nil && e.Status == 0 && e.Signal == 0 && !e.TimedOut && !e.Cancelled
}

// String is the outcome in words, as keepalived's log has it.
func (e Exit) String() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.TimedOut:
		return "timed out"
	case e.Cancelled:
		return "cancelled"
	case e.Signal != 0:
		return fmt.Sprintf("exited due to signal %d", int(e.Signal))
	case e.Status != 0:
		return fmt.Sprintf("exited with status %d", e.Status)
	}
	return "success"
}

// Run runs the program to its end, which is at the latest when the limit has
// passed or the context is done, and the grace after it.
func (prog *Program) Run(ctx context.Context, o Options) Exit {
	if prog.readable {
		return prog.canRead()
	}
	exit := prog.execute(ctx, o, prog.path, prog.args[0])
	if errors.Is(exit.Err, syscall.ENOEXEC) {
		// execve(2) knows programs and #!; system(3) would let the shell
		// read anything else, and so does keepalived.
		return prog.execute(ctx, o, "/bin/sh", "sh", prog.path)
	}
	return exit
}

// canRead answers for a "program" that asks whether a file can be opened. It
// waits for nobody who would write to a FIFO.
func (prog *Program) canRead() Exit {
	f, err := os.OpenFile(prog.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Exit{Status: 1}
	}
	f.Close()
	return Exit{}
}

// execute runs a file whose argument vector starts with argv.
func (prog *Program) execute(ctx context.Context, o Options, file string, argv ...string) Exit {
	if o.Bound {
		// The signal comes when the thread that started the program ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	cmd := &exec.Cmd{Path: file, Dir: "/", Args: slices.Concat(argv, prog.args[1:], o.Args)}
	cmd.Env = environment(cmd.Environ())
	cmd.SysProcAttr = prog.attributes(o.Bound)
	var out *output // nil: nobody wants it
	var err error
	if o.Output {
		if out, err = capture(cmd); err != nil {
			return Exit{Err: fmt.Errorf("script %s: %w", prog, err)}
		}
	}
	began := time.Now()
	err = cmd.Start()
	out.begin()
	if err != nil {
		out.end()
		return Exit{Err: fmt.Errorf("script %s: %w", prog, err)}
	}
	exit := attend(ctx, cmd, o)
	exit.Took, exit.Output = time.Since(began), out.end()
	return exit
}

// service are the variables by which systemd and a service talk (sd_notify(3),
// sd_listen_fds(3)). They are not the scripts': a script that says READY=1 or
// STOPPING=1 would speak for us.
var service = []string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}

// environment is what a program gets of ours: all but those.
func environment(ours []string) []string {
	return slices.DeleteFunc(ours, func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(service, name)
	})
}

func (o Options) grace() time.Duration {
	if o.Grace > 0 {
		return o.Grace
	}
	return Grace
}

// attend waits for a process, and ends its group when it must end.
func attend(ctx context.Context, cmd *exec.Cmd, o Options) (exit Exit) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // the state says all
	}()
	var late <-chan time.Time
	if o.Limit > 0 {
		timer := time.NewTimer(o.Limit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-done:
	case <-late:
		exit.TimedOut = true
		end(cmd.Process.Pid, done, o.grace())
	case <-ctx.Done():
		exit.Cancelled = true
		end(cmd.Process.Pid, done, o.grace())
	}
	exit.read(cmd.ProcessState)
	return exit
}

// end ends a process group: SIGTERM, and SIGKILL when the grace is over or the
// group's leader has gone, whichever is first.
func end(group int, done <-chan struct{}, grace time.Duration) {
	_ = syscall.Kill(-group, syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
	<-done
}

// read takes over how a process ended.
func (e *Exit) read(state *os.ProcessState) {
	e.Status = state.ExitCode()
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		e.Signal = w.Signal()
	}
}
