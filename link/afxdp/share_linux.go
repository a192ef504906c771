package afxdp

import (
	"time"

	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/internal/waiter"
	"usvs/wire"
)

// reader is one goroutine's share of a device: every queue whose number, divided
// by how many share, leaves the reader's as the remainder.
type reader struct {
	d          *Device
	wait       *waiter.Waiter
	number, of int

	// Owned by the goroutine in ReadBatch.
	turn    uint          // counts batches
	watched *queueSet     // what fds are of
	fds     []unix.PollFd // to wait for: the waiter's, the first reader's packet socket, the queues
}

// watch makes fds those of the present set of queues, and returns it.
func (r *reader) watch() *queueSet {
	set := r.d.set.Load()
	if set == r.watched && r.fds != nil {
		return set
	}
	r.watched, r.fds = set, append(r.fds[:0], unix.PollFd{})
	if r.number == 0 {
		r.fds = append(r.fds, unix.PollFd{Fd: int32(r.d.pkt.Descriptor()), Events: unix.POLLIN})
	}
	for _, q := range set.share(r) {
		r.fds = append(r.fds, unix.PollFd{Fd: int32(q.fd), Events: unix.POLLIN})
	}
	return set
}

// share is the reader's part of the queues.
func (s *queueSet) share(r *reader) (list []*queue) {
	if s == nil {
		return nil
	}
	for i := r.number; i < len(s.queues); i += r.of {
		list = append(list, s.queues[i])
	}
	return list
}

// take takes what waits in the reader's queues, another one first each time.
func (r *reader) take(fs []*link.Frame) (n int) {
	r.turn++
	set := r.watch()
	if set == nil || r.number >= len(set.queues) {
		return 0
	}
	mine := (len(set.queues)-1-r.number)/r.of + 1
	for i := range mine {
		q := set.queues[r.number+(i+int(r.turn%uint(mine)))%mine*r.of]
		if q.reading.CompareAndSwap(false, true) {
			n += q.receive(fs[n:], &r.d.counters)
			q.reading.Store(false)
		}
	}
	return n
}

// Share returns the device and n-1 more, each for a goroutine of its own, which
// share the receive queues. What comes by the packet socket is the first one's,
// as is everything if there is but one queue. It is called once, before anything
// is read. Closing the device ends the others' reading as well.
func (d *Device) Share(n int) ([]link.Device, error) {
	list := []link.Device{d}
	d.of = max(n, 1)
	for i := 1; i < n; i++ {
		m := &member{reader{d: d, number: i, of: n}}
		var err error
		if m.wait, err = waiter.New(func() {}); err != nil {
			return nil, err
		}
		d.members, list = append(d.members, m), append(list, m)
	}
	return list, nil
}

// member is a further device on the interface, which reads its share.
type member struct{ reader }

var _ link.Device = (*member)(nil)

func (m *member) Name() string { return m.d.Name() }

func (m *member) Medium() wire.Medium { return wire.Ethernet }

func (m *member) NewWriter() link.Writer { return m.d.NewWriter() }

// ReadBatch implements link.Device.
func (m *member) ReadBatch(fs []*link.Frame, wait time.Duration) (int, error) {
	if !m.wait.Enter() {
		return 0, link.ErrClosed
	}
	defer m.wait.Leave()
	if !m.d.wait.Enter() {
		return 0, link.ErrClosed
	}
	defer m.d.wait.Leave()
	m.wait.Begin(wait)
	for {
		if n := m.take(fs); n > 0 {
			return n, nil
		}
		left, more := m.wait.Left()
		if !more {
			return 0, nil
		}
		if m.wait.WaitAny(m.fds, left) != waiter.Woken {
			continue
		}
		if m.wait.Closed() || m.d.wait.Closed() {
			return 0, link.ErrClosed
		}
		return 0, nil
	}
}

func (m *member) Wake() { m.wait.Wake() }

// Close ends the member's reading. Its queues fill up and drop.
func (m *member) Close() error {
	if !m.wait.Close() {
		return link.ErrClosed
	}
	return nil
}

// wakeMembers makes those who share look around.
func (d *Device) wakeMembers() {
	for _, m := range d.members {
		m.Wake()
	}
}
