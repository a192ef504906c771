package afxdp

import (
	"cmp"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/vnet"
	"usvs/wire"
)

const (
	// maxRetries bounds how often a batch waits for room to send. With
	// retryPauseNs it bounds how long a congested device stalls a pump.
	maxRetries = 10

	retryPauseNs = 200_000
)

// writer sends what it can through an XDP socket and the rest, in its turn,
// through the packet socket.
type writer struct {
	d     *Device
	slow  link.Writer
	pause unix.Timespec
}

// NewWriter implements link.Device.
func (d *Device) NewWriter() link.Writer { return &writer{d: d, slow: d.pkt.NewWriter()} }

// WriteBatch implements link.Writer. It finishes the checksums of frames.
func (w *writer) WriteBatch(fs []*link.Frame) (sent int, err error) {
	if !w.d.wait.Enter() {
		return 0, link.ErrClosed
	}
	defer w.d.wait.Leave()
	q := w.d.seize()
	if q == nil {
		return w.slow.WriteBatch(fs)
	}
	defer q.busy.Store(false)
	for len(fs) > 0 {
		run, fast := w.run(q, fs)
		n, e := 0, error(nil)
		if fast {
			n, e = w.send(q, run)
		} else {
			n, e = w.slow.WriteBatch(run)
		}
		if e != nil {
			err = e
		}
		sent += n
		fs = fs[len(run):]
	}
	return sent, err
}

// seize returns a queue whose sending half is the caller's until it resets
// busy; nil: none is free, or the link is down and the packet socket says so.
func (d *Device) seize() *queue {
	if set := d.set.Load(); set != nil && !d.down.Load() {
		for _, q := range set.queues {
			if q.busy.CompareAndSwap(false, true) {
				return q
			}
		}
	}
	return nil
}

// run is the longest beginning of fs that goes one way.
func (w *writer) run(q *queue, fs []*link.Frame) (run []*link.Frame, fast bool) {
	fast = w.fits(q, fs[0])
	for i := 1; i < min(len(fs), link.BatchSize); i++ {
		if w.fits(q, fs[i]) != fast {
			return fs[:i], fast
		}
	}
	return fs[:min(len(fs), link.BatchSize)], fast
}

// fits reports whether an XDP socket can send the frame. The packet socket can
// cut super-frames, and knows how to refuse what is too long, too short or
// inconsistent.
func (w *writer) fits(q *queue, f *link.Frame) bool {
	return f.GSO == wire.GSONone && f.Len() >= wire.EthernetLen && f.Len() <= min(q.chunk, int(w.d.maxLen.Load())) &&
		!(f.Partial && int(f.CsumStart)+int(f.CsumOffset)+2 > f.Len())
}

// send puts frames into the ring and has the kernel send them. What finds no
// room before the patience ends is dropped. What is in the ring counts as sent,
// as on the ring of any interface.
func (w *writer) send(q *queue, fs []*link.Frame) (sent int, err error) {
	bytes, errno := 0, unix.Errno(0)
	for retries := 0; retries <= maxRetries; retries++ {
		if retries > 0 {
			w.rest()
		}
		q.reclaim()
		for sent < len(fs) && len(q.free) > 0 && q.tx.room() > 0 {
			bytes += q.put(fs[sent])
			sent++
		}
		q.tx.produced()
		if errno = q.flush(&w.d.counters); sent == len(fs) && errno == 0 || !passing(errno) {
			break
		}
	}
	w.d.counters.Sent(sent, bytes)
	if sent < len(fs) {
		w.d.counters.Dropped(reason(errno), len(fs)-sent)
		errno = cmp.Or(errno, unix.EAGAIN)
	} else if passing(errno) {
		return sent, nil
	}
	return sent, fmt.Errorf("%s: %w", w.d.Name(), errno)
}

// reclaim takes back the chunks of frames that were sent.
func (q *queue) reclaim() {
	n := q.done.filled()
	for range n {
		q.free = append(q.free, *q.done.next())
	}
	if n > 0 {
		q.done.consumed()
	}
}

// put adds a frame to the ring and returns its length.
func (q *queue) put(f *link.Frame) int {
	vnet.Complete(f)
	last := len(q.free) - 1
	addr := q.free[last]
	q.free = q.free[:last]
	n := copy(q.mem[addr:addr+uint64(q.chunk)], f.Bytes())
	*q.tx.next() = unix.XDPDesc{Addr: addr, Len: uint32(n)}
	return n
}

// flush has the kernel send what is in the ring. A socket that copies sends a
// few frames per call, and takes them out of the ring as it does.
func (q *queue) flush(counters *link.Counters) unix.Errno {
	for q.tx.pending() > 0 && q.tx.sleeps() {
		before := q.tx.pending()
		errno := kick(q.fd)
		if q.zeroCopy {
			return errno
		}
		progress := q.tx.pending() < before
		if errno == unix.EBUSY && progress {
			counters.Dropped(link.DropNoBuffer, 1) // the queue was full: one frame is gone
		}
		if errno != 0 && !(passing(errno) && progress) {
			return errno
		}
	}
	return 0
}

// rest gives the interface's queue a moment.
func (w *writer) rest() {
	w.pause = unix.Timespec{Nsec: retryPauseNs}
	_, _ = unix.Ppoll(nil, &w.pause, nil)
}

// passing errors are worth another try.
func passing(errno unix.Errno) bool {
	switch errno {
	case 0, unix.EAGAIN, unix.EBUSY, unix.ENOBUFS, unix.EINTR:
		return true
	}
	return false
}

func reason(errno unix.Errno) link.Drop {
	switch {
	case passing(errno):
		return link.DropNoBuffer
	case errno == unix.ENETDOWN || errno == unix.ENXIO || errno == unix.ENODEV:
		return link.DropLinkDown
	}
	return link.DropError
}

// retire keeps both halves of the queue for good.
func (q *queue) retire() {
	for _, half := range []*atomic.Bool{&q.busy, &q.reading} {
		for !half.CompareAndSwap(false, true) {
			runtime.Gosched()
		}
	}
}
