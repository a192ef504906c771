package seccomp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// maxTransfer bounds what is copied from or to a caller at once.
const maxTransfer = 16 << 20

var native = binary.NativeEndian

// readSome reads the caller's memory until it ends, and returns how much that was.
func (c *caller) readSome(addr uint64, buf []byte) int {
	if len(buf) == 0 {
		return 0
	}
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	remote := []unix.RemoteIovec{{Base: uintptr(addr), Len: len(buf)}}
	n, _ := unix.ProcessVMReadv(c.tid, local, remote, 0)
	return max(n, 0)
}

// read reads the caller's memory.
func (c *caller) read(addr uint64, buf []byte) unix.Errno {
	if c.readSome(addr, buf) != len(buf) {
		return unix.EFAULT
	}
	return 0
}

// write writes to the caller's memory.
func (c *caller) write(addr uint64, data []byte) unix.Errno {
	if len(data) == 0 {
		return 0
	}
	local := []unix.Iovec{{Base: &data[0]}}
	local[0].SetLen(len(data))
	remote := []unix.RemoteIovec{{Base: uintptr(addr), Len: len(data)}}
	if n, _ := unix.ProcessVMWritev(c.tid, local, remote, 0); n != len(data) {
		return unix.EFAULT
	}
	return 0
}

// span is a piece of the caller's memory.
type span struct {
	addr uint64
	size uint64
}

const (
	spanSize = 16   // of a struct iovec
	maxSpans = 1024 // UIO_MAXIOV
)

// spans reads an array of struct iovec.
func (c *caller) spans(addr, count uint64) ([]span, unix.Errno) {
	if count > maxSpans {
		return nil, unix.EMSGSIZE
	}
	raw := make([]byte, count*spanSize)
	if errno := c.read(addr, raw); errno != 0 {
		return nil, errno
	}
	list := make([]span, count)
	for i := range list {
		list[i] = span{native.Uint64(raw[i*spanSize:]), native.Uint64(raw[i*spanSize+8:])}
	}
	return list, 0
}

// room is how many bytes spans hold; more than we transfer is maxTransfer.
func room(list []span) int {
	sum := 0
	for _, s := range list {
		if s.size >= maxTransfer {
			return maxTransfer
		}
		if sum += int(s.size); sum >= maxTransfer {
			return maxTransfer
		}
	}
	return sum
}

// gather reads what spans hold.
func (c *caller) gather(list []span) ([]byte, unix.Errno) {
	total := room(list)
	if total >= maxTransfer {
		return nil, unix.EMSGSIZE
	}
	data, rest := make([]byte, total), 0
	for _, s := range list {
		if errno := c.read(s.addr, data[rest:rest+int(s.size)]); errno != 0 {
			return nil, errno
		}
		rest += int(s.size)
	}
	return data, 0
}

// scatter writes data over spans.
func (c *caller) scatter(list []span, data []byte) unix.Errno {
	for _, s := range list {
		n := min(uint64(len(data)), s.size)
		if errno := c.write(s.addr, data[:n]); errno != 0 {
			return errno
		}
		data = data[n:]
	}
	return 0
}

// A messageHeader is the caller's struct msghdr.
type messageHeader struct {
	addr              uint64 // of the header
	name, control     uint64
	nameLen           uint32
	vector, vectorLen uint64
	controlLen        uint64
	flags             uint32
}

const messageHeaderSize = 56

// multiHeaderSize is that of a struct mmsghdr: a msghdr and how many bytes went.
const multiHeaderSize = 64

func (c *caller) messageHeader(addr uint64) (messageHeader, unix.Errno) {
	var b [messageHeaderSize]byte
	if errno := c.read(addr, b[:]); errno != 0 {
		return messageHeader{}, errno
	}
	return messageHeader{
		addr: addr,
		name: native.Uint64(b[0:]), nameLen: native.Uint32(b[8:]),
		vector: native.Uint64(b[16:]), vectorLen: native.Uint64(b[24:]),
		control: native.Uint64(b[32:]), controlLen: native.Uint64(b[40:]),
		flags: native.Uint32(b[48:]),
	}, 0
}

func (c *caller) writeUint32(addr uint64, v uint32) unix.Errno {
	var b [4]byte
	native.PutUint32(b[:], v)
	return c.write(addr, b[:])
}

func (c *caller) writeUint64(addr uint64, v uint64) unix.Errno {
	var b [8]byte
	native.PutUint64(b[:], v)
	return c.write(addr, b[:])
}
