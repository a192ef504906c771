package netns

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"

	"usvs/link"
	"usvs/scenario"
	"usvs/wire"
)

// fabric is all switches of a scenario and the cables to their machines.
type fabric struct {
	start time.Time

	mu      sync.Mutex
	draw    *rand.Rand
	learned map[station]*plug
	plugs   []*plug
	flying  flights // what is delayed on a cable
	flown   uint64  // how many flights began
	timer   *time.Timer
	last    time.Duration // when a frame last passed anywhere
	closed  bool

	readers sync.WaitGroup
}

// station is a MAC address on a segment.
type station struct {
	segment string
	mac     wire.MAC
}

// plug is the switch's end of a machine's cable.
type plug struct {
	machine scenario.Interface
	segment string
	dev     link.Device
	writer  link.Writer // guarded by fabric.mu, as all below
	link    scenario.LinkState
	busy    map[scenario.Direction]time.Duration // until when a slow cable is
	frames  []scenario.Frame
	scratch *link.Frame
}

func newFabric(seed uint64) *fabric {
	f := &fabric{start: time.Now(), draw: rand.New(rand.NewPCG(seed, 0)), learned: map[station]*plug{}}
	f.timer = time.AfterFunc(time.Hour, f.land)
	return f
}

// now is the time since the fabric was made.
func (f *fabric) now() time.Duration { return time.Since(f.start) }

// plugIn connects a machine's interface by a device at the switch's end. What
// was plugged in before carry begins is heard by all.
func (f *fabric) plugIn(machine scenario.Interface, segment string, dev link.Device) *plug {
	p := &plug{
		machine: machine, segment: segment, dev: dev, writer: dev.NewWriter(),
		busy: map[scenario.Direction]time.Duration{}, scratch: wire.NewFrame(wire.MaxFrame),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plugs = append(f.plugs, p)
	return p
}

// carry begins to carry frames.
func (f *fabric) carry() {
	for _, p := range f.plugs {
		f.readers.Go(func() { f.read(p) })
	}
}

// close ends it. The devices are closed.
func (f *fabric) close() {
	f.mu.Lock()
	f.closed = true
	f.timer.Stop()
	f.mu.Unlock()
	for _, p := range f.plugs {
		_ = p.dev.Close()
	}
	f.readers.Wait()
}

// read takes what the machine sends, until the device is closed.
func (f *fabric) read(p *plug) {
	batch := make([]*link.Frame, link.BatchSize)
	for i := range batch {
		batch[i] = wire.NewFrame(wire.MaxFrame)
	}
	for {
		n, err := p.dev.ReadBatch(batch, time.Second)
		f.mu.Lock()
		if f.closed || err != nil {
			f.mu.Unlock()
			return
		}
		for _, frame := range batch[:n] {
			f.sent(p, append([]byte(nil), frame.Bytes()...))
		}
		f.mu.Unlock()
	}
}

// sent is a frame that a machine put on its cable.
func (f *fabric) sent(p *plug, data []byte) {
	if len(data) < wire.EthernetLen {
		return
	}
	p.record(f.now(), scenario.Out, data)
	f.cross(p, scenario.Out, data)
}

// arrive is a frame at the end of a cable.
func (f *fabric) arrive(p *plug, dir scenario.Direction, data []byte) {
	f.last = f.now()
	if dir == scenario.Out {
		f.forward(p, data)
		return
	}
	p.record(f.last, scenario.In, data)
	p.scratch.Reset()
	copy(p.scratch.Space(), data)
	p.scratch.SetLen(len(data))
	_, _ = p.writer.WriteBatch([]*link.Frame{p.scratch}) // refused: lost, as on any wire
}

func (p *plug) record(at time.Duration, dir scenario.Direction, data []byte) {
	p.frames = append(p.frames, scenario.Frame{At: at, Dir: dir, Data: data, Len: len(data)})
}

// forward is what a switch does: it learns where the sender is, and sends to
// where the receiver is, or everywhere.
func (f *fabric) forward(from *plug, data []byte) {
	h := wire.EthernetHeader(data)
	if src := h.Src(); src[0]&1 == 0 {
		f.learned[station{from.segment, src}] = from
	}
	if to := f.learned[station{from.segment, h.Dst()}]; to != nil {
		if to != from {
			f.cross(to, scenario.In, data)
		}
		return
	}
	for _, to := range f.plugs {
		if to != from && to.segment == from.segment {
			f.cross(to, scenario.In, data)
		}
	}
}

// quiet waits until nothing has passed for so long, at most patience. What is
// still on its way counts as passing.
func (f *fabric) quiet(idle, patience time.Duration) {
	f.mu.Lock()
	f.last = f.now() // what was just sent has not been read yet
	f.mu.Unlock()
	for end := f.now() + patience; f.now() < end; {
		f.mu.Lock()
		left := f.last + idle - f.now()
		if len(f.flying) > 0 { // however late: a busy machine lands it in the end
			left = idle + max(f.flying[0].due-f.now(), 0)
		}
		f.mu.Unlock()
		if left <= 0 {
			return
		}
		time.Sleep(min(left, end-f.now()))
	}
}

// flight is a frame that takes its time on a cable.
type flight struct {
	due   time.Duration
	order uint64 // among those of one time
	p     *plug
	dir   scenario.Direction
	data  []byte
}

// take puts a frame on a cable for so long.
func (f *fabric) take(p *plug, dir scenario.Direction, data []byte, wait time.Duration) {
	if wait <= 0 {
		f.arrive(p, dir, data)
		return
	}
	f.flown++
	heap.Push(&f.flying, flight{f.now() + wait, f.flown, p, dir, data})
	f.timer.Reset(f.flying[0].due - f.now())
}

// land delivers what is due.
func (f *fabric) land() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.closed && len(f.flying) > 0 && f.flying[0].due <= f.now() {
		x := heap.Pop(&f.flying).(flight)
		f.arrive(x.p, x.dir, x.data)
	}
	if !f.closed && len(f.flying) > 0 {
		f.timer.Reset(f.flying[0].due - f.now())
	}
}

// flights is a heap, the earliest on top.
type flights []flight

func (q flights) Len() int      { return len(q) }
func (q flights) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q flights) Less(i, j int) bool {
	return q[i].due < q[j].due || q[i].due == q[j].due && q[i].order < q[j].order
}
func (q *flights) Push(x any) { *q = append(*q, x.(flight)) }
func (q *flights) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = flight{}
	*q = (*q)[:last]
	return x
}
