package seccomp

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// caller is a thread that waits in a system call, as long as it waits.
type caller struct {
	notification
	*Guest
	pidfd int    // -1 until it is needed
	file  target // that the call is about, if it has a path
}

func (g *Guest) newCaller(n notification) *caller {
	return &caller{notification: n, Guest: g, pidfd: -1}
}

func (c *caller) close() {
	if c.pidfd >= 0 {
		unix.Close(c.pidfd)
	}
}

// stillWaits reports whether what was read about the caller is about the
// caller: its number may have gone to another thread if it was killed.
func (c *caller) stillWaits() bool { return c.listener.valid(c.id) }

// proc is the path of a file about the caller.
func (c *caller) proc(name string) string { return "/proc/" + strconv.Itoa(c.tid) + "/" + name }

// descriptor returns a copy of the caller's descriptor fd.
func (c *caller) descriptor(fd int) (int, error) {
	if c.pidfd < 0 {
		pidfd, err := openPidfd(c.tid)
		if err != nil {
			return -1, err
		}
		c.pidfd = pidfd
	}
	copied, err := unix.PidfdGetfd(c.pidfd, fd, 0)
	if err == unix.EPERM {
		c.complain("ptrace", unreadable, c.name(), c.tid)
	}
	return copied, err
}

// unreadable says what to do about a program that we may not look into.
const unreadable = "%s (process %d) may not be looked into, so that its IPVS calls fail: usvs exec needs CAP_SYS_PTRACE for it (see kernel.yama.ptrace_scope)"

// openPidfd names a thread, or before Linux 6.9 its process, whose threads
// practically always share their descriptors.
func openPidfd(tid int) (int, error) {
	fd, err := unix.PidfdOpen(tid, unix.PIDFD_THREAD)
	if err != unix.EINVAL {
		return fd, err
	}
	s, err := readStatus(tid)
	if err != nil {
		return -1, err
	}
	return unix.PidfdOpen(s.tgid, 0)
}

// name is what the caller's program calls itself.
func (c *caller) name() string {
	text, err := os.ReadFile(c.proc("comm"))
	if err != nil {
		return "a program"
	}
	return string(bytes.TrimSpace(text))
}

// threadStatus is a part of /proc/TID/status.
type threadStatus struct {
	tgid         int
	uid          uint32 // effective, in our user namespace
	capabilities uint64 // effective
}

func readStatus(tid int) (threadStatus, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return threadStatus{}, err
	}
	return parseStatus(text)
}

func parseStatus(text []byte) (s threadStatus, err error) {
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		f := bytes.Fields(value)
		switch string(key) {
		case "Tgid":
			s.tgid, err = number(f, 0)
		case "Uid":
			var uid int
			uid, err = number(f, 1)
			s.uid = uint32(uid)
		case "CapEff":
			if len(f) == 0 {
				return s, errStatus
			}
			s.capabilities, err = strconv.ParseUint(string(f[0]), 16, 64)
		}
		if err != nil {
			return s, errStatus
		}
	}
	if s.tgid == 0 {
		return s, errStatus
	}
	return s, nil
}

var errStatus = fmt.Errorf("/proc/PID/status is not as Linux writes it")

func number(fields [][]byte, i int) (int, error) {
	if i >= len(fields) {
		return 0, errStatus
	}
	return strconv.Atoi(string(fields[i]))
}
