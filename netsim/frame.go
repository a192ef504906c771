package netsim

import (
	"usvs/clock"
	"usvs/wire"
)

// frame is a frame in flight, on loan from the Net's pool.
type frame struct {
	wire.Frame
	to   *Port   // where it arrives
	rec  *Record // nil if nobody looks
	hops uint8   // switches it has passed

	// While it is under way:
	at    clock.Instant // when it arrives
	seq   uint64
	chain *fifo
	next  *frame // behind it in the chain
}

// smallFrame is how long the frames of the pool are; longer ones are made when
// they are needed. It takes an Ethernet frame of 1500 bytes and a tunnel header.
const smallFrame = 2048 - wire.Headroom

// pool keeps frames that nobody uses.
type pool struct {
	free []*frame
	long []*frame // of wire.MaxFrame bytes
}

// frame returns an empty frame that takes size bytes.
func (n *Net) frame(size int) *frame {
	list, room := &n.pool.free, smallFrame
	if size > smallFrame {
		list, room = &n.pool.long, wire.MaxFrame
	}
	if k := len(*list); k > 0 {
		f := (*list)[k-1]
		*list = (*list)[:k-1]
		return f
	}
	return &frame{Frame: *wire.NewFrame(room)}
}

// copyOf returns a frame that carries b.
func (n *Net) copyOf(b []byte) *frame {
	f := n.frame(len(b))
	f.SetBytes(b)
	return f
}

// release gives a frame back.
func (n *Net) release(f *frame) {
	f.Reset()
	f.to, f.rec, f.hops = nil, nil, 0
	if f.Cap() > smallFrame {
		n.pool.long = append(n.pool.long, f)
		return
	}
	n.pool.free = append(n.pool.free, f)
}

// arrive ends a frame's way: over a link, or within a host.
func (f *frame) arrive() {
	if l := f.to.link; l != nil {
		l.arrive(f)
		return
	}
	f.to.take(f)
}
