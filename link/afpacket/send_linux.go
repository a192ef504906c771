package afpacket

import (
	"fmt"

	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/vnet"
)

const (
	// maxRetries bounds how often a batch waits for room to send. With
	// retryPause it bounds how long a congested device stalls a pump.
	maxRetries = 10

	retryPauseNs = 200_000
)

// writer sends frames through the device's shared socket.
type writer struct {
	d     *Device
	iovs  []unix.Iovec
	msgs  []unix.Mmsghdr
	room  [1]unix.PollFd
	pause unix.Timespec
}

// NewWriter implements link.Device.
func (d *Device) NewWriter() link.Writer {
	w := &writer{d: d}
	w.iovs, w.msgs = newSendSlots(link.BatchSize)
	return w
}

// WriteBatch implements link.Writer.
func (w *writer) WriteBatch(fs []*link.Frame) (sent int, err error) {
	if !w.d.wait.Enter() {
		return 0, link.ErrClosed
	}
	defer w.d.wait.Leave()
	for len(fs) > 0 {
		batch := fs[:min(len(fs), len(w.msgs))]
		n, errno := w.send(batch)
		if errno != 0 {
			err = fmt.Errorf("%s: %w", w.d.name, errno)
		}
		sent += n
		fs = fs[len(batch):]
	}
	return sent, err
}

// send sends one batch. The kernel stops at a frame it does not take; send goes
// on behind it.
func (w *writer) send(fs []*link.Frame) (sent int, last unix.Errno) {
	for i, f := range fs {
		aim(&w.iovs[i], withHeader(f))
	}
	bytes, retries := 0, 0
	for at := 0; at < len(fs); {
		fd, end := w.socket(fs, at)
		n, errno := sendmmsg(fd, w.msgs[at:end])
		if errno == 0 {
			for _, f := range fs[at : at+n] {
				bytes += f.Len()
			}
			sent, at = sent+n, at+n
			continue
		}
		if passing(errno) && retries < maxRetries {
			retries++
			w.awaitRoom(fd, errno)
			continue
		}
		last = errno
		skip := w.refused(errno, len(fs)-at)
		at += skip
	}
	w.d.counters.Sent(sent, bytes)
	return sent, last
}

// socket is which one a batch's frame leaves by, and the first one behind it that
// does not. Frames leave one after the other all the same.
func (w *writer) socket(fs []*link.Frame, at int) (fd, end int) {
	if w.d.wrap == nil {
		return w.d.tx, len(fs)
	}
	wrapped := fs[at].Wrapped
	for end = at + 1; end < len(fs) && fs[end].Wrapped == wrapped; end++ {
	}
	if wrapped {
		return w.d.wrap.fd, end
	}
	return w.d.tx, end
}

// withHeader is the frame and in front of it, in one piece, its virtio header.
func withHeader(f *link.Frame) []byte {
	b := f.BytesBehind(vnet.HeaderLen)
	if b == nil { // a frame with so many headers that there is no room for another
		b = append(make([]byte, vnet.HeaderLen), f.Bytes()...)
	}
	vnet.Encode(b, f)
	return b
}

// passing errors are worth another try.
func passing(errno unix.Errno) bool {
	return errno == unix.EINTR || errno == unix.EAGAIN || errno == unix.ENOBUFS
}

// awaitRoom waits for room in the send buffer (EAGAIN), or gives the
// interface's queue a moment (ENOBUFS).
func (w *writer) awaitRoom(fd int, errno unix.Errno) {
	if errno == unix.EINTR {
		return
	}
	w.pause = unix.Timespec{Nsec: retryPauseNs}
	w.room[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}
	if errno == unix.ENOBUFS {
		w.room[0].Fd = -1
	}
	_, _ = unix.Ppoll(w.room[:], &w.pause, nil)
}

// refused counts what an error costs and returns how many frames that is: one,
// or all that are left if it is not the frame's fault.
func (w *writer) refused(errno unix.Errno, left int) int {
	why, skip := link.DropError, 1
	switch errno {
	case unix.EMSGSIZE:
		why = link.DropTooLong
	case unix.EINVAL:
		why = link.DropRefused
	case unix.ENOMEM:
		why = link.DropNoMemory
	case unix.EAGAIN, unix.ENOBUFS:
		why = link.DropNoBuffer
	case unix.ENETDOWN, unix.ENXIO, unix.ENODEV:
		why, skip = link.DropLinkDown, left
	}
	w.d.counters.Dropped(why, skip)
	return skip
}
