package link

import (
	"errors"
	"sync/atomic"
)

// ErrClosed is what a closed device answers.
var ErrClosed = errors.New("link: device is closed")

// Drop is why a device or a pump did not pass a frame on.
type Drop uint8

// Reasons of devices, receiving.
const (
	DropOverrun   Drop = iota // the kernel dropped it: the receive buffer was full
	DropOtherHost             // addressed to another station
	DropOutgoing              // the host's own frame on its way out
	DropTruncated             // longer than a Frame
	DropOffload               // offload metadata that a Frame cannot express

	// Reasons of devices, sending.
	DropTooLong  // longer than the MTU, and no super-frame
	DropRefused  // the kernel takes it for malformed
	DropNoMemory // no memory, or a super-frame the kernel cannot segment
	DropNoBuffer // the send buffer or the queue stayed full
	DropLinkDown // the interface is down or gone
	DropError    // any other error

	// Reasons of pumps.
	DropNoPort // for a port that has no writer
	DropNoHost // for the host, and there is no hand-off
	DropUnsent // a writer did not take it; its device says why

	NumDrops
)

var dropNames = [NumDrops]string{
	"overrun", "other_host", "outgoing", "truncated", "offload",
	"too_long", "refused", "no_memory", "no_buffer", "link_down", "error",
	"no_port", "no_host", "unsent",
}

// String is the reason's counter name.
func (d Drop) String() string { return dropNames[d] }

// Counters count what passes a device or a pump. Any number of goroutines may
// count and read at the same time.
type Counters struct {
	rxFrames, rxBytes atomic.Uint64
	txFrames, txBytes atomic.Uint64
	drops             [NumDrops]atomic.Uint64
}

// Received counts a batch of received frames.
func (c *Counters) Received(frames, bytes int) {
	c.rxFrames.Add(uint64(frames))
	c.rxBytes.Add(uint64(bytes))
}

// Sent counts a batch of sent frames.
func (c *Counters) Sent(frames, bytes int) {
	c.txFrames.Add(uint64(frames))
	c.txBytes.Add(uint64(bytes))
}

// Dropped counts n frames dropped for one reason.
func (c *Counters) Dropped(why Drop, n int) { c.drops[why].Add(uint64(n)) }

// Read returns the values at this moment.
func (c *Counters) Read() Stats {
	s := Stats{
		RxFrames: c.rxFrames.Load(), RxBytes: c.rxBytes.Load(),
		TxFrames: c.txFrames.Load(), TxBytes: c.txBytes.Load(),
	}
	for i := range c.drops {
		s.Drops[i] = c.drops[i].Load()
	}
	return s
}

// Stats are the values of Counters at one moment. A super-frame counts as one
// frame.
type Stats struct {
	RxFrames, RxBytes uint64
	TxFrames, TxBytes uint64
	Drops             [NumDrops]uint64 // by reason
}

// Plus is the sum of two devices' counters.
func (s Stats) Plus(o Stats) Stats {
	s.RxFrames += o.RxFrames
	s.RxBytes += o.RxBytes
	s.TxFrames += o.TxFrames
	s.TxBytes += o.TxBytes
	for i, n := range o.Drops {
		s.Drops[i] += n
	}
	return s
}
