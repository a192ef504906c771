//go:build linux

package afpacket

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"usvs/link/vnet"
)

// receiveSlot is where the kernel puts one frame's surroundings. The frame
// itself goes to the second piece of iov.
type receiveSlot struct {
	vnet [vnet.HeaderLen]byte
	iov  [2]unix.Iovec
	from unix.RawSockaddrLinklayer
	ctl  controlMessage
}

// controlMessage is the one control message that is enabled: PACKET_AUXDATA.
type controlMessage struct {
	hdr unix.Cmsghdr
	aux unix.TpacketAuxdata
}

const (
	addrLen    = uint32(unsafe.Sizeof(unix.RawSockaddrLinklayer{}))
	controlLen = int(unsafe.Sizeof(controlMessage{}))
)

// newReceiveSlots returns n slots and the message headers that point at them.
func newReceiveSlots(n int) ([]receiveSlot, []unix.Mmsghdr) {
	slots, msgs := make([]receiveSlot, n), make([]unix.Mmsghdr, n)
	for i := range slots {
		s, h := &slots[i], &msgs[i].Hdr
		s.iov[0].Base = &s.vnet[0]
		s.iov[0].SetLen(len(s.vnet))
		h.Iov = &s.iov[0]
		h.SetIovlen(len(s.iov))
		h.Name = (*byte)(unsafe.Pointer(&s.from))
		h.Control = (*byte)(unsafe.Pointer(&s.ctl))
	}
	return slots, msgs
}

// aim makes the next frame go to space, and says again how much room there is
// for what the kernel shortened the last time.
func (s *receiveSlot) aim(h *unix.Msghdr, space []byte) {
	s.iov[1].Base = unsafe.SliceData(space)
	s.iov[1].SetLen(len(space))
	h.Namelen = addrLen
	h.SetControllen(controlLen)
}

// newSendSlots returns n message headers and the piece of memory each points at.
func newSendSlots(n int) ([]unix.Iovec, []unix.Mmsghdr) {
	iovs, msgs := make([]unix.Iovec, n), make([]unix.Mmsghdr, n)
	for i := range msgs {
		msgs[i].Hdr.Iov = &iovs[i]
		msgs[i].Hdr.SetIovlen(1)
	}
	return iovs, msgs
}

// aim makes iov say where b is.
func aim(iov *unix.Iovec, b []byte) {
	iov.Base = unsafe.SliceData(b)
	iov.SetLen(len(b))
}

func recvmmsg(fd int, msgs []unix.Mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(msgs))), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func sendmmsg(fd int, msgs []unix.Mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(msgs))), uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
