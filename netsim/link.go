package netsim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// LinkOptions are what a link does to frames, the same in both directions
// unless Link.SetFrom says otherwise. The zero value is a perfect link.
type LinkOptions struct {
	Name      string        // default: its two ports, joined by a dash
	Bandwidth int64         // bits per second; 0: no limit
	Queue     int           // bytes that wait for bandwidth; 0: 256 KiB. What exceeds it is lost
	Delay     time.Duration // from end to end
	Jitter    time.Duration // at most so much more, drawn for each frame; keeps the order
	Loss      float64       // probability that a frame is lost
	Duplicate float64       // ... arrives twice
	Corrupt   float64       // ... arrives with one bit wrong, past the FCS
	Reorder   float64       // ... arrives ReorderBy later, overtaken by others
	ReorderBy time.Duration // 0: one millisecond
	MTU       int           // longest IP packet carried; 0: no limit
}

const (
	defaultQueue     = 256 << 10
	defaultReorderBy = time.Millisecond
	tagLen           = wire.VLANLen // a tag does not count against the MTU
)

// Link joins two ports.
type Link struct {
	net  *Net
	name string
	ends [2]*Port
	dirs [2]direction // by the side that sends
	up   bool
}

// direction is one half of a link.
type direction struct {
	opts LinkOptions
	rand *rand.Rand // made when first drawn from
	cut  bool
	// under are the frames under way that will arrive in the order of sending.
	under fifo
	idle  clock.Instant // when what waits for bandwidth has been sent
	last  clock.Instant // the latest arrival so far, which later frames do not overtake
}

// Link joins two ports and returns the link, which is up.
func (n *Net) Link(a, b *Port, opts ...LinkOptions) *Link {
	l := &Link{net: n, ends: [2]*Port{a, b}, up: true}
	if len(opts) > 0 {
		l.Set(opts[0])
		l.name = opts[0].Name
	}
	if l.name == "" {
		l.name = a.String() + "-" + b.String()
	}
	for side, p := range l.ends {
		if p.link != nil {
			panic(fmt.Sprintf("netsim: %v has a link already", p))
		}
		p.link, p.side = l, side
	}
	n.links = append(n.links, l)
	return l
}

// Name is what the link is called.
func (l *Link) Name() string { return l.name }

// Ends are the ports it joins, in the order in which Net.Link was given them.
func (l *Link) Ends() (a, b *Port) { return l.ends[0], l.ends[1] }

// Options are those of the direction from the given end.
func (l *Link) Options(from *Port) LinkOptions { return l.dirs[from.side].opts }

// Set replaces the options of both directions; the name stays.
func (l *Link) Set(o LinkOptions) { l.dirs[0].opts, l.dirs[1].opts = o, o }

// SetFrom replaces the options for frames from one end.
func (l *Link) SetFrom(from *Port, o LinkOptions) { l.dirs[from.side].opts = o }

// Up reports whether the link is up.
func (l *Link) Up() bool { return l.up }

// SetUp takes the link down, which loses the frames on it, or up.
func (l *Link) SetUp(up bool) {
	if l.up == up {
		return
	}
	l.up = up
	l.net.logf("link "+l.name, "is %s", upDown(up))
	for _, p := range l.ends {
		if !up {
			p.lostCarrier()
		}
		if d, ok := p.node.(*Director); ok {
			d.interfacesChanged()
		}
	}
}

