package seccomp

import "golang.org/x/sys/unix"

// maxDatagram is more than a netlink socket takes.
const maxDatagram = 1 << 20

// datagram is what a caller sends.
type datagram struct {
	spans   []span
	name    uint64 // destination address, 0: none
	nameLen uint32
}

func (c *caller) write1() outcome {
	return c.writeSpans([]span{{c.args[1], c.args[2]}})
}

func (c *caller) writev() outcome {
	spans, errno := c.spans(c.args[1], c.args[2])
	if errno != 0 {
		return proceed // the kernel finds out what is wrong with it
	}
	return c.writeSpans(spans)
}

func (c *caller) writeSpans(list []span) outcome {
	if settingsWindow.has(c.fd(0)) {
		return c.writeSetting(list)
	}
	return c.send(datagram{spans: list})
}

func (c *caller) sendto() outcome {
	return c.send(datagram{[]span{{c.args[1], c.args[2]}}, c.args[4], uint32(c.args[5])})
}

func (c *caller) sendmsg() outcome {
	d, errno := c.messageAt(c.args[1])
	if errno != 0 {
		return proceed
	}
	return c.send(d)
}

// sendmmsg sends as many as are ours. What is behind them the program sends
// again, as after any call that did not take all.
func (c *caller) sendmmsg() outcome {
	count := min(uint64(uint32(c.args[2])), maxSpans)
	for i := range count {
		addr := c.args[1] + i*multiHeaderSize
		d, errno := c.messageAt(addr)
		o := proceed
		if errno == 0 {
			o = c.send(d)
		}
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

func (c *caller) messageAt(addr uint64) (datagram, unix.Errno) {
	h, errno := c.messageHeader(addr)
	if errno != 0 {
		return datagram{}, errno
	}
	spans, errno := c.spans(h.vector, h.vectorLen)
	return datagram{spans, h.name, h.nameLen}, errno
}

// send answers a datagram if it is for the kernel and about IPVS.
func (c *caller) send(d datagram) outcome {
	fd, ok := c.genericSocket(c.fd(0))
	if !ok {
		return proceed
	}
	defer unix.Close(fd)
	if !c.toKernel(d) || room(d.spans) > maxDatagram {
		return proceed
	}
	data, errno := c.gather(d.spans)
	if errno != 0 || !c.stillWaits() {
		return proceed
	}
	port, errno := c.portOf(fd)
	if errno != 0 {
		return proceed
	}
	replies, handled, errno := c.ask(fd, data, port)
	switch {
	case errno != 0:
		return fails(errno)
	case !handled:
		return proceed
	}
	if errno := c.outbox.send(fd, port, replies, c.tid); errno != 0 {
		return fails(errno)
	}
	return returns(len(data))
}

// toKernel reports whether a datagram has the kernel's address or none.
func (c *caller) toKernel(d datagram) bool {
	if d.name == 0 || d.nameLen == 0 {
		return true
	}
	var b [unix.SizeofSockaddrNetlink]byte
	if d.nameLen < uint32(len(b)) || c.read(d.name, b[:]) != 0 {
		return false
	}
	port, groups := native.Uint32(b[4:]), native.Uint32(b[8:])
	return native.Uint16(b[:]) == unix.AF_NETLINK && port == 0 && groups == 0
}

// ask has the director of the socket's network namespace answer a datagram.
func (c *caller) ask(fd int, data []byte, port uint32) (replies [][]byte, handled bool, errno unix.Errno) {
	ns, err := c.namespaceOf(fd)
	if err != nil {
		return nil, false, 0
	}
	defer c.namespaces.done(ns)
	c.settings.drain(ns)
	if !resolves(data) {
		replies, handled = ns.director.Netlink(data, port, c.mayAdminister(ns))
		return replies, handled, 0
	}
	// Who resolves the family learns whether there is a director.
	replies, handled = ns.director.Netlink(data, port, false)
	if !handled {
		return nil, false, 0
	}
	if !c.present(ns) {
		return [][]byte{notFound(data, port)}, true, 0
	}
	return replies, true, 0
}

// A netlink message's header.
const (
	netlinkHeaderSize = 16
	typeControl       = 0x10 // of the family that knows the others, nlctrl
)

// resolves reports whether a datagram starts with a question for a family.
func resolves(data []byte) bool {
	return len(data) >= netlinkHeaderSize && native.Uint16(data[4:]) == typeControl
}

// notFound is the kernel's answer about a family that there is not: the error
// and the message it is about.
func notFound(data []byte, port uint32) []byte {
	size := min(int(native.Uint32(data)), len(data))
	b := make([]byte, netlinkHeaderSize+4+size)
	native.PutUint32(b[0:], uint32(len(b)))
	native.PutUint16(b[4:], unix.NLMSG_ERROR)
	copy(b[8:12], data[8:12]) // sequence number
	native.PutUint32(b[12:], port)
	code := -int32(unix.ENOENT)
	native.PutUint32(b[16:], uint32(code))
	copy(b[20:], data[:size])
	return b
}
