package seccomp

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Wait reaps the program and all that it left behind, until the last process
// is gone, and returns how the program itself ended.
func (g *Guest) Wait() syscall.WaitStatus {
	for g.reap() {
	}
	close(g.release)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status
}

// reap waits for one child and reports whether there may be more.
func (g *Guest) reap() bool {
	// First who it is, so that Signal never means a number that is free again.
	pid, errno := endedChild()
	switch errno {
	case 0:
	case unix.EINTR:
		return true
	default:
		return false // ECHILD: all descendants are gone, for orphans become our children
	}
	if g.Companion.is(pid) {
		status, _ := g.Companion.Ended() // reaps it
		g.complain("companion", "the director that --start started has ended (%s); its programs are asked to end, too", describe(status))
		g.Signal(syscall.SIGTERM) // so that keepalived gives back what another machine can serve
		return g.moreBut(pid)
	}
	g.mu.Lock()
	g.waitLocked(pid)
	g.mu.Unlock()
	return g.moreBut(pid)
}

// moreBut reports whether there may be wrapped processes, now that a child has
// been reaped.
func (g *Guest) moreBut(pid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.others, pid)
	return len(g.others) == 0 || len(g.childrenLocked()) > 0
}

// waitLocked reaps a child that has ended.
func (g *Guest) waitLocked(pid int) {
	var status syscall.WaitStatus
	_, err := syscall.Wait4(pid, &status, 0, nil)
	if err == nil && pid == g.pid {
		g.pid, g.status = 0, status
	}
}

// Signal passes a signal on to the program or, after its end, to those that it
// left behind and that have no other parent.
func (g *Guest) Signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pid != 0 {
		_ = syscall.Kill(g.pid, sig)
		return
	}
	for _, pid := range g.childrenLocked() {
		_ = syscall.Kill(pid, sig)
	}
}

// childrenLocked are the process's children that are wrapped.
func (g *Guest) childrenLocked() []int {
	return slices.DeleteFunc(children(), func(pid int) bool { return g.others[pid] })
}

// strangers are the children that the process has before it starts a program:
// the companion, and what a shell left that became this process by exec.
func strangers() map[int]bool {
	set := map[int]bool{}
	if !hasChildren() {
		return set
	}
	for _, pid := range children() {
		set[pid] = true
	}
	return set
}

// children are the process's children.
func children() (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if parentOf(text) == os.Getpid() {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// parentOf reads the parent out of /proc/PID/stat, where it follows the state,
// which follows a name that may contain anything.
func parentOf(stat []byte) int {
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 2 {
		return 0
	}
	pid, _ := strconv.Atoi(string(f[1]))
	return pid
}

// EndAs ends this process as another one ended: with its exit status, or by the
// same signal, but without a core dump of our own.
func EndAs(status syscall.WaitStatus) {
	if !status.Signaled() {
		os.Exit(status.ExitStatus())
	}
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	defaultAction(status.Signal())
	// To this thread, for which the call does not return before it is delivered.
	runtime.LockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), status.Signal())
	// Only reached as PID 1, which the kernel protects.
	os.Exit(128 + int(status.Signal()))
}

// describe says how a process ended.
func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return s.Signal().String()
	}
	return fmt.Sprintf("exit status %d", s.ExitStatus())
}

func (ns *namespace) name() string { return fmt.Sprintf("net:[%d]", ns.id.ino) }
