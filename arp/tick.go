package arp

import (
	"usvs/clock"
	"usvs/wire"
)

// Tick does what is due: retransmissions, probes, ageing and announcements. It
// returns when it has work again. Every worker calls it after each batch and
// at that time; a call with nothing due costs one load.
func (c *Cache) Tick(now clock.Instant, out Sink) clock.Instant {
	due := c.next.Load()
	if int64(now) < due {
		return clock.Instant(due)
	}
	if c.next.CompareAndSwap(due, int64(clock.Never)) {
		c.announce(now, out)
		c.verify(now, out)
		c.wakeAt(c.sweep(now, out))
	}
	return clock.Instant(c.next.Load())
}

// Deadline is when Tick has work.
func (c *Cache) Deadline() clock.Instant { return clock.Instant(c.next.Load()) }

// wakeAt makes Tick work at t at the latest.
func (c *Cache) wakeAt(t clock.Instant) {
	for {
		at := c.next.Load()
		if at <= int64(t) || c.next.CompareAndSwap(at, int64(t)) {
			return
		}
	}
}

// sweep visits every neighbour and returns the earliest time one needs another visit.
func (c *Cache) sweep(now clock.Instant, out Sink) clock.Instant {
	next := clock.Never
	for i := range c.slots {
		if n := c.slots[i].Load(); n != nil {
			next = next.Min(c.visit(now, n, out))
		}
	}
	return next
}

func (c *Cache) visit(now clock.Instant, n *Neighbour, out Sink) clock.Instant {
	w := n.word()
	switch w.state() {
	case Static:
		return clock.Never
	case Incomplete, Delay, Probe:
		return c.advance(now, n, w, out)
	case Reachable:
		if n.fresh(now) {
			return clock.Instant(n.confirmed.Load()).Add(reachableTime)
		}
		n.swap(w, w.with(Stale, 0))
	}
	end := n.lastSeen().Add(ageTime)
	if now.Before(end) {
		return end
	}
	c.remove(n)
	return clock.Never
}

// advance acts on the timer of a neighbour that is waited for.
func (c *Cache) advance(now clock.Instant, n *Neighbour, w word, out Sink) clock.Instant {
	due := n.timer.Load()
	if int64(now) < due {
		return clock.Instant(due)
	}
	again := now.Add(retransTime)
	if !n.timer.CompareAndSwap(due, int64(again)) {
		return again // another worker claimed it
	}
	if w.tries() >= maxTries {
		c.fail(n, w, out)
		return now.Add(ageTime)
	}
	state := w.state()
	if state == Delay {
		state = Probe
	}
	if n.swap(w, w.with(state, w.tries()+1)) {
		c.solicit(n.port, n.addr, w.mac(), out)
	}
	return again
}

// fail gives a silent neighbour up and hands its frames back.
func (c *Cache) fail(n *Neighbour, w word, out Sink) {
	if !n.swap(w, makeWord(wire.MAC{}, Failed, 0)) {
		return
	}
	c.count(Failures)
	for _, f := range c.drain(n, nil) {
		c.count(Unreachables)
		out.Unreachable(f)
	}
}
