package tcp

import (
	"time"

	"usvs/clock"
	"usvs/wire"
)

// output sends what may be sent, acknowledges what must be, and sets the timers.
func (c *Conn) output(now clock.Instant) {
	if c.state == Closed {
		return
	}
	if c.nxt == c.una && c.state >= Established {
		c.idle(now, c.rto.rto, c.mss)
	}
	for c.sendNext(now) {
	}
	if c.ackNow {
		c.transmit(now, c.ackSeq(), nil, wire.FlagACK)
	}
	c.arm(now)
}

// sendNext sends one segment at nxt if there is one and the windows let it.
func (c *Conn) sendNext(now clock.Instant) bool {
	switch c.state {
	case SynSent, SynReceived:
		return c.sendSYN(now)
	case TimeWait, FinWait2:
		return false
	}
	room := int(int32(c.una + min(c.wnd, c.cwnd) - c.nxt))
	if room <= 0 {
		return false
	}
	data, fin := c.unsent(min(room, c.mss))
	if len(data) == 0 && !fin {
		return false
	}
	if fin && len(data) == room {
		fin = false
	}
	if c.silly(len(data), fin) {
		return false
	}
	c.sendData(now, data, fin)
	return true
}

// silly is the sender's half of silly window avoidance (RFC 9293 section
// 3.8.6.2.1): no small segments while more is queued, unless nothing else is
// under way that would call for the rest.
func (c *Conn) silly(n int, fin bool) bool {
	last := fin || c.nxt+uint32(n) == c.queueEnd()
	return !last && n < c.mss && uint32(n) < c.maxWnd/2 && c.nxt != c.una
}

func (c *Conn) sendSYN(now clock.Instant) bool {
	if c.nxt != c.iss {
		return false
	}
	flags := uint8(wire.FlagSYN)
	if c.state == SynReceived {
		flags |= wire.FlagACK
	}
	c.transmit(now, c.iss, nil, flags)
	c.nxt++
	c.sent(now)
	return true
}

// queueEnd is the sequence number behind the last queued byte: the FIN's.
func (c *Conn) queueEnd() uint32 { return c.sendSeq + uint32(c.sendq.Len()) }

// unsent returns up to n queued bytes from nxt on, and whether a FIN follows them.
func (c *Conn) unsent(n int) (data []byte, fin bool) {
	if seqLT(c.queueEnd(), c.nxt) {
		return nil, false // the FIN has been sent too
	}
	q := c.sendq.Bytes()[c.nxt-c.sendSeq:]
	data = q[:min(n, len(q))]
	return data, c.finQueued && len(data) == len(q)
}

func (c *Conn) sendData(now clock.Instant, data []byte, fin bool) {
	flags := uint8(wire.FlagACK)
	if c.nxt+uint32(len(data)) == c.queueEnd() && len(data) > 0 {
		flags |= wire.FlagPSH
	}
	seq := c.nxt
	c.nxt += uint32(len(data))
	if fin {
		flags |= wire.FlagFIN
		c.nxt++
	}
	c.transmit(now, seq, data, flags)
	c.sent(now)
}

// sent notes that everything before nxt is on its way.
func (c *Conn) sent(now clock.Instant) {
	if seqLT(c.max, c.nxt) {
		c.max = c.nxt
		c.rto.sent(now, c.nxt)
	} else {
		c.stack.counters.Retransmits++
		c.rto.resent()
	}
	c.lastSent = now
}

func (c *Conn) transmit(now clock.Instant, seq uint32, data []byte, flags uint8) {
	h := header{src: c.flow.local, dst: c.flow.remote, seq: seq, flags: flags}
	if flags&wire.FlagSYN != 0 {
		h.mss = uint16(c.mssFor(c.stack.cfg.MTU(c.flow.remote.Addr())))
	}
	if c.state != SynSent {
		h.wnd = c.window()
	} else {
		h.wnd = uint16(c.stack.cfg.ReceiveBuffer)
	}
	if flags&wire.FlagACK != 0 {
		h.ack = c.rcvNxt
		c.ackNow = false
	}
	c.stack.send(now, &h, data)
}

// ackSeq is the sequence number of a segment without data: the highest that
// the peer's window lets through, even after nxt fell back.
func (c *Conn) ackSeq() uint32 {
	if c.state == SynReceived {
		return c.max
	}
	return seqMax(seqMin(c.max, c.una+c.wnd), c.una)
}

// window moves the right edge of the receive window if that is worth telling
// (RFC 9293 section 3.8.6.2.2), and returns the window.
func (c *Conn) window() uint16 {
	space := uint32(c.stack.cfg.ReceiveBuffer - c.recvq.Len())
	if edge := c.rcvNxt + space; seqLEQ(c.rcvAdv+c.worthwhile(), edge) {
		c.rcvAdv = edge
	}
	return uint16(c.rcvAdv - c.rcvNxt)
}

