package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"usvs/clock"
	"usvs/wire"
)

const (
	// minBackoff and maxBackoff bound the pause after a device's read error.
	minBackoff = 5 * time.Millisecond
	maxBackoff = 100 * time.Millisecond

	// logEvery is the pause between two messages about the same kind of error.
	logEvery = time.Second
)

// PumpConfig is what a Pump works with.
type PumpConfig struct {
	Device  Device
	Handler Handler // this pump's own worker
	Clock   clock.Clock

	// Port is what Device is called in Frame.Port; received frames get it.
	Port int

	// Writers holds, for every port, this pump's own writer: they are not
	// shared. A nil entry is a port that cannot be sent on.
	Writers []Writer

	// Host takes frames for the host's own stack; nil if there is no way there.
	Host Writer

	// OnThread is called once on the pump's own thread, which is locked and ends
	// with Run, before the first frame; nil: the thread is as good as any other.
	OnThread func() error

	Log *slog.Logger // nil: silent
}

// Pump moves frames from one device through a handler to the devices they are
// sent on.
type Pump struct {
	cfg      PumpConfig
	frames   []*Frame   // the receive batch
	groups   [][]*Frame // Output.Tx by port, each in its order
	out      Output
	counters Counters

	now      clock.Instant // when the present batch came
	next     clock.Instant // when the handler wants its next Tick
	backoff  time.Duration // after a read error; 0: the last read went well
	readLog  limiter
	writeLog limiter
}

// NewPump returns a pump that waits for Run.
func NewPump(cfg PumpConfig) *Pump {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pump{cfg: cfg, frames: make([]*Frame, BatchSize), groups: make([][]*Frame, len(cfg.Writers))}
	for i := range p.frames {
		p.frames[i] = wire.NewFrame(wire.MaxFrame)
	}
	for i := range p.groups {
		p.groups[i] = make([]*Frame, 0, 2*BatchSize)
	}
	return p
}

// Stats are the pump's counters: the frames read, and those that no writer
// took. It may be called at any time.
func (p *Pump) Stats() Stats { return p.counters.Read() }

// Run pumps until ctx is done or the device is closed, which is no error. A
// device that fails is tried again, ever more slowly.
//
// The handler's Tick is called at start, when it is due, and after a Wake of
// the device: who wants the handler's attention calls that.
func (p *Pump) Run(ctx context.Context) error {
	if p.cfg.Device == nil || p.cfg.Handler == nil || p.cfg.Clock == nil {
		return errors.New("link: pump needs a device, a handler and a clock")
	}
	runtime.LockOSThread()
	if p.cfg.OnThread == nil {
		defer runtime.UnlockOSThread()
	} else if err := p.cfg.OnThread(); err != nil {
		return fmt.Errorf("link: prepare the pump's thread: %w", err)
	}
	stop := context.AfterFunc(ctx, p.cfg.Device.Wake)
	defer stop()

	p.now = p.cfg.Clock.Now()
	p.tick()
	for ctx.Err() == nil {
		if err := p.step(ctx); err != nil {
			return nil
		}
	}
	return nil
}

// step moves one batch. It fails only when the device is closed.
func (p *Pump) step(ctx context.Context) error {
	n, err := p.cfg.Device.ReadBatch(p.frames, p.patience())
	if errors.Is(err, ErrClosed) {
		return err
	}
	p.now = p.cfg.Clock.Now()
	if err != nil {
		p.readFailed(ctx, err)
	} else {
		p.backoff = 0
	}
	if n > 0 {
		p.handle(p.frames[:n])
	}
	if idle := n == 0 && err == nil; idle || !p.now.Before(p.next) {
		p.tick()
	}
	return nil
}

// patience is how long the handler can wait for its next Tick: negative, for
// ever. It is too long by what the handler spent on the present batch, which
// is less than a clock reading per batch is worth.
func (p *Pump) patience() time.Duration {
	if p.next == clock.Never {
		return -1
	}
	return max(p.next.Sub(p.now), 0)
}

