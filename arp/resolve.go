package arp

import (
	"net/netip"
	"slices"

	"usvs/clock"
	"usvs/wire"
)

// Lookup returns the MAC of a next hop, if it is known. The hot path: it takes
// no lock and does not allocate.
func (c *Cache) Lookup(now clock.Instant, port int, addr netip.Addr) (wire.MAC, bool) {
	n := c.find(port, addr)
	if n == nil {
		return wire.MAC{}, false
	}
	w, ok := c.use(now, n)
	return w.mac(), ok
}

// Find returns a next hop's neighbour to Use, or nil. It may know no MAC yet.
func (c *Cache) Find(port int, addr netip.Addr) *Neighbour { return c.find(port, addr) }

// Use is Lookup for a neighbour that was found before; the MAC is as wire.MAC's
// Word says it. It reports false, too, if the neighbour is nil or has left the
// table: then it is to be found again.
func (c *Cache) Use(now clock.Instant, n *Neighbour) (mac uint64, ok bool) {
	if n == nil || n.Gone() {
		return 0, false
	}
	w, ok := c.use(now, n)
	return uint64(w) & macMask, ok
}

// use notes that a frame is about to be sent to n, and whether it can be.
func (c *Cache) use(now clock.Instant, n *Neighbour) (word, bool) {
	w := n.word()
	if !w.usable() {
		return 0, false
	}
	n.touch(now)
	if s := w.state(); s == Stale || s == Reachable && !n.fresh(now) {
		c.doubt(now, n, w)
	}
	return w, true
}

// doubt starts the delay after which a stale neighbour in use is probed.
func (c *Cache) doubt(now clock.Instant, n *Neighbour, w word) {
	due := now.Add(delayTime)
	n.timer.Store(int64(due)) // before the state that obeys it
	if n.swap(w, w.with(Delay, 0)) {
		c.wakeAt(due)
	}
}

// Confirm notes that traffic which proves the neighbour to be there came from
// it. It is a cheap no-op if the neighbour is unknown, confirmed within the
// last second, or has another MAC: traffic teaches no MACs.
func (c *Cache) Confirm(now clock.Instant, port int, addr netip.Addr, mac wire.MAC) {
	n := c.find(port, addr)
	if n == nil {
		return
	}
	w := n.word()
	if !w.usable() || w.state() == Static || w.mac() != mac {
		return
	}
	if now.Sub(clock.Instant(n.confirmed.Load())) >= usedGrain {
		n.confirmed.Store(int64(now))
	}
	if w.state() != Reachable {
		n.swap(w, w.with(Reachable, 0))
		c.wakeAt(now.Add(reachableTime))
	}
}

// SetStatic fixes the MAC of a next hop: nothing but Delete changes it. It
// reports false if the table has no room. Frames that waited for it are sent.
func (c *Cache) SetStatic(now clock.Instant, port int, addr netip.Addr, mac wire.MAC, out Sink) bool {
	for {
		n := c.obtain(now, port, addr, rankReachable)
		if n == nil {
			return false
		}
		n.w.Store(uint64(makeWord(mac, Static, 0)))
		if c.find(port, addr) == n {
			c.flush(n, out)
			return true
		}
	}
}

// Delete forgets a next hop, a static one too.
func (c *Cache) Delete(port int, addr netip.Addr) {
	if n := c.find(port, addr); n != nil {
		c.remove(n)
	}
}

// Resolve takes a frame for a next hop that Lookup did not know: a complete
// Ethernet frame but for its destination MAC. It copies the frame, asks for
// the neighbour if nobody did yet, and sends the frame when the answer
// arrives, be that on another worker.
func (c *Cache) Resolve(now clock.Instant, port int, addr netip.Addr, f *wire.Frame, out Sink) {
	waiting := c.copyFrame(f)
	for {
		n := c.obtain(now, port, addr, rankReachable)
		if n == nil {
			c.release(waiting)
			return
		}
		n.touch(now)
		if waiting == nil || c.push(n, waiting) {
			c.settle(now, n, out)
			return
		}
	}
}

