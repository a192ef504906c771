package load

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is the frames of one system call.
type batch struct {
	frames [batchSize][]byte
	iovs   [batchSize]unix.Iovec
	msgs   [batchSize]unix.Mmsghdr
	to     unix.RawSockaddrLinklayer
}

func newBatch(f *Flows, ifIndex int) *batch {
	b := new(batch)
	b.to = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Ifindex: int32(ifIndex)}
	for i := range b.frames {
		b.frames[i] = f.Template()
		b.iovs[i].Base = unsafe.SliceData(b.frames[i])
		b.iovs[i].SetLen(f.Size())
		h := &b.msgs[i].Hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.to))
		h.Namelen = uint32(unsafe.Sizeof(b.to))
	}
	return b
}

// fill makes the first n frames the next of the flows.
func (b *batch) fill(f *Flows, n int) {
	for _, frame := range b.frames[:n] {
		f.Next(frame)
	}
}

// send sends the first n frames and returns how many were taken. A frame that
// is refused is left out; the next are tried.
func (b *batch) send(fd, n int) (sent int) {
	for at := 0; at < n; {
		k, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd),
			uintptr(unsafe.Pointer(&b.msgs[at])), uintptr(n-at), 0, 0, 0)
		if errno != 0 {
			at++
			continue
		}
		sent, at = sent+int(k), at+int(k)
	}
	return sent
}
