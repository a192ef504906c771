// Package linktest is the in-memory twin of the device backends, for tests:
// what one device of a pair sends, the other receives, metadata included.
//
// It uses channels and timers only, so it works under testing/synctest.
package linktest

import (
	"errors"
	"sync/atomic"
	"time"

	"usvs/link"
	"usvs/wire"
)

// QueueLen is how many frames wait for a reader before more are dropped.
const QueueLen = 4096

// ErrFull is the writer's error for a frame dropped because the peer does not read.
var ErrFull = errors.New("linktest: the peer's queue is full")

// Device is one end of a pair.
type Device struct {
	name     string
	medium   wire.Medium
	peer     *Device
	queue    chan *wire.Frame
	faults   chan error
	wake     chan struct{}
	closed   chan struct{}
	isClosed atomic.Bool
	refuse   atomic.Pointer[func(*link.Frame) error]
	counters link.Counters
}

// NewPair returns two joined devices.
func NewPair(a, b string, medium wire.Medium) (*Device, *Device) {
	da, db := newDevice(a, medium), newDevice(b, medium)
	da.peer, db.peer = db, da
	return da, db
}

func newDevice(name string, medium wire.Medium) *Device {
	return &Device{
		name:   name,
		medium: medium,
		queue:  make(chan *wire.Frame, QueueLen),
		faults: make(chan error, QueueLen),
		wake:   make(chan struct{}, 1),
		closed: make(chan struct{}),
	}
}

// Name implements link.Device.
func (d *Device) Name() string { return d.name }

// Medium implements link.Device.
func (d *Device) Medium() wire.Medium { return d.medium }

// Stats are the device's counters.
func (d *Device) Stats() link.Stats { return d.counters.Read() }

// FailRead makes one ReadBatch return err.
func (d *Device) FailRead(err error) { d.faults <- err }

// FailWrites makes the device's writers refuse frames for which refuse returns
// an error; nil stops that.
func (d *Device) FailWrites(refuse func(*link.Frame) error) {
	if refuse == nil {
		d.refuse.Store(nil)
		return
	}
	d.refuse.Store(&refuse)
}

// Inject makes the device receive a copy of f.
func (d *Device) Inject(f *link.Frame) error {
	g := wire.NewFrame(f.Len())
	g.CopyFrom(f)
	select {
	case d.queue <- g:
		return nil
	default:
		d.counters.Dropped(link.DropOverrun, 1)
		return ErrFull
	}
}

// InjectBytes makes the device receive a packet without metadata.
func (d *Device) InjectBytes(packet []byte) error {
	f := wire.NewFrame(len(packet))
	f.SetBytes(packet)
	return d.Inject(f)
}

// Take returns the next frame that d's peer sent, or nil if none comes within
// wait. It is ReadBatch for tests that want frames one by one.
func (d *Device) Take(wait time.Duration) *link.Frame {
	f := wire.NewFrame(wire.MaxFrame)
	n, err := d.ReadBatch([]*link.Frame{f}, wait)
	if n == 0 || err != nil {
		return nil
	}
	return f
}

// ReadBatch implements link.Device.
func (d *Device) ReadBatch(fs []*link.Frame, wait time.Duration) (int, error) {
	first, err := d.next(wait)
	if first == nil {
		return 0, err
	}
	n, bytes := 0, 0
	for f := first; f != nil; f = d.queued() {
		if f.Len() > fs[n].Cap() {
			d.counters.Dropped(link.DropTruncated, 1)
			continue
		}
		fs[n].CopyFrom(f)
		fs[n].Medium, fs[n].Port, fs[n].Mark = d.medium, 0, 0
		n, bytes = n+1, bytes+f.Len()
		if n == len(fs) {
			break
		}
	}
	d.counters.Received(n, bytes)
	return n, nil
}

func (d *Device) queued() *link.Frame {
	select {
	case f := <-d.queue:
		return f
	default:
		return nil
	}
}

// next waits for a frame; nil means that something else came first.
func (d *Device) next(wait time.Duration) (*link.Frame, error) {
	if d.isClosed.Load() {
		return nil, link.ErrClosed
	}
	if f := d.queued(); f != nil {
		return f, nil
	}
	select {
	case err := <-d.faults:
		return nil, err
	default:
	}
	var timeout <-chan time.Time
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case f := <-d.queue:
		return f, nil
	case err := <-d.faults:
		return nil, err
	case <-d.closed:
		return nil, link.ErrClosed
	case <-d.wake:
	case <-timeout:
	}
	return nil, nil
}

// Wake implements link.Device.
func (d *Device) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Close implements link.Device.
func (d *Device) Close() error {
	if d.isClosed.Swap(true) {
		return link.ErrClosed
	}
	close(d.closed)
	return nil
}

// NewWriter implements link.Device.
func (d *Device) NewWriter() link.Writer { return &writer{d: d} }

type writer struct{ d *Device }

func (w *writer) WriteBatch(fs []*link.Frame) (sent int, err error) {
	if w.d.isClosed.Load() {
		return 0, link.ErrClosed
	}
	bytes := 0
	for _, f := range fs {
		if e := w.write(f); e != nil {
			err = e
			continue
		}
		sent, bytes = sent+1, bytes+f.Len()
	}
	w.d.counters.Sent(sent, bytes)
	return sent, err
}

func (w *writer) write(f *link.Frame) error {
	if refuse := w.d.refuse.Load(); refuse != nil {
		if err := (*refuse)(f); err != nil {
			w.d.counters.Dropped(link.DropError, 1)
			return err
		}
	}
	if err := w.d.peer.Inject(f); err != nil {
		w.d.counters.Dropped(link.DropNoBuffer, 1)
		return err
	}
	return nil
}