// settle does what the state asks for after a frame was queued: it may have
// changed since the caller found the neighbour unusable.
func (c *Cache) settle(now clock.Instant, n *Neighbour, out Sink) {
	w := n.word()
	switch {
	case w.usable():
		c.flush(n, out)
	case w.state() == None || w.state() == Failed:
		due := now.Add(retransTime)
		n.timer.Store(int64(due))
		if n.swap(w, makeWord(wire.MAC{}, Incomplete, 1)) {
			c.wakeAt(due)
			c.solicit(n.port, n.addr, wire.MAC{}, out)
		} else if w := n.word(); w.usable() {
			c.flush(n, out)
		}
	}
}

// update applies what a neighbour said of itself. Force lets a new MAC replace
// one that was set a moment ago.
func (c *Cache) update(now clock.Instant, n *Neighbour, mac wire.MAC, reachable, force bool, out Sink) {
	for {
		w := n.word()
		known := w.usable()
		changed := !known || w.mac() != mac
		switch {
		case w.state() == Static, !changed && !reachable:
			return
		case changed && known && !force && now.Sub(clock.Instant(n.updated.Load())) < lockTime:
			return
		}
		to, wake := Stale, ageTime
		if reachable {
			to, wake = Reachable, reachableTime
			n.confirmed.Store(int64(now))
		}
		if changed {
			n.updated.Store(int64(now))
		}
		if n.swap(w, makeWord(mac, to, 0)) {
			c.wakeAt(now.Add(wake))
			c.flush(n, out)
			return
		}
	}
}

// learn notes a neighbour that asked for one of our addresses.
func (c *Cache) learn(now clock.Instant, port int, addr netip.Addr, mac wire.MAC, out Sink) {
	n := c.find(port, addr)
	if n == nil {
		if n = c.obtain(now, port, addr, rankLearned); n == nil {
			return
		}
		c.count(Learned)
	}
	c.update(now, n, mac, false, true, out)
}

// queue are the frames that wait for a neighbour, oldest first; immutable.
type queue struct{ frames []*wire.Frame }

// closed is the queue of a neighbour that has left the table.
var closed = new(queue)

// copyFrame returns a copy of f that may wait, or nil if too much waits already.
func (c *Cache) copyFrame(f *wire.Frame) *wire.Frame {
	size := int64(f.Len())
	if c.queued.Add(size) > c.cfg.QueueBytes {
		c.queued.Add(-size)
		c.count(QueueOverflows)
		return nil
	}
	g := wire.NewFrame(f.Len())
	g.CopyFrom(f)
	return g
}

// release gives back the room of frames that no longer wait.
func (c *Cache) release(frames ...*wire.Frame) {
	for _, f := range frames {
		if f != nil {
			c.queued.Add(-int64(f.Len()))
		}
	}
}

// push appends a frame to the neighbour's queue and drops the oldest ones
// beyond its limit. It reports false if the neighbour has left the table.
func (c *Cache) push(n *Neighbour, f *wire.Frame) bool {
	for {
		q := n.queue.Load()
		if q == closed {
			return false
		}
		var old []*wire.Frame
		if q != nil {
			old = q.frames
		}
		drop := max(0, len(old)+1-c.cfg.QueueLen)
		longer := &queue{append(slices.Clone(old[drop:]), f)}
		if n.queue.CompareAndSwap(q, longer) {
			c.release(old[:drop]...)
			c.counts[QueueOverflows].Add(uint64(drop))
			return true
		}
	}
}

// drain takes the waiting frames and leaves the queue empty (nil) or closed.
func (c *Cache) drain(n *Neighbour, leave *queue) []*wire.Frame {
	for {
		q := n.queue.Load()
		if q == closed || q == nil && leave == nil {
			return nil
		}
		if !n.queue.CompareAndSwap(q, leave) {
			continue
		}
		if q == nil {
			return nil
		}
		c.release(q.frames...)
		return q.frames
	}
}

// flush sends the waiting frames to the neighbour's MAC. If it has become
// unusable meanwhile, whoever made it so looks at the queue after that.
func (c *Cache) flush(n *Neighbour, out Sink) {
	w := n.word()
	if !w.usable() || n.queue.Load() == nil {
		return
	}
	for _, f := range c.drain(n, nil) {
		g := out.New()
		if g == nil || g.Cap() < f.Len() {
			c.count(NoFrame)
			continue
		}
		g.CopyFrom(f)
		g.Port = n.port
		wire.EthernetHeader(g.Bytes()).SetDst(w.mac())
		out.Send(g)
	}
}
