package seccomp

import "golang.org/x/sys/unix"

// maxReceive bounds the buffer for one received datagram.
const maxReceive = 1 << 20

// reception is where a caller wants one datagram, and its sender, put.
type reception struct {
	spans   []span
	name    uint64
	nameLen uint32
	control int // bytes of room for control messages
	flags   int // as the call has them
}

// received is a datagram from a socket's own queue.
type received struct {
	size    int // may be more than data with MSG_TRUNC
	data    []byte
	control []byte
	flags   int
}

// read serves read and readv, which show no sender: the kernel carries them out
// when what waits has been put into the queue.
func (c *caller) read1() outcome {
	if fd, ok := c.genericSocket(c.fd(0)); ok {
		c.outbox.resume(fd)
		unix.Close(fd)
	}
	return proceed
}

func (c *caller) recvfrom() outcome {
	r := reception{spans: []span{{c.args[1], c.args[2]}}, name: c.args[4], flags: c.fd(3)}
	var size [4]byte
	if r.name != 0 && c.read(c.args[5], size[:]) != 0 {
		return proceed
	}
	r.nameLen = native.Uint32(size[:])
	return c.receive(r, func(got received) unix.Errno {
		if r.name == 0 {
			return 0
		}
		return c.writeUint32(c.args[5], unix.SizeofSockaddrNetlink)
	})
}

func (c *caller) recvmsg() outcome { return c.receiveInto(c.args[1], c.fd(2)) }

// recvmmsg takes what there is. Waiting for the first datagram, or with a
// deadline, is the kernel's.
func (c *caller) recvmmsg() outcome {
	count := min(uint64(uint32(c.args[2])), maxSpans)
	for i := range count {
		addr := c.args[1] + i*multiHeaderSize
		o := c.receiveInto(addr, c.fd(3))
		switch {
		case o.kind == ours && o.errno == 0:
			if errno := c.writeUint32(addr+messageHeaderSize, uint32(o.value)); errno != 0 {
				return fails(errno)
			}
		case i == 0:
			return o
		default:
			return returns(int(i))
		}
	}
	return returns(int(count))
}

// receiveInto receives by a struct msghdr of the caller.
func (c *caller) receiveInto(addr uint64, flags int) outcome {
	h, errno := c.messageHeader(addr)
	if errno != 0 {
		return proceed
	}
	spans, errno := c.spans(h.vector, h.vectorLen)
	if errno != 0 {
		return proceed
	}
	control := 0
	if h.control != 0 {
		control = int(min(h.controlLen, maxControl))
	}
	r := reception{spans, h.name, h.nameLen, control, flags}
	return c.receive(r, func(got received) unix.Errno { return c.finish(h, got) })
}

// maxControl is more than all control messages of netlink together.
const maxControl = 4096

// finish writes what recvmsg puts into the header itself.
func (c *caller) finish(h messageHeader, got received) unix.Errno {
	if errno := c.write(h.control, got.control); errno != 0 {
		return errno
	}
	if h.name != 0 {
		if errno := c.writeUint32(h.addr+8, unix.SizeofSockaddrNetlink); errno != 0 {
			return errno
		}
	}
	if errno := c.writeUint64(h.addr+40, uint64(len(got.control))); errno != 0 {
		return errno
	}
	return c.writeUint32(h.addr+48, uint32(got.flags))
}

// receive carries a receive out if the next datagram is one of our replies, so
// that its sender can be shown as the kernel. It never waits: with an empty
// queue the kernel does, where signals and deadlines work.
func (c *caller) receive(r reception, finish func(received) unix.Errno) outcome {
	fd, ok := c.genericSocket(c.fd(0))
	if !ok {
		return proceed
	}
	defer unix.Close(fd)
	c.outbox.resume(fd)
	if r.flags&unix.MSG_ERRQUEUE != 0 {
		return proceed
	}
	if !nextIsOurs(fd) || !c.stillWaits() {
		return proceed
	}
	got, ok := take(fd, min(room(r.spans), maxReceive), r.control, r.flags)
	if !ok {
		return proceed
	}
	c.outbox.resume(fd) // the program may poll before it receives again
	if errno := c.scatter(r.spans, got.data); errno != 0 {
		return fails(errno)
	}
	if errno := c.writeSender(r); errno != 0 {
		return fails(errno)
	}
	if errno := finish(got); errno != 0 {
		return fails(errno)
	}
	return returns(got.size)
}

// nextIsOurs reports whether the next datagram comes from the socket itself:
// nothing but our replies does.
func nextIsOurs(fd int) bool {
	_, from, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil {
		return false
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	sender, ok := from.(*unix.SockaddrNetlink)
	self, ok2 := own.(*unix.SockaddrNetlink)
	return ok && ok2 && self.Pid != 0 && sender.Pid == self.Pid
}

// take receives a datagram without waiting.
func take(fd, size, control, flags int) (received, bool) {
	data, oob := make([]byte, size), make([]byte, control)
	keep := flags&(unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_CMSG_CLOEXEC) | unix.MSG_DONTWAIT
	n, oobn, rflags, _, err := unix.Recvmsg(fd, data, oob, keep)
	if err != nil {
		return received{}, false
	}
	return received{n, data[:min(n, len(data))], oob[:oobn], rflags}, true
}

// writeSender shows the kernel as the sender: port 0, no groups.
func (c *caller) writeSender(r reception) unix.Errno {
	if r.name == 0 {
		return 0
	}
	var b [unix.SizeofSockaddrNetlink]byte
	native.PutUint16(b[:], unix.AF_NETLINK)
	return c.write(r.name, b[:min(r.nameLen, uint32(len(b)))])
}
