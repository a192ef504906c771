package waiter

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Event is what ended a Wait.
type Event uint8

const (
	Nothing Event = iota // the time is up, or a signal came: look at Left
	Ready                // the descriptor has something to say
	Woken                // Wake or Close was called
)

// Waiter guards the descriptors of one device. One goroutine at a time may
// call Begin, Left and Wait; everything else may be called by any.
type Waiter struct {
	wakeFd  int
	release func()
	once    sync.Once
	state   atomic.Int64 // 2 for each call inside, plus 1 once closed

	// Owned by the waiting goroutine.
	patience time.Duration
	deadline time.Time // zero: the time does not run yet
	fds      [2]unix.PollFd
	ts       unix.Timespec
	word     [8]byte
}

// New returns a waiter. It calls release when the waiter is closed and nobody
// is inside any more.
func New(release func()) (*Waiter, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &Waiter{wakeFd: fd, release: release}, nil
}

// Enter begins a call that uses descriptors; false means closed.
func (w *Waiter) Enter() bool {
	if w.state.Add(2)&1 == 0 {
		return true
	}
	w.Leave()
	return false
}

// Leave ends such a call.
func (w *Waiter) Leave() {
	if w.state.Add(-2) == 1 {
		w.once.Do(func() {
			w.release()
			unix.Close(w.wakeFd)
		})
	}
}

// Close forbids further calls, wakes the one that waits, and reports whether
// it was the first to close.
func (w *Waiter) Close() bool {
	w.state.Add(2)
	defer w.Leave()
	if w.state.Or(1)&1 != 0 {
		return false
	}
	w.signal()
	return true
}

// Closed reports whether Close was called.
func (w *Waiter) Closed() bool { return w.state.Load()&1 != 0 }

// Wake makes the present or the next Wait return.
func (w *Waiter) Wake() {
	if w.Enter() {
		w.signal()
		w.Leave()
	}
}

var one = [8]byte{1}

// signal makes the eventfd readable. EAGAIN would mean that it is already.
func (w *Waiter) signal() { _, _ = unix.Write(w.wakeFd, one[:]) }

// Begin says how long the waiting goroutine is going to wait, in as many Waits
// as it takes; negative means for ever. The time runs from the first Left.
func (w *Waiter) Begin(patience time.Duration) { w.patience, w.deadline = patience, time.Time{} }

// Left is how much of that time is left, and whether any is.
func (w *Waiter) Left() (time.Duration, bool) {
	if w.patience <= 0 {
		return w.patience, w.patience < 0
	}
	if w.deadline.IsZero() {
		w.deadline = time.Now().Add(w.patience)
		return w.patience, true
	}
	left := time.Until(w.deadline)
	return left, left > 0
}

// Wait waits for fd to become readable; negative, for no descriptor. A wake-up
// comes before data, or data that nobody wants could hide it for ever.
func (w *Waiter) Wait(fd int, patience time.Duration) Event {
	w.fds = [2]unix.PollFd{{}, {Fd: int32(fd), Events: unix.POLLIN}}
	return w.WaitAny(w.fds[:], patience)
}

// WaitAny waits for any of several descriptors, as Wait does. The first element
// of fds is the waiter's own; the others say what happened to them.
func (w *Waiter) WaitAny(fds []unix.PollFd, patience time.Duration) Event {
	var ts *unix.Timespec
	if patience >= 0 {
		w.ts = unix.NsecToTimespec(int64(patience))
		ts = &w.ts
	}
	fds[0] = unix.PollFd{Fd: int32(w.wakeFd), Events: unix.POLLIN}
	n, err := unix.Ppoll(fds, ts, nil)
	switch {
	case err != nil || n == 0:
		return Nothing
	case fds[0].Revents == 0:
		return Ready
	}
	_, _ = unix.Read(w.wakeFd, w.word[:])
	return Woken
}
