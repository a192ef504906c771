package seccomp

import "golang.org/x/sys/unix"

// Files of the kernel's that look as those of IPVS would.
var lookAlikes = map[targetKind]string{
	procFile:    "/proc/net/dev",
	setting:     "/proc/sys/net/ipv4/ip_forward",
	settingsDir: "/proc/sys/net/ipv4",
}

func (c *caller) stat() outcome    { return c.show(c.file, c.args[1], statBytes) }
func (c *caller) fstatat() outcome { return c.show(c.file, c.args[2], statBytes) }

func (c *caller) statx() outcome {
	flags, mask := c.fd(2), c.fd(3)
	return c.show(c.file, c.args[4], func(path string) ([]byte, error) { return statxBytes(path, flags, mask) })
}

func (c *caller) access() outcome   { return c.may(c.file, c.fd(1)) }
func (c *caller) accessat() outcome { return c.may(c.file, c.fd(2)) }

// show answers with what the kernel says about another file of the kind.
func (c *caller) show(t target, addr uint64, look func(path string) ([]byte, error)) outcome {
	if !c.has(t) {
		return fails(unix.ENOENT)
	}
	answer, err := look(lookAlikes[t.kind])
	if err != nil {
		return fails(errnoOf(err))
	}
	return fails(c.write(addr, answer))
}

// may tells whether a file could be opened.
func (c *caller) may(t target, mode int) outcome {
	ns, err := c.namespaceFor(t)
	if err != nil {
		return proceed
	}
	defer c.namespaces.done(ns)
	switch {
	case !exists(ns.director, t):
		return fails(unix.ENOENT)
	case t.kind == settingsDir:
		return allowed(mode&unix.W_OK == 0)
	case mode&unix.X_OK != 0:
		return fails(unix.EACCES)
	case mode&unix.W_OK != 0:
		return allowed(t.kind == setting && c.mayAdminister(ns))
	}
	return returns(0)
}

func allowed(yes bool) outcome {
	if !yes {
		return fails(unix.EACCES)
	}
	return returns(0)
}

// readlink: a file of ours is no link.
func (c *caller) readlink() outcome { return c.refuse(unix.EINVAL) }

// xattr: it has no extended attributes, nor can have.
func (c *caller) xattr() outcome { return c.refuse(unix.EOPNOTSUPP) }

func (c *caller) refuse(errno unix.Errno) outcome {
	if !c.has(c.file) {
		errno = unix.ENOENT
	}
	return fails(errno)
}

// has reports whether a file exists for the caller.
func (c *caller) has(t target) bool {
	ns, err := c.namespaceFor(t)
	if err != nil {
		return false
	}
	defer c.namespaces.done(ns)
	return exists(ns.director, t)
}