// lostCarrier makes a node forget what it learned at a port: a switch its
// stations, a host its neighbours.
func (p *Port) lostCarrier() {
	if s, ok := p.node.(*Switch); ok {
		s.forget(p)
	}
	if h := hostOf(p.node); h != nil {
		h.neigh.forget(p)
	}
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// Cut loses every frame from one end, or stops doing so. Neither end notices.
func (l *Link) Cut(from *Port, cut bool) {
	d := &l.dirs[from.side]
	if d.cut == cut {
		return
	}
	d.cut = cut
	what := "carries frames again"
	if cut {
		what = "is cut for frames"
	}
	l.net.logf("link "+l.name, "%s from %v", what, from)
}

// send takes a frame from one end.
func (l *Link) send(from *Port, f *frame) {
	d, n := &l.dirs[from.side], l.net
	f.to = l.ends[1-from.side]
	at, fate := d.arrival(l, from, f)
	if len(n.observers) > 0 {
		n.record(l, from, f, at, fate)
	}
	if fate != Delivered {
		n.lost(f)
		return
	}
	if d.draw(l, from, d.opts.Duplicate) {
		l.duplicate(from, f, at)
	}
	if d.draw(l, from, d.opts.Corrupt) {
		d.corrupt(f, d.stream(l, from))
	}
	n.queue.pushFrame(&d.under, at, f)
}

// arrival says when a frame that is sent now arrives, or why it does not.
func (d *direction) arrival(l *Link, from *Port, f *frame) (clock.Instant, Fate) {
	o := &d.opts
	switch {
	case !l.up || d.cut:
		return clock.Never, Cut
	case o.MTU > 0 && f.Len() > o.MTU+wire.EthernetLen+tagLen:
		return clock.Never, TooLong
	}
	at, ok := d.transmit(l.net.now, f.Len())
	if !ok {
		return clock.Never, Overflow
	}
	if d.draw(l, from, o.Loss) {
		return clock.Never, Lost
	}
	at = at.Add(o.Delay)
	if o.Jitter > 0 {
		at = at.Add(time.Duration(d.stream(l, from).Int64N(int64(o.Jitter) + 1)))
	}
	if d.draw(l, from, o.Reorder) {
		return at.Add(orDefault(o.ReorderBy, defaultReorderBy)), Delivered
	}
	d.last = max(d.last, at)
	return d.last, Delivered
}

// transmit says when the last bit of a frame leaves, if the queue takes it.
func (d *direction) transmit(now clock.Instant, length int) (clock.Instant, bool) {
	o := &d.opts
	if o.Bandwidth <= 0 {
		return now, true
	}
	start := max(now, d.idle)
	if start.Sub(now) > o.airtime(orDefault(o.Queue, defaultQueue)) {
		return 0, false
	}
	d.idle = start.Add(o.airtime(length))
	return d.idle, true
}

// airtime is how long it takes to send that many bytes.
func (o *LinkOptions) airtime(bytes int) time.Duration {
	return time.Duration(int64(bytes) * 8 * int64(time.Second) / o.Bandwidth)
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// draw reports whether something of probability p happens. A probability of
// 0 or 1 takes nothing from the stream.
func (d *direction) draw(l *Link, from *Port, p float64) bool {
	if p <= 0 || p >= 1 {
		return p > 0
	}
	return d.stream(l, from).Float64() < p
}

func (d *direction) stream(l *Link, from *Port) *rand.Rand {
	if d.rand == nil {
		d.rand = l.net.Rand(fmt.Sprintf("link %s from %v", l.name, from))
	}
	return d.rand
}

// duplicate makes a second frame arrive right behind the first.
func (l *Link) duplicate(from *Port, f *frame, at clock.Instant) {
	g := l.net.copyOf(f.Bytes())
	g.to, g.hops = f.to, f.hops
	if len(l.net.observers) > 0 {
		l.net.record(l, from, g, at, Duplicated)
	}
	l.net.queue.pushFrame(&l.dirs[from.side].under, at, g)
}

// corrupt turns one bit over. A record keeps what was sent.
func (d *direction) corrupt(f *frame, r *rand.Rand) {
	b := f.Bytes()
	if len(b) == 0 {
		return
	}
	bit := r.IntN(8 * len(b))
	b[bit/8] ^= 1 << (bit % 8)
	if f.rec != nil {
		f.rec.Arrival = append([]byte(nil), b...)
		f.rec.note(fmt.Sprintf("link: bit %d of byte %d turned over", bit%8, bit/8))
	}
}

// arrive ends a frame's way over the link.
func (l *Link) arrive(f *frame) {
	p, n := f.to, l.net
	if !l.up || l.dirs[1-p.side].cut || p.down || p.off {
		if f.rec != nil {
			f.rec.Fate, f.rec.Arrived = Cut, clock.Never
		}
		n.lost(f)
		return
	}
	n.stats.Deliveries++
	n.cause = f.rec
	p.take(f)
	n.cause = nil
}

func (n *Net) lost(f *frame) {
	n.stats.Lost++
	n.release(f)
}
