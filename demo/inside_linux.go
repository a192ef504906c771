package demo

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"usvs/link/netlab"
)

// Files that Run gives to the process inside, after the standard ones.
const (
	statusFD = 3 // where the exit status is to be written
	leaseFD  = 4 // with --keep: the listener on which Clean knocks
)

// inside is the process that is the first of its own namespaces. When it ends,
// the kernel ends everything it started.
type inside struct {
	opts    Options
	page    *page
	hostPID string // its number outside
	kept    atomic.Bool
	stages  []*stage
	visitor net.Conn // of Clean; its end tells that this process has ended
}

// Inside plays the scenes. It is called in the process that Run started, and
// returns its exit status, with --keep only when it is told to end.
func Inside(o Options) int {
	if os.Getpid() != 1 { // isolate would change what others see
		fmt.Fprintln(os.Stderr, "usvs: demo inside is for usvs demo to call")
		return 1
	}
	in := &inside{opts: o, page: &page{w: os.Stdout, color: o.Color}}
	unix.CloseOnExec(statusFD) // what we start must not hold them
	unix.CloseOnExec(leaseFD)
	in.hostPID, _ = os.Readlink("/proc/self") // before /proc is our own
	go in.dieWithParent(os.Stdin)
	netlab.Isolate()
	status := in.playAll()
	if !o.Keep {
		return status
	}
	in.printKept()
	end := in.untilToldToEnd()
	if err := in.detach(status); err != nil {
		fmt.Fprintln(os.Stderr, "usvs: keep the demo:", err)
		return 1
	}
	<-end
	runtime.KeepAlive(in.visitor)
	return status
}

// dieWithParent ends the process when the lifeline breaks: Run holds its other
// end, and however Run ends, the kernel closes it.
func (in *inside) dieWithParent(lifeline io.Reader) {
	_, _ = io.Copy(io.Discard, lifeline)
	if !in.kept.Load() {
		os.Exit(1)
	}
}

// playAll plays the scenes one after the other and returns the exit status.
func (in *inside) playAll() int {
	begin := time.Now()
	n := roundUp(in.opts.Requests)
	in.page.line("%s", in.page.paint(bold, "usvs demo: the Linux Virtual Server in user space"))
	in.page.line("Every machine below is a network namespace of this demo's own; your network is not touched.")
	var failed []string
	for _, mode := range in.opts.Modes {
		in.page.line("")
		st := &stage{scene: scenes[mode](), page: in.page, requests: n}
		if err := st.play(); err != nil {
			failed = append(failed, st.title)
			in.page.line("   %s %s", in.page.paint(red, "FAILED:"), strings.ReplaceAll(err.Error(), "\n", "\n   "))
		}
		if in.opts.Keep {
			in.stages = append(in.stages, st)
			continue
		}
		st.end()
	}
	in.page.line("")
	if len(failed) > 0 {
		in.page.line("%s", in.page.paint(red, "Did not work: "+strings.Join(failed, ", ")+"."))
		return 1
	}
	in.page.line("%s %d requests through the director, and every real server got exactly its share (%.1f s).",
		in.page.paint(green, "All well:"), n*len(in.opts.Modes), time.Since(begin).Seconds())
	return 0
}

// printKept says how to enter the machines, and how to end them.
func (in *inside) printKept() {
	enter := "nsenter"
	if inUserNamespace() {
		enter += " -t " + in.hostPID + " -U --preserve-credentials"
	}
	in.page.line("")
	in.page.line("The machines stay. To run a command on one, put it behind:")
	for _, st := range in.stages {
		if st.lab == nil {
			continue
		}
		for _, m := range st.all() {
			in.page.line("  %-14s %s --net=/proc/%s/fd/%d", st.mode+" "+m.name, enter, in.hostPID, st.lab.machines[m.name].FD())
		}
	}
	in.page.line("On a director try:  /proc/%s/exe ipvsadm -Ln --stats", in.hostPID)
	in.page.line("End them all:       usvs demo --clean   (or: kill %s)", in.hostPID)
}

// inUserNamespace reports whether users here are not those of the machine.
func inUserNamespace() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295"
}

// detach lets go of everything that ties the process to the one that started
// it: the outputs, which a pipe's reader waits for, and the lifeline. Then it
// tells the status.
func (in *inside) detach(status int) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for _, fd := range []int{syscall.Stdout, syscall.Stderr} {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	in.kept.Store(true)
	return reportStatus(status)
}

// reportStatus tells Run the exit status.
func reportStatus(status int) error {
	pipe := os.NewFile(statusFD, "status")
	defer pipe.Close()
	_, err := pipe.WriteString(strconv.Itoa(status) + "\n")
	return err
}

// untilToldToEnd is closed when a signal says so, or Clean knocks.
func (in *inside) untilToldToEnd() <-chan struct{} {
	end := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	knocks := make(chan net.Conn, 1)
	go awaitKnock(knocks)
	go func() {
		select {
		case <-signals:
		case in.visitor = <-knocks:
		}
		close(end)
	}()
	return end
}

// awaitKnock sends a connection of our own user, when the name is free again.
func awaitKnock(knocks chan<- net.Conn) {
	lease := os.NewFile(leaseFD, "lease")
	ln, err := net.FileListener(lease)
	lease.Close()
	if err != nil {
		return
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		if uid, err := peerUID(conn.(*net.UnixConn)); err == nil && uid == os.Getuid() {
			ln.Close()
			knocks <- conn
			return
		}
		conn.Close()
	}
}

// peerUID is the user on the other side, as seen in our user namespace.
func peerUID(conn *net.UnixConn) (uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Uid), nil
}
