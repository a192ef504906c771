package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"usvs/link/netlab"
)

// interrupted is the exit status after Ctrl-C, as shells have it.
const interrupted = 130

// Run shows the demo and returns its exit status. Everything happens in a
// process with namespaces of its own, which is this program called as
//
//	usvs demo inside    calling Inside
//	usvs demo serve     calling Serve
//
// The error says why there was no demo at all.
func Run(ctx context.Context, o Options) (int, error) {
	inner := &innerProcess{}
	defer inner.closeFiles()
	if err := inner.openFiles(o.Keep); err != nil {
		return 1, err
	}
	// The death signal comes when the starting thread ends: keep the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := inner.start(o); err != nil {
		return 1, fmt.Errorf("the kernel does not permit new namespaces: %w. %s", err, netlab.Advice)
	}
	return inner.wait(ctx, o.Keep)
}

// innerProcess is the process that plays, seen from outside.
type innerProcess struct {
	cmd      *exec.Cmd
	lifeline [2]*os.File // its standard input: breaks when we end
	status   [2]*os.File // it writes its exit status here
	lease    *os.File    // with --keep: the listener it answers Clean on
}

func (p *innerProcess) openFiles(keep bool) (err error) {
	for _, pipe := range []*[2]*os.File{&p.lifeline, &p.status} {
		if pipe[0], pipe[1], err = os.Pipe(); err != nil {
			return err
		}
	}
	if keep {
		p.lease, err = openLease()
	}
	return err
}

func (p *innerProcess) closeFiles() {
	for _, f := range []*os.File{p.lifeline[0], p.lifeline[1], p.status[0], p.status[1], p.lease} {
		if f != nil {
			f.Close()
		}
	}
}

// start starts the process. Root needs no user namespace, unless it is a root
// without CAP_SYS_ADMIN, as in a container.
func (p *innerProcess) start(o Options) error {
	if os.Geteuid() == 0 && p.startIn(o, false) == nil {
		return nil
	}
	return p.startIn(o, true)
}

func (p *innerProcess) startIn(o Options, user bool) error {
	p.cmd = netlab.Self("usvs", append([]string{"demo", "inside"}, o.flags()...)...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.lifeline[0], os.Stdout, os.Stderr
	p.cmd.ExtraFiles = []*os.File{p.status[1]}
	if p.lease != nil {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, p.lease)
	}
	p.cmd.SysProcAttr = netlab.Attributes(user)
	// A session of its own keeps the terminal's signals away: only Run answers Ctrl-C.
	p.cmd.SysProcAttr.Setsid = true
	if !o.Keep {
		p.cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	}
	return p.cmd.Start()
}

// wait waits for the end of the play. With --keep the process plays on.
func (p *innerProcess) wait(ctx context.Context, keep bool) (int, error) {
	p.status[1].Close() // so that the end of the process is the end of the file
	told := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(p.status[0])
		told <- string(text)
	}()
	var status int
	select {
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		fmt.Fprintln(os.Stderr, "\nusvs: interrupted; nothing of the demo is left")
		return interrupted, nil
	case text := <-told:
		_, err := fmt.Sscanf(text, "%d", &status)
		if err == nil && keep {
			return status, nil
		}
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && !exit.Exited() {
		return 1, fmt.Errorf("the demo was ended: %w", err)
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// leaseName is the socket of a user's kept demo: abstract, so that it is gone
// with the process.
func leaseName() *net.UnixAddr {
	return &net.UnixAddr{Name: fmt.Sprintf("@usvs-demo-%d", os.Geteuid()), Net: "unix"}
}

func openLease() (*os.File, error) {
	ln, err := net.ListenUnix("unix", leaseName())
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, errors.New("a demo is being kept already; end it with: usvs demo --clean")
	}
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	return ln.File()
}

// Clean ends the demo that an earlier Run kept.
func Clean() error {
	conn, err := net.DialUnix("unix", nil, leaseName())
	if err != nil {
		return errors.New("no demo is being kept")
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the kept demo does not answer; kill it")
	}
	return nil
}

// IsTerminal reports whether f is a terminal that shows colours.
func IsTerminal(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || strings.HasPrefix(os.Getenv("TERM"), "dumb") {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
