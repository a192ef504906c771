package afxdp

import (
	"time"

	"usvs/link"
	"usvs/link/internal/waiter"
)

const (
	// lookEvery is how often a device without a link looks for it.
	lookEvery = 100 * time.Millisecond

	// otherEvery is how many batches full of taken frames may pass before the
	// others get their turn.
	otherEvery = 8
)

// ReadBatch implements link.Device. It may exchange the entries of fs.
func (d *Device) ReadBatch(fs []*link.Frame, wait time.Duration) (int, error) {
	if !d.wait.Enter() {
		return 0, link.ErrClosed
	}
	defer d.wait.Leave()
	d.wait.Begin(wait)
	others := wait == 0 // there is something, or might be, in the packet socket
	for {
		if n, err := d.receive(fs, others); n > 0 || err != nil {
			return n, err
		}
		left, more := d.wait.Left()
		if !more {
			return 0, nil
		}
		if d.lost() && (left < 0 || left > lookEvery) {
			left = lookEvery
		}
		if d.wait.WaitAny(d.fds, left) == waiter.Woken {
			return 0, d.closedErr()
		}
		others = d.fds[1].Revents != 0 || d.lost()
	}
}

func (d *Device) closedErr() error {
	if d.wait.Closed() {
		return link.ErrClosed
	}
	return nil
}

// receive takes what waits in the queues, and then in the packet socket if it
// may have something or has not been asked for a while.
func (d *Device) receive(fs []*link.Frame, others bool) (n int, err error) {
	n = d.take(fs)
	if n == len(fs) || !others && (n == 0 || d.turn%otherEvery != 0) {
		return n, nil
	}
	more, err := d.pkt.ReadBatch(fs[n:], 0)
	d.down.Store(d.pkt.Down())
	d.follow()
	return n + more, err
}

// lost reports whether the interface has to be looked for.
func (d *Device) lost() bool { return d.pending || d.pkt.Down() }
