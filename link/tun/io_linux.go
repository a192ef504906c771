package tun

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/internal/waiter"
	"usvs/link/vnet"
	"usvs/wire"
)

// retryPauseNs and maxRetries bound how long a batch waits for room.
const (
	retryPauseNs = 200_000
	maxRetries   = 10
)

// ReadBatch implements link.Device.
func (d *Device) ReadBatch(fs []*link.Frame, wait time.Duration) (int, error) {
	if !d.wait.Enter() {
		return 0, link.ErrClosed
	}
	defer d.wait.Leave()
	d.wait.Begin(wait)
	// After a batch that was not full there is most likely nothing more yet:
	// then waiting first saves a system call.
	for tried := d.hungry; ; tried = true {
		if tried || wait == 0 {
			if n, err := d.receive(fs); n > 0 || err != nil {
				return n, err
			}
		}
		left, more := d.wait.Left()
		if !more {
			return 0, nil
		}
		if d.wait.Wait(d.fd, left) == waiter.Woken {
			return 0, d.closedErr()
		}
	}
}

func (d *Device) closedErr() error {
	if d.wait.Closed() {
		return link.ErrClosed
	}
	return nil
}

// receive reads what there is, without waiting.
func (d *Device) receive(fs []*link.Frame) (n int, err error) {
	bytes := 0
	d.hungry = true
	for range min(len(fs), link.BatchSize) {
		f := fs[n]
		f.Reset()
		got, errno := d.in.readv(d.fd, f.Space(), d.headerLen)
		if errno == unix.EAGAIN {
			d.hungry = false
			break
		}
		if errno != 0 && errno != unix.EINVAL {
			err = fmt.Errorf("tun: read %s: %w", d.name, errno)
			break
		}
		if why, ok := d.accept(f, got, errno); !ok {
			d.counters.Dropped(why, 1)
			continue
		}
		bytes += f.Len()
		n++
	}
	d.counters.Received(n, bytes)
	if n > 0 {
		return n, nil // the error will be there the next time
	}
	return 0, err
}

// accept completes a packet of which got bytes were read, or says why not.
func (d *Device) accept(f *wire.Frame, got int, errno unix.Errno) (why link.Drop, ok bool) {
	size := got - d.headerLen
	switch {
	case errno == unix.EINVAL: // a super-frame of a kind that the header cannot express
		return link.DropOffload, false
	case size < 0 || size >= f.Cap(): // the kernel does not say what it cut off
		return link.DropTruncated, false
	}
	f.Medium = wire.IP
	f.SetLen(size)
	if d.headerLen > 0 && !vnet.Decode(d.in.vnet[:], f) {
		return link.DropOffload, false
	}
	return 0, true
}

// writer writes packets to the device.
type writer struct {
	d     *Device
	out   vector
	room  [1]unix.PollFd
	pause unix.Timespec
}

// NewWriter implements link.Device.
func (d *Device) NewWriter() link.Writer {
	w := &writer{d: d}
	w.out.init()
	return w
}

// WriteBatch implements link.Writer.
func (w *writer) WriteBatch(fs []*link.Frame) (sent int, err error) {
	if !w.d.wait.Enter() {
		return 0, link.ErrClosed
	}
	defer w.d.wait.Leave()
	bytes, retries := 0, maxRetries
	for _, f := range fs {
		if errno := w.write(f, &retries); errno != 0 {
			err = fmt.Errorf("%s: %w", w.d.name, errno)
			w.d.counters.Dropped(reason(errno), 1)
			continue
		}
		sent, bytes = sent+1, bytes+f.Len()
	}
	w.d.counters.Sent(sent, bytes)
	return sent, err
}

// write writes one packet. While there is no room it uses up retries.
func (w *writer) write(f *link.Frame, retries *int) unix.Errno {
	if w.d.headerLen > 0 {
		vnet.Encode(w.out.vnet[:], f)
	} else if f.GSO != wire.GSONone || !vnet.Complete(f) {
		return unix.EINVAL
	}
	for {
		errno := w.out.writev(w.d.fd, f.Bytes(), w.d.headerLen)
		if !passing(errno) || *retries == 0 {
			return errno
		}
		*retries--
		w.awaitRoom()
	}
}

// passing errors are worth another try.
func passing(errno unix.Errno) bool {
	return errno == unix.EINTR || errno == unix.EAGAIN || errno == unix.ENOBUFS
}

func (w *writer) awaitRoom() {
	w.pause = unix.Timespec{Nsec: retryPauseNs}
	w.room[0] = unix.PollFd{Fd: int32(w.d.fd), Events: unix.POLLOUT}
	_, _ = unix.Ppoll(w.room[:], &w.pause, nil)
}

func reason(errno unix.Errno) link.Drop {
	switch errno {
	case unix.EINVAL:
		return link.DropRefused
	case unix.EMSGSIZE, unix.E2BIG:
		return link.DropTooLong
	case unix.ENOMEM:
		return link.DropNoMemory
	case unix.EAGAIN, unix.ENOBUFS:
		return link.DropNoBuffer
	case unix.EIO, unix.EBADFD, unix.EBADF:
		return link.DropLinkDown
	}
	return link.DropError
}
