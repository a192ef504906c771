package seccomp

import (
	"golang.org/x/sys/unix"
)

// socket serves socket(AF_NETLINK, type, NETLINK_GENERIC): a real socket in the
// caller's network namespace, at a number of the window. Where that cannot be,
// the kernel makes an ordinary one, on which no family IPVS is found, so that
// ipvsadm and keepalived go on with socket options.
func (c *caller) socket() outcome {
	ns, err := c.ownNamespace()
	if err != nil {
		return proceed
	}
	defer c.namespaces.done(ns)
	kind := int(c.args[1])
	fd := -1
	err = c.namespaces.enter(ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, kind|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
		return err
	})
	if err != nil {
		return c.refused(err)
	}
	defer unix.Close(fd)
	return c.place(fd, socketWindow, 0, kind&unix.SOCK_CLOEXEC != 0)
}

// refused is the outcome of a call that we could not make for the caller.
func (c *caller) refused(err error) outcome {
	if errno, ok := err.(unix.Errno); ok {
		return fails(errno)
	}
	c.complain("namespace", "%s (process %d): %v", c.name(), c.tid, err)
	return proceed
}

// place ends a call with a copy of fd at the lowest free number of a window that
// is not below least. If there is none the call is left to the kernel.
func (c *caller) place(fd int, w window, least int, closeOnExec bool) outcome {
	c.placing.Lock()
	defer c.placing.Unlock()
	for number := max(least, w.first); number <= w.last; number++ {
		switch taken, err := c.holds(number); {
		case err != nil:
			return proceed
		case taken:
			continue
		}
		switch errno := c.listener.inject(c.id, fd, number, closeOnExec); errno {
		case 0:
			return outcome{kind: answered}
		case unix.EBADF, unix.EMFILE:
			c.complain("limit", "%s (process %d) may open fewer than %d files: not all its IPVS calls reach usvs (ulimit -n)", c.name(), c.tid, lastSocket+1)
			return proceed
		default:
			return proceed
		}
	}
	if least == 0 {
		c.complain("window", "%s (process %d) has more than %d sockets to the kernel or settings open: further ones do not reach usvs", c.name(), c.tid, w.last-w.first+1)
	}
	return proceed
}

// holds reports whether the caller has something open at a number.
func (c *caller) holds(fd int) (bool, error) {
	copied, err := c.descriptor(fd)
	switch err {
	case nil:
		unix.Close(copied)
		return true, nil
	case unix.EBADF:
		return false, nil
	}
	return false, err
}

// duplicate serves dup, and fcntl that does the same, of a descriptor of the
// window: the copy is in the window too, or calls on it would not be seen.
func (c *caller) duplicate(least int, closeOnExec bool) outcome {
	w, lookup := socketWindow, c.genericSocket
	if settingsWindow.has(c.fd(0)) {
		w, lookup = settingsWindow, c.settingSocket
	}
	if least < 0 || least > w.last {
		return proceed // not in the window, if at all
	}
	fd, ok := lookup(c.fd(0))
	if !ok {
		return proceed
	}
	defer unix.Close(fd)
	return c.place(fd, w, least, closeOnExec)
}

func (c *caller) dup() outcome { return c.duplicate(0, false) }

func (c *caller) fcntl() outcome {
	switch c.fd(1) {
	case unix.F_DUPFD:
		return c.duplicate(c.fd(2), false)
	case unix.F_DUPFD_CLOEXEC:
		return c.duplicate(c.fd(2), true)
	}
	return proceed
}

// genericSocket returns a copy of the caller's descriptor if it is a generic
// netlink socket. The caller may have put anything else at that number.
func (c *caller) genericSocket(number int) (int, bool) {
	fd, err := c.descriptor(number)
	if err != nil {
		return -1, false
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err == nil && domain == unix.AF_NETLINK {
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err == nil && protocol == unix.NETLINK_GENERIC {
			return fd, true
		}
	}
	unix.Close(fd)
	return -1, false
}

// ownNamespace is the network namespace that the caller is in.
func (c *caller) ownNamespace() (*namespace, error) {
	fd, err := unix.Open(c.proc("ns/net"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if !c.stillWaits() {
		unix.Close(fd)
		return nil, unix.ESRCH
	}
	return c.namespaces.use(fd)
}

// namespaceOf is the network namespace that a socket is in, which its maker may
// have left. Only who administers it may ask; else the caller's must do.
func (c *caller) namespaceOf(socket int) (*namespace, error) {
	fd, err := unix.IoctlRetInt(socket, unix.SIOCGSKNS)
	if err != nil {
		return c.ownNamespace()
	}
	return c.namespaces.use(fd)
}

// portOf is the port of a netlink socket, which gets one if it has none: what
// the kernel does when something is sent.
func (c *caller) portOf(socket int) (uint32, unix.Errno) {
	for range 2 {
		addr, err := unix.Getsockname(socket)
		if err != nil {
			return 0, errnoOf(err)
		}
		if nl, ok := addr.(*unix.SockaddrNetlink); ok && nl.Pid != 0 {
			return nl.Pid, 0
		}
		s, err := readStatus(c.tid)
		if err != nil {
			return 0, unix.ESRCH
		}
		if unix.Bind(socket, &unix.SockaddrNetlink{Pid: uint32(s.tgid)}) != nil {
			_ = unix.Bind(socket, &unix.SockaddrNetlink{})
		}
	}
	return 0, unix.ENOTCONN
}

func errnoOf(err error) unix.Errno {
	if errno, ok := err.(unix.Errno); ok {
		return errno
	}
	return unix.EIO
}
