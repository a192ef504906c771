package testbed

import (
	"fmt"
	"time"

	"usvs/clock"
	"usvs/link"
	"usvs/wire"
)

// Now is what time it is for the director.
func (b *Bed) Now() clock.Instant { return b.now }

// Handle gives the worker the first n frames of Batch, and Tick if that is due.
// It returns how long that took. What came of it is in Out.
func (b *Bed) Handle(n int) time.Duration {
	b.Out.Reset()
	begin := time.Now()
	next := b.Worker.Handle(b.now, b.Batch[:n], &b.Out)
	if b.next = b.next.Min(next); b.next <= b.now {
		b.next = b.Worker.Tick(b.now, &b.Out)
	}
	return time.Since(begin)
}

// frameGap is how much later each frame comes than the one before: a million a
// second.
const frameGap = time.Microsecond

// Fill makes the first frames of Batch those of the first of flows, as many as
// there is room for, and returns how many. They come one after the other.
func (b *Bed) Fill(s *Stream, flows []uint32, flags uint8) int {
	n := min(len(flows), len(b.Batch))
	for i, flow := range flows[:n] {
		s.Fill(b.Batch[i], flow, flags)
	}
	b.now = b.now.Add(time.Duration(n) * frameGap)
	return n
}

// AllSent reports an error unless the last call sent n frames on.
func (b *Bed) AllSent(n int) error {
	if len(b.Out.Tx) < n {
		return fmt.Errorf("%d of %d frames were sent on: %v", len(b.Out.Tx), n, b.Director.Counters())
	}
	return nil
}

// Pass sends one frame of each of flows through the director, in batches, and
// returns how long the director took. Every frame must be sent on.
func (b *Bed) Pass(s *Stream, flows []uint32, flags uint8) (took time.Duration, err error) {
	for len(flows) > 0 && err == nil {
		n := b.Fill(s, flows, flags)
		flows = flows[n:]
		took += b.Handle(n)
		err = b.AllSent(n)
	}
	return took, err
}

// Establish opens a connection for each of flows and completes its handshake.
func (b *Bed) Establish(s *Stream, flows []uint32) error {
	for _, flags := range []uint8{wire.FlagSYN, wire.FlagACK} {
		if _, err := b.Pass(s, flows, flags); err != nil {
			return err
		}
	}
	return nil
}

// Expire lets d pass and ends what is over by then, in calls of Tick, each of
// which timed makes.
func (b *Bed) Expire(d time.Duration, timed func(tick func())) {
	tick := func() { b.next = b.Worker.Tick(b.now, &b.Out) }
	for end := b.now.Add(d); ; b.now = max(b.now, b.next) {
		b.Out.Reset()
		if timed(tick); b.next > end {
			b.now = end
			return
		}
	}
}

// Trim has the table give back what it does not need any more, as a director's
// owner does now and then.
func (b *Bed) Trim() {
	for more := true; more; {
		_, more = b.Table.Trim(1 << 16)
	}
}

// Untimed makes a call.
func Untimed(call func()) { call() }

// Frame is the i-th frame that the last call sent.
func (b *Bed) Frame(i int) *link.Frame { return b.Out.Tx[i] }
