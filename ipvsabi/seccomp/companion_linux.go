package seccomp

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Companion is a child process beside the wrapped program: a director of its own.
type Companion struct {
	release chan struct{} // closed when its thread may end

	mu     sync.Mutex
	pid    int                // 0 when it was waited for; guarded by mu
	status syscall.WaitStatus // then; guarded by mu
}

// StartCompanion starts a program in a process group of its own, so that the
// terminal's ^C does not reach it. It prints to standard error, and gets SIGTERM
// when this process dies.
func StartCompanion(path string, argv, env []string) (*Companion, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	c := &Companion{release: make(chan struct{})}
	attr := &syscall.ProcAttr{
		Env: env, Files: []uintptr{null.Fd(), 2, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM},
	}
	started := make(chan error)
	onThread(func() {
		pid, err := syscall.ForkExec(path, argv, attr)
		c.pid = pid
		started <- err
		if err == nil {
			<-c.release // the death signal comes when this thread ends
		}
	})
	if err := <-started; err != nil {
		return nil, &os.PathError{Op: "exec", Path: path, Err: err}
	}
	return c, nil
}

// Ended reports whether the process has ended, and how.
func (c *Companion) Ended() (syscall.WaitStatus, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid != 0 {
		c.waitLocked(unix.WNOHANG)
	}
	return c.status, c.pid == 0
}

// Stop ends the process and waits for it. There may be none.
func (c *Companion) Stop() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == 0 {
		return
	}
	_ = syscall.Kill(c.pid, syscall.SIGTERM)
	for c.pid != 0 {
		c.waitLocked(0)
	}
}

func (c *Companion) waitLocked(options int) {
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(c.pid, &status, options, nil)
	if pid == c.pid || err == syscall.ECHILD {
		c.pid, c.status = 0, status
		close(c.release)
	}
}

// is reports whether a process is this one. There may be no companion.
func (c *Companion) is(pid int) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid == pid
}
