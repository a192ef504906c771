//go:build linux

package tun

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"usvs/link/vnet"
)

// vector is one packet for readv and writev: the virtio header and, behind it,
// the packet. A plain device uses the second piece only.
type vector struct {
	vnet [vnet.HeaderLen]byte
	iov  [2]unix.Iovec
}

// init must be called where the vector stays.
func (v *vector) init() {
	v.iov[0].Base = &v.vnet[0]
	v.iov[0].SetLen(len(v.vnet))
}

// readv reads one packet to space and returns its length with its header's.
func (v *vector) readv(fd int, space []byte, headerLen int) (int, unix.Errno) {
	return v.call(unix.SYS_READV, fd, space, headerLen)
}

// writev writes one packet.
func (v *vector) writev(fd int, packet []byte, headerLen int) unix.Errno {
	_, errno := v.call(unix.SYS_WRITEV, fd, packet, headerLen)
	return errno
}

func (v *vector) call(trap uintptr, fd int, b []byte, headerLen int) (int, unix.Errno) {
	v.iov[1].Base = unsafe.SliceData(b)
	v.iov[1].SetLen(len(b))
	iov := v.iov[:]
	if headerLen == 0 {
		iov = iov[1:]
	}
	n, _, errno := unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)))
	return int(n), errno
}
