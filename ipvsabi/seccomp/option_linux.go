package seccomp

import "golang.org/x/sys/unix"

// maxOption is the longest buffer that we fill. No option takes as much.
const maxOption = maxTransfer

// getOption serves getsockopt at level IPPROTO_IP for an option of IPVS.
func (c *caller) getOption() outcome {
	var size [4]byte
	if errno := c.read(c.args[4], size[:]); errno != 0 {
		return fails(errno)
	}
	length := int(int32(native.Uint32(size[:])))
	if length < 0 || length > maxOption {
		return fails(unix.EINVAL)
	}
	in := make([]byte, length)
	c.readSome(c.args[3], in)
	return c.option(func(ns *namespace) outcome {
		out, errno := ns.director.GetOption(c.fd(2), in, c.mayAdminister(ns))
		if errno != 0 {
			return fails(unix.Errno(errno))
		}
		if errno := c.write(c.args[3], out); errno != 0 {
			return fails(errno)
		}
		if errno := c.writeUint32(c.args[4], uint32(len(out))); errno != 0 {
			return fails(errno)
		}
		return returns(0)
	})
}

// setOption serves setsockopt.
func (c *caller) setOption() outcome {
	length := c.fd(4)
	if length < 0 || length > maxOption {
		return fails(unix.EINVAL)
	}
	arg := make([]byte, length)
	if errno := c.read(c.args[3], arg); errno != 0 {
		return fails(errno)
	}
	return c.option(func(ns *namespace) outcome {
		return fails(unix.Errno(ns.director.SetOption(c.fd(2), arg, c.mayAdminister(ns))))
	})
}

// option calls serve for the network namespace of the caller's socket. The
// kernel is not asked where there is no director: it might load its own IPVS.
func (c *caller) option(serve func(*namespace) outcome) outcome {
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
	if !c.present(ns) {
		return fails(unix.ENOPROTOOPT)
	}
	return serve(ns)
}
