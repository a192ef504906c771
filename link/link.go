package link

import (
	"time"

	"usvs/clock"
	"usvs/wire"
)

// Frame is one packet with the device's metadata.
type Frame = wire.Frame

// BatchSize is how many frames a pump reads and a device writes at a time.
const BatchSize = 64

// Writer sends frames on one device. It is owned by one goroutine.
type Writer interface {
	// WriteBatch sends fs in order. A frame that cannot be sent is counted by
	// the device and skipped; the others are sent all the same. The error is
	// for the log: it says what the last refused frame was refused for.
	WriteBatch(fs []*Frame) (sent int, err error)
}

// Device is a network interface.
type Device interface {
	Name() string
	Medium() wire.Medium
	// ReadBatch waits until a frame arrives, at most wait (negative: for ever),
	// and fills up to len(fs) frames; it may exchange fs's entries. It returns 0 and no error when the time
	// is up or Wake was called; an error when the device is gone for good or closed.
	ReadBatch(fs []*Frame, wait time.Duration) (int, error)
	// Wake makes a waiting ReadBatch return soon. Anyone may call it.
	Wake()
	// NewWriter returns a writer for one goroutine.
	NewWriter() Writer
	Close() error
}

// Output collects what a handler wants done with a batch. The frames it lists
// are valid until Reset.
type Output struct {
	Tx   []*Frame // send on the interface Frame.Port
	Host []*Frame // hand to the host's own stack: it was kept from seeing them, or they are for a local server
	Pass []*Frame // declined; the host's own stack saw them already. A simulated host takes them from here

	pool []*Frame
	used int
}

// MaxExtra bounds how many frames of its own a handler may add to one batch.
const MaxExtra = 1024

// New returns an empty frame from the output's pool, or nil once MaxExtra
// frames were taken since Reset.
func (o *Output) New() *Frame {
	if o.used == len(o.pool) {
		if o.used == MaxExtra {
			return nil
		}
		o.pool = append(o.pool, wire.NewFrame(wire.MaxFrame))
	}
	f := o.pool[o.used]
	o.used++
	f.Reset()
	return f
}

// Reset forgets all frames.
func (o *Output) Reset() { o.Tx, o.Host, o.Pass, o.used = o.Tx[:0], o.Host[:0], o.Pass[:0], 0 }

// Handler is the director as a pump sees it: one worker's view.
type Handler interface {
	// Handle takes a batch and appends to out. Frames of the batch may be
	// changed in place and appear in out. It returns when it wants Tick to be
	// called: a batch may make something due sooner than the last Tick said.
	Handle(now clock.Instant, batch []*Frame, out *Output) clock.Instant
	// Tick does timed work, bounded, and returns when it wants to be called again.
	Tick(now clock.Instant, out *Output) clock.Instant
}