func (p *Pump) handle(batch []*Frame) {
	bytes := 0
	for _, f := range batch {
		f.Port = p.cfg.Port
		bytes += f.Len()
	}
	p.counters.Received(len(batch), bytes)
	for len(batch) > 0 {
		n := share(batch)
		p.out.Reset()
		p.next = p.next.Min(p.cfg.Handler.Handle(p.now, batch[:n], &p.out))
		p.flush()
		batch = batch[n:]
	}
}

// pieceBytes is what share takes a piece of a packet that is cut to hold.
const pieceBytes = 512

// share is how many frames of a batch the handler gets at once: as many as do
// not use up the output's frames even if each is cut to pieces.
func share(batch []*Frame) int {
	left := MaxExtra
	for i, f := range batch {
		if left -= 2 + pieces(f); left < 0 && i > 0 {
			return i
		}
	}
	return len(batch)
}

func pieces(f *Frame) int {
	if f.GSO != wire.GSONone && f.GSOSize > 0 {
		return f.Len() / int(f.GSOSize)
	}
	return f.Len() / pieceBytes
}

func (p *Pump) tick() {
	p.out.Reset()
	p.next = p.cfg.Handler.Tick(p.now, &p.out)
	p.flush()
}

// flush sends what the handler put out, one write per device.
func (p *Pump) flush() {
	if !p.flushTogether() {
		p.flushGroups()
	}
	switch {
	case len(p.out.Host) == 0:
	case p.cfg.Host == nil:
		p.counters.Dropped(DropNoHost, len(p.out.Host))
	default:
		p.write(p.cfg.Host, p.out.Host)
	}
}

// flushTogether sends the frames if all are for one device, as most often.
func (p *Pump) flushTogether() bool {
	fs := p.out.Tx
	if len(fs) == 0 {
		return true
	}
	port := fs[0].Port
	for _, f := range fs[1:] {
		if f.Port != port {
			return false
		}
	}
	w := p.writer(port)
	if w == nil {
		return false
	}
	p.write(w, fs)
	return true
}

// writer is a port's, or nil if there is none.
func (p *Pump) writer(port int) Writer {
	if port < 0 || port >= len(p.cfg.Writers) {
		return nil
	}
	return p.cfg.Writers[port]
}

// flushGroups sorts the frames by device.
func (p *Pump) flushGroups() {
	for _, f := range p.out.Tx {
		if p.writer(f.Port) == nil {
			p.counters.Dropped(DropNoPort, 1)
			continue
		}
		p.groups[f.Port] = append(p.groups[f.Port], f)
	}
	for port, fs := range p.groups {
		if len(fs) > 0 {
			p.write(p.cfg.Writers[port], fs)
			p.groups[port] = fs[:0]
		}
	}
}

func (p *Pump) write(w Writer, fs []*Frame) {
	sent, err := w.WriteBatch(fs)
	if sent < len(fs) {
		p.counters.Dropped(DropUnsent, len(fs)-sent)
	}
	if err != nil && p.writeLog.allow(p.now) {
		p.cfg.Log.Warn("frames not sent", "unsent", len(fs)-sent, "err", err)
	}
}

// readFailed logs and waits, but not past the handler's next Tick.
func (p *Pump) readFailed(ctx context.Context, err error) {
	if p.readLog.allow(p.now) {
		p.cfg.Log.Error("cannot read frames", "device", p.cfg.Device.Name(), "err", err)
	}
	p.backoff = min(max(2*p.backoff, minBackoff), maxBackoff)
	pause := p.backoff
	if p.next != clock.Never {
		pause = min(pause, max(p.next.Sub(p.now), minBackoff))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	p.now = p.cfg.Clock.Now()
}

// limiter lets a message through once per logEvery.
type limiter struct{ next clock.Instant }

func (l *limiter) allow(now clock.Instant) bool {
	if now.Before(l.next) {
		return false
	}
	l.next = now.Add(logEvery)
	return true
}
