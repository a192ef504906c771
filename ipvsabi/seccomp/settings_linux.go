package seccomp

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// settings are the files of /proc/sys/net/ipv4/vs that programs hold open for
// writing.
//
// Such a file is one end of a pair of sockets, at a number of the window. A
// write to that number is handed to us and gets the director's answer, as from
// the kernel. A shell moves the descriptor to number 1 before it writes: such a
// write ends in the socket, always succeeds, and is carried out when we read it,
// at the latest before the next call in that namespace is answered.
type settings struct {
	say func(format string, args ...any)

	mu   sync.Mutex
	open map[uint64]*openSetting // by the socket cookie of the program's end; guarded by mu
}

// openSetting is one of them.
type openSetting struct {
	name string
	ns   *namespace // in use as long as this is open
	ours *os.File

	mu      sync.Mutex
	written bool // guarded by mu, which is held while the director is asked
}

// maxValue is longer than any value.
const maxValue = 4096

// openSetting serves an open for writing.
func (c *caller) openSetting(ns *namespace, name string, flags uint64) outcome {
	if !c.mayAdminister(ns) {
		return fails(unix.EACCES)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fails(errnoOf(err))
	}
	theirs := pair[1]
	defer unix.Close(theirs)
	if err := unix.SetNonblock(theirs, false); err != nil {
		unix.Close(pair[0])
		return fails(errnoOf(err))
	}
	s := &openSetting{name: name, ns: ns, ours: os.NewFile(uintptr(pair[0]), name)}
	if err := c.settings.add(theirs, s, c.namespaces); err != nil {
		s.ours.Close()
		return fails(fileErrno(err))
	}
	if flags&unix.O_ACCMODE == unix.O_RDWR {
		s.offer()
	}
	o := c.place(theirs, settingsWindow, 0, flags&unix.O_CLOEXEC != 0)
	if o.isKernels() { // no number of the window is free
		return c.give(theirs, flags)
	}
	return o
}

// add has what is written to the socket carried out until it is closed.
func (l *settings) add(theirs int, s *openSetting, spaces *namespaces) error {
	cookie, errno := cookieOf(theirs)
	if errno != 0 {
		return errno
	}
	conn, err := s.ours.SyscallConn()
	if err != nil {
		return err
	}
	if !spaces.hold(s.ns) {
		return os.ErrClosed
	}
	l.mu.Lock()
	l.open[cookie] = s
	l.mu.Unlock()
	go func() {
		_ = conn.Read(func(fd uintptr) bool { return l.receive(s, int(fd)) })
		l.mu.Lock()
		delete(l.open, cookie)
		l.mu.Unlock()
		s.ours.Close()
		spaces.done(s.ns)
	}()
	return nil
}

// offer makes the value readable for a program that also reads.
func (s *openSetting) offer() {
	if value, err := s.ns.director.Sysctl(s.name); err == nil {
		fmt.Fprintln(s.ours, value)
	}
}

// find returns the open setting behind a copy of a program's descriptor.
func (l *settings) find(fd int) *openSetting {
	cookie, errno := cookieOf(fd)
	if errno != 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[cookie]
}

// settingSocket returns a copy of the caller's descriptor if it is a setting.
func (c *caller) settingSocket(number int) (int, bool) {
	fd, err := c.descriptor(number)
	if err != nil {
		return -1, false
	}
	if c.settings.find(fd) == nil {
		unix.Close(fd)
		return -1, false
	}
	return fd, true
}

// drain carries out what was written in a namespace before.
func (l *settings) drain(ns *namespace) {
	l.mu.Lock()
	var list []*openSetting
	for _, s := range l.open {
		if s.ns == ns {
			list = append(list, s)
		}
	}
	l.mu.Unlock()
	for _, s := range list {
		if conn, err := s.ours.SyscallConn(); err == nil {
			_ = conn.Control(func(fd uintptr) { l.receive(s, int(fd)) })
		}
	}
}

// receive carries out what has arrived, and reports whether no more can.
func (l *settings) receive(s *openSetting, fd int) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	buf := make([]byte, maxValue)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err != nil || n == 0:
			return true
		}
		if err := s.setLocked(buf[:n]); err != nil {
			l.say("/proc/sys/net/ipv4/vs/%s is not set to %q: %v", s.name, strings.TrimSpace(string(buf[:n])), syscall.Errno(fileErrno(err)))
		}
	}
}

// write sets the value that a program writes.
func (s *openSetting) write(value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setLocked(value)
}

// setLocked ignores all but the first write, like the kernel, for which what
// comes behind the first byte is not a value (kernel.sysctl_writes_strict).
func (s *openSetting) setLocked(value []byte) error {
	if s.written {
		return nil
	}
	err := s.ns.director.SetSysctl(s.name, string(slices.Clone(value)))
	s.written = err == nil
	return err
}

// writeSetting serves a write to a descriptor of the settings' window.
func (c *caller) writeSetting(list []span) outcome {
	fd, err := c.descriptor(c.fd(0))
	if err != nil {
		return proceed
	}
	defer unix.Close(fd)
	s := c.settings.find(fd)
	if s == nil || !c.stillWaits() {
		return proceed
	}
	if room(list) > maxValue {
		return fails(unix.EINVAL)
	}
	value, errno := c.gather(list)
	switch {
	case errno != 0:
		return fails(errno)
	case len(value) == 0:
		return returns(0)
	}
	if err := s.write(value); err != nil {
		return fails(fileErrno(err))
	}
	return returns(len(value))
}
