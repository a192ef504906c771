package seccomp

import (
	"golang.org/x/sys/unix"
)

const (
	maxGetOption = maxTransfer // the longest listing
	maxSetOption = 4096        // far more than any argument
)

// getOption serves getsockopt at level IPPROTO_IP for an option of IPVS.
func (c *caller) getOption() outcome {
	return c.option(func(ns *namespace) unix.Errno {
		var size [4]byte
		if errno := c.read(c.args[4], size[:]); errno != 0 {
			return errno
		}
		length := int(int32(native.Uint32(size[:])))
		if length < 0 || length > maxGetOption {
			return unix.EINVAL
		}
		in := make([]byte, length)
		c.readSome(c.args[3], in) // what is behind the question need not be there yet
		out, refused := ns.director.GetOption(c.fd(2), in, c.stillWaits())
		if refused != 0 {
			return unix.Errno(refused)
		}
		if errno := c.write(c.args[3], out); errno != 0 {
			return errno
		}
		return c.writeUint32(c.args[4], uint32(len(out)))
	})
}

// setOption serves setsockopt.
func (c *caller) setOption() outcome {
	return c.option(func(ns *namespace) unix.Errno {
		length := c.fd(4)
		if length < 0 || length > maxSetOption {
			return unix.EINVAL
		}
		arg := make([]byte, length)
		if errno := c.read(c.args[3], arg); errno != 0 {
			return errno
		}
		return unix.Errno(ns.director.SetOption(c.fd(2), arg, c.stillWaits()))
	})
}

// option calls serve for the network namespace of the caller's socket, if the
// caller is an administrator there. The kernel is not asked where there is no
// director: it might load its own IPVS.
func (c *caller) option(serve func(*namespace) unix.Errno) outcome {
	fd, err := c.descriptor(c.fd(0))
	if err != nil {
		return proceed
	}
	defer unix.Close(fd)
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_INET || !c.stillWaits() {
		return proceed
	}
	ns, err := c.namespaceOf(fd)
	if err != nil {
		return fails(unix.ENOPROTOOPT)
	}
	defer c.namespaces.done(ns)
	c.settings.drain(ns)
	switch {
	case !c.present(ns):
		return fails(unix.ENOPROTOOPT)
	case !c.mayAdminister(ns):
		return fails(unix.EPERM)
	}
	return fails(serve(ns))
}
