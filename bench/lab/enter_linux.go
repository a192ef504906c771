package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"usvs/bench"
	"usvs/host"
	"usvs/link/netlab"
)

// endGrace is how long the process inside may take to hand over what it
// measured when it is interrupted.
const endGrace = 5 * time.Second

// order is what the process inside is told to measure.
type order struct {
	Rounds        int
	Only          string
	Quick, Full   bool
	Binary, Rival string
}

// answer is what it says when it has.
type answer struct {
	Figures []bench.Figure
	Error   string
	Skipped bool // the error wraps bench.ErrSkip
	Pin     *pin // it is not the answer yet: do this, and say when it is done
}

// pin asks for a kernel thread to be kept on a core. The process inside does not
// see it, not even its number.
type pin struct {
	Thread string
	Core   int
}

// pinned is the reply.
type pinned struct{ Error string }

// Enter runs a suite in a process that has namespaces of its own: this program,
// called with args, which then calls Inside. When either process ends, however
// it does, all that the suite made is gone.
func Enter(ctx context.Context, o *bench.Options, args ...string) ([]bench.Figure, error) {
	// The death signal comes when the starting thread ends: keep the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stdin, told, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer told.Close()
	defer stdin.Close()
	heard, stdout, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer heard.Close()
	cmd, err := startInside(stdin, stdout, o.Progress, args)
	stdout.Close()
	if err != nil {
		return nil, bench.Skip("the kernel does not permit new namespaces: %v. %s", err, netlab.Advice)
	}
	defer context.AfterFunc(ctx, func() { end(cmd.Process) })()
	a, heardErr := converse(json.NewEncoder(told), json.NewDecoder(heard), orderOf(o))
	waitErr := cmd.Wait()
	switch {
	case heardErr != nil:
		return nil, fmt.Errorf("the process in the namespaces ended without an answer: %w", errors.Join(waitErr, heardErr))
	case a.Skipped:
		return a.Figures, bench.Skip("%s", a.Error)
	case a.Error != "":
		return a.Figures, errors.New(a.Error)
	}
	return a.Figures, nil
}

// converse gives the order and serves the process inside until it answers.
func converse(tell *json.Encoder, hear *json.Decoder, w order) (a answer, err error) {
	if err := tell.Encode(w); err != nil {
		return a, err
	}
	for {
		a = answer{}
		if err := hear.Decode(&a); err != nil || a.Pin == nil {
			return a, err
		}
		var p pinned
		if err := a.Pin.do(); err != nil {
			p.Error = err.Error()
		}
		if err := tell.Encode(p); err != nil {
			return a, err
		}
	}
}

// do pins a thread that receives for a network device, and no other.
func (p *pin) do() error { return host.PlaceReceiver(p.Thread, []int{p.Core}) }

func orderOf(o *bench.Options) order {
	w := order{Rounds: o.Rounds, Quick: o.Quick, Full: o.Full, Binary: o.Binary, Rival: o.Rival}
	if o.Only != nil {
		w.Only = o.Only.String()
	}
	return w
}

// startInside starts the process. Root needs no user namespace, unless it is a
// root without CAP_SYS_ADMIN, as in a container.
func startInside(stdin, stdout *os.File, stderr io.Writer, args []string) (cmd *exec.Cmd, err error) {
	for _, user := range []bool{false, true} {
		if !user && os.Geteuid() != 0 {
			continue
		}
		cmd = netlab.Self("usvs", args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
		cmd.SysProcAttr = netlab.Attributes(user)
		cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
		cmd.SysProcAttr.Setsid = true // the terminal's signals are for the process outside
		if err = cmd.Start(); err == nil {
			return cmd, nil
		}
	}
	return nil, err
}

// end asks a process to end, and makes it if it does not.
func end(p *os.Process) {
	_ = p.Signal(syscall.SIGTERM)
	time.AfterFunc(endGrace, func() { _ = p.Kill() })
}

// Inside runs a suite as the process that Enter started.
func Inside(ctx context.Context, run bench.Suite, in io.Reader, out, progress io.Writer) error {
	if os.Getpid() != 1 {
		return errors.New("this is for usvs bench to call")
	}
	netlab.Isolate()
	var w order
	hear, tell := json.NewDecoder(in), json.NewEncoder(out)
	if err := hear.Decode(&w); err != nil {
		return err
	}
	o := &bench.Options{Rounds: w.Rounds, Quick: w.Quick, Full: w.Full, Binary: w.Binary, Rival: w.Rival, Progress: progress}
	o.Pin = func(thread string, core int) error { return askToPin(tell, hear, pin{thread, core}) }
	if w.Only != "" {
		var err error
		if o.Only, err = regexp.Compile(w.Only); err != nil {
			return err
		}
	}
	var a answer
	figures, err := run(ctx, o)
	if a.Figures = figures; err != nil {
		a.Error, a.Skipped = err.Error(), errors.Is(err, bench.ErrSkip)
	}
	return tell.Encode(a)
}

// askToPin has the process outside do it.
func askToPin(tell *json.Encoder, hear *json.Decoder, p pin) error {
	if err := tell.Encode(answer{Pin: &p}); err != nil {
		return err
	}
	var reply pinned
	if err := hear.Decode(&reply); err != nil {
		return err
	}
	if reply.Error != "" {
		return errors.New(reply.Error)
	}
	return nil
}