func (c *Conn) worthwhile() uint32 {
	return uint32(min(c.stack.cfg.ReceiveBuffer/2, c.mss))
}

// updateWindow tells the peer when reading has opened a window that was small.
func (c *Conn) updateWindow(now clock.Instant) {
	if c.eof || c.state < Established || c.state == TimeWait {
		return
	}
	told := c.rcvAdv - c.rcvNxt
	space := uint32(c.stack.cfg.ReceiveBuffer - c.recvq.Len())
	if told < uint32(c.stack.cfg.ReceiveBuffer/2) && space-told >= max(c.worthwhile(), told) {
		c.ackNow = true
		c.output(now)
	}
}

// arm sets the retransmission timer: it runs while something is unacknowledged,
// or as the probe of a zero window while something waits for it.
func (c *Conn) arm(now clock.Instant) {
	t := &c.timers[timerRetransmit]
	waiting := c.nxt == c.una && c.state >= Established && c.hasUnsent()
	if !waiting {
		c.probes = 0
	}
	switch {
	case c.state == Closed:
		return
	case c.nxt == c.una && !waiting:
		*t, c.persisting = clock.Never, false
	case waiting != c.persisting || *t == clock.Never:
		c.persisting = waiting
		*t = now.Add(c.rtoNow())
	}
	c.stack.retime(c)
}

func (c *Conn) hasUnsent() bool {
	data, fin := c.unsent(1)
	return len(data) > 0 || fin
}

// rtoNow is the retransmission timeout; probes back off by their own count.
func (c *Conn) rtoNow() time.Duration {
	if !c.persisting {
		return c.rto.rto
	}
	return min(c.rto.rto<<min(c.probes, 8), c.stack.cfg.MaxRTO)
}

// onTimer runs the connection's timers that are due.
func (c *Conn) onTimer(now clock.Instant) {
	if c.timers[timerLinger] <= now {
		c.end(nil)
		return
	}
	if c.timers[timerKeepAlive] <= now {
		c.keepAlive(now)
	}
	if c.timers[timerRetransmit] <= now {
		c.timers[timerRetransmit] = clock.Never
		c.retransmit(now)
	}
	c.stack.retime(c)
}

func (c *Conn) retransmit(now clock.Instant) {
	most := c.stack.cfg.Retries
	if c.state < Established {
		most = c.stack.cfg.SYNRetries
	}
	if c.retries++; c.retries > most {
		c.end(ErrTimeout)
		return
	}
	if c.persisting {
		c.probe(now)
		return
	}
	c.stack.counters.Timeouts++
	c.timeout(c.max, c.nxt-c.una, c.mss)
	c.rto.backOff(c.stack.cfg.MaxRTO)
	c.nxt = c.una // all of it again, as the window opens
	c.output(now)
}

// probe sends one byte, or the FIN, beyond a zero window (RFC 9293 section 3.8.6.1).
func (c *Conn) probe(now clock.Instant) {
	c.stack.counters.Probes++
	c.probes++
	data, fin := c.unsent(1)
	c.sendData(now, data, fin && len(data) == 0)
	c.rto.resent()
	c.nxt = c.una
	c.arm(now)
}

// resend sends the first unacknowledged segment again, and only that.
func (c *Conn) resend(now clock.Instant) {
	nxt := c.nxt
	c.nxt = c.una
	data, fin := c.unsent(c.mss)
	c.sendData(now, data, fin)
	c.nxt = seqMax(nxt, c.nxt)
	c.timers[timerRetransmit] = clock.Never // RFC 6582: restart it
}

// shrink takes a smaller path MTU and sends what did not fit again.
func (c *Conn) shrink(now clock.Instant, mtu int) {
	mss := c.mssFor(mtu)
	if c.state < Established || mss >= c.mss {
		return
	}
	c.mss = mss
	c.nxt = c.una
	c.rto.resent()
	c.output(now)
}

func (c *Conn) keepAlive(now clock.Instant) {
	if c.keepUnacked >= c.keepProbes {
		c.end(ErrTimeout)
		return
	}
	c.keepUnacked++
	c.timers[timerKeepAlive] = now.Add(c.keepIdle)
	if c.nxt == c.una {
		c.transmit(now, c.una-1, nil, wire.FlagACK)
	}
}

// heard notes a sign of life.
func (c *Conn) heard(now clock.Instant) {
	c.timers[timerKeepAlive] = clock.Never
	c.keepUnacked = 0
	if c.keepIdle > 0 && c.state >= Established && c.state != TimeWait {
		c.timers[timerKeepAlive] = now.Add(c.keepIdle)
	}
}
