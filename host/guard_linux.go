package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// GuardCommand is the name of the command that has to call RunGuard.
const GuardCommand = "guard"

// guardPatience is how long a guard may take to hear of an address.
const guardPatience = 50 * time.Millisecond

// guardLine tells the guard of an address: it is ours from now on, or no longer.
type guardLine struct {
	Ours    bool
	Address Address
}

// guard is a process that takes addresses off the interfaces when this process
// dies without having done so: killed, or out of memory. Otherwise the host would
// go on answering for them, beside the director that takes over.
type guard struct {
	pipe *os.File
	done chan struct{}
	lost bool // it cannot be told any more
}

// startGuard starts a process of this program in the network namespace.
func startGuard() (*guard, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("guard of addresses: %w", err)
	}
	defer in.Close()
	cmd := exec.Command("/proc/self/exe", GuardCommand)
	cmd.Stdin, cmd.Stderr = in, os.Stderr
	// Signals of a terminal are not for it: it is to outlive this process.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		out.Close()
		return nil, fmt.Errorf("guard of addresses: %w", err)
	}
	g := &guard{pipe: out, done: make(chan struct{})}
	go func() {
		defer close(g.done)
		_ = cmd.Wait()
	}()
	return g, nil
}

// tell tells the guard of an address. It does not wait for a guard that hangs.
func (g *guard) tell(ours bool, a Address) {
	if g == nil || g.lost {
		return
	}
	line, err := json.Marshal(guardLine{ours, a})
	if err == nil {
		_ = g.pipe.SetWriteDeadline(time.Now().Add(guardPatience))
		_, err = g.pipe.Write(append(line, '\n'))
	}
	if err != nil {
		g.lost = true
		slog.Warn("host: virtual addresses stay on the interfaces if usvs is killed", "err", err)
	}
}

// close lets the guard do its last duty, and waits for that.
func (g *guard) close() {
	if g == nil {
		return
	}
	g.pipe.Close()
	<-g.done
}

// RunGuard is the guard's life: it follows what in says, and when that ends
// takes off what is still there. Nothing but that, or SIGKILL, ends it.
func RunGuard(in io.Reader) error {
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	ours := map[Address]bool{}
	for d := json.NewDecoder(in); ; {
		var line guardLine
		if err := d.Decode(&line); err != nil {
			break
		}
		if line.Ours {
			ours[line.Address] = true
		} else {
			delete(ours, line.Address)
		}
	}
	if len(ours) == 0 {
		return nil
	}
	addresses, err := NewAddresses(func(Address) {})
	if err != nil {
		return err
	}
	defer addresses.Close()
	var errs []error
	for a := range ours {
		_, err := addresses.Remove(a)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
