package tcp

import (
	"time"

	"usvs/clock"
	"usvs/wire"
)

// challengeInterval is how often at most a connection answers segments that
// cannot be its own (RFC 5961 section 7), so that two ends which disagree do
// not acknowledge each other for ever.
const challengeInterval = 500 * time.Millisecond

// reopens reports whether sg begins a new connection in place of c, which only
// waits for its old segments to die (RFC 9293 section 3.10.7.4, RFC 6191).
func (s *Stack) reopens(c *Conn, sg *segment) bool {
	const mask = wire.FlagSYN | wire.FlagACK | wire.FlagRST
	if c.state != TimeWait || sg.flags&mask != wire.FlagSYN || !seqLT(c.rcvNxt, sg.seq) || s.listener(c.flow.local) == nil {
		return false
	}
	c.end(nil)
	return true
}

// input takes a segment through the steps of RFC 9293 section 3.10.7.4.
func (c *Conn) input(now clock.Instant, sg *segment) {
	c.heard(now)
	switch {
	case c.state == SynSent:
		c.inputSynSent(now, sg)
	case !c.acceptable(sg):
		c.inputUnacceptable(now, sg)
	case sg.has(wire.FlagRST):
		c.inputReset(now, sg)
	case sg.has(wire.FlagSYN):
		c.challenge(now)
	case !sg.has(wire.FlagACK):
		return
	case c.state == SynReceived && !c.establish(now, sg):
		c.stack.refuse(now, c.flow, sg)
	default:
		c.inputSynchronized(now, sg)
	}
}

// inputSynSent is RFC 9293 section 3.10.7.3.
func (c *Conn) inputSynSent(now clock.Instant, sg *segment) {
	acked := sg.has(wire.FlagACK)
	if acked && sg.ack != c.nxt {
		c.stack.refuse(now, c.flow, sg)
		return
	}
	if sg.has(wire.FlagRST) {
		if acked {
			c.end(ErrRefused)
		}
		return
	}
	if !sg.has(wire.FlagSYN) {
		return
	}
	c.receiveSYN(sg)
	if !acked { // both sides opened at once
		c.state = SynReceived
		c.nxt = c.iss
		return
	}
	c.established(now, sg)
	c.pending |= pendingConnected
	c.ackNow = true
	sg.seq++
	c.receiveText(now, sg)
}

// receiveSYN takes the peer's first sequence number, window and MSS.
func (c *Conn) receiveSYN(sg *segment) {
	c.rcvNxt = sg.seq + 1
	c.rcvAdv = c.rcvNxt + uint32(c.stack.cfg.ReceiveBuffer)
	mss := sg.mss
	if mss == 0 { // RFC 9293 section 3.7.1
		mss = 536
		if c.flow.remote.Addr().Is6() {
			mss = 1220
		}
	}
	c.mss = min(c.mss, max(mss, minMSS))
	c.wnd, c.maxWnd, c.wl1, c.wl2 = sg.wnd, sg.wnd, sg.seq, sg.ack
}

// acceptable is the window check of RFC 9293 section 3.10.7.4, table 6.
func (c *Conn) acceptable(sg *segment) bool {
	wnd, n := c.rcvAdv-c.rcvNxt, sg.length()
	first := sg.seq - c.rcvNxt
	switch {
	case n == 0 && wnd == 0:
		return first == 0
	case n == 0:
		return first < wnd
	case wnd == 0:
		return false
	}
	return first < wnd || sg.end()-1-c.rcvNxt < wnd
}

// inputUnacceptable answers with an acknowledgement, except to a reset. What
// carries data or a FIN is likely a copy whose acknowledgement was lost; other
// segments, keep-alive probes among them, are answered now and then only: two
// ends that were deceived about each other would never stop.
func (c *Conn) inputUnacceptable(now clock.Instant, sg *segment) {
	switch {
	case sg.has(wire.FlagRST):
		return
	case c.state == SynReceived && sg.has(wire.FlagSYN) && !sg.has(wire.FlagACK) && sg.seq == c.rcvNxt-1:
		c.nxt = c.iss // our SYN was lost: it goes again
		return
	case sg.length() == 0 || sg.has(wire.FlagSYN) && !sg.has(wire.FlagACK):
		c.challenge(now)
		return
	}
	c.ackNow = true
	if sg.has(wire.FlagFIN) && c.state == TimeWait {
		c.linger(now)
	}
	// A closed window keeps data out, not the acknowledgement that comes with it.
	if sg.seq == c.rcvNxt && sg.has(wire.FlagACK) && !sg.has(wire.FlagSYN) && c.state >= Established {
		c.receiveACK(now, sg)
	}
}

// inputReset ends the connection if the reset is exactly in sequence, and asks
// the peer to say it again if it is only near (RFC 5961 section 3).
func (c *Conn) inputReset(now clock.Instant, sg *segment) {
	switch {
	case sg.seq != c.rcvNxt:
		c.challenge(now)
	case c.state == SynReceived && c.listener != nil:
		c.events = Events{}
		c.end(ErrRefused)
	case c.state == SynReceived:
		c.end(ErrRefused)
	case c.state == Closing || c.state == LastAck || c.state == TimeWait:
		c.end(nil)
	default:
		c.end(ErrReset)
	}
}

func (c *Conn) challenge(now clock.Instant) {
	if now.Sub(c.challengedAt) < challengeInterval {
		return
	}
	c.challengedAt = now
	c.stack.counters.ChallengeACKs++
	c.ackNow = true
}

// establish ends SYN-RECEIVED if sg acknowledges the SYN.
func (c *Conn) establish(now clock.Instant, sg *segment) bool {
	if sg.ack != c.max {
		return false
	}
	c.established(now, sg)
	l := c.listener
	if l == nil { // simultaneous open
		c.pending |= pendingConnected
		return true
	}
	c.leaveBacklog()
	c.acceptor = l
	c.pending |= pendingAccepted
	return true
}

func (c *Conn) established(now clock.Instant, sg *segment) {
	lost := c.retries > 0
	c.rto.acked(now, sg.ack, c.stack.cfg.MinRTO, c.stack.cfg.MaxRTO)
	if lost && c.rto.srtt == 0 {
		c.rto.rto = rtoAfterSYN
	}
	c.retries = 0
	c.timers[timerRetransmit] = clock.Never
	c.state = Established
	if c.finQueued {
		c.state = FinWait1
	}
	c.una, c.nxt = sg.ack, sg.ack
	c.wnd, c.wl1, c.wl2 = sg.wnd, sg.seq, sg.ack
	c.maxWnd = max(c.maxWnd, c.wnd)
	c.start(c.mss, lost)
	c.heard(now)
}

func (c *Conn) inputSynchronized(now clock.Instant, sg *segment) {
	if !c.receiveACK(now, sg) {
		return
	}
	switch {
	case c.state == FinWait1 && c.finAcked():
		c.state = FinWait2
		if c.readClosed {
			c.linger(now)
		}
	case c.state == Closing && c.finAcked():
		c.timeWait(now)
	case c.state == LastAck && c.finAcked():
		c.end(nil)
		return
	}
	c.receiveText(now, sg)
}

func (c *Conn) finAcked() bool { return c.finQueued && c.una == c.queueEnd()+1 }

// receiveACK is the fifth step: the acknowledgement and the window. It reports
// whether the rest of the segment counts.
func (c *Conn) receiveACK(now clock.Instant, sg *segment) bool {
	switch {
	case seqLT(c.max, sg.ack):
		c.challenge(now) // it acknowledges what was not sent yet
		return false
	case seqLT(sg.ack, c.una-c.maxWnd):
		c.challenge(now) // RFC 5961 section 5
		return false
	case seqLT(c.una, sg.ack):
		c.receiveNewACK(now, sg.ack)
	case sg.ack == c.una && c.nxt != c.una && sg.length() == 0 && sg.wnd == c.wnd:
		if c.duplicate(c.una, c.max, c.nxt-c.una, c.mss) {
			c.stack.counters.FastRecovery++
			c.resend(now)
		}
	}
	if c.persisting {
		c.retries = 0 // it answers: probes go on for ever
	}
	if seqLEQ(c.una, sg.ack) && (seqLT(c.wl1, sg.seq) || c.wl1 == sg.seq && seqLEQ(c.wl2, sg.ack)) {
		c.wnd, c.wl1, c.wl2 = sg.wnd, sg.seq, sg.ack
		c.maxWnd = max(c.maxWnd, c.wnd)
	}
	return true
}

func (c *Conn) receiveNewACK(now clock.Instant, ack uint32) {
	c.rto.acked(now, ack, c.stack.cfg.MinRTO, c.stack.cfg.MaxRTO)
	acked := ack - c.una
	c.una = ack
	c.nxt = seqMax(c.nxt, ack)
	c.retries = 0
	c.timers[timerRetransmit] = clock.Never // restarted by output
	if n := min(int(ack-c.sendSeq), c.sendq.Len()); n > 0 {
		c.sendq.Discard(n)
		c.sendSeq += uint32(n)
	}
	if c.congestion.acked(acked, ack, c.nxt-ack, c.mss) && c.nxt != c.una {
		c.resend(now)
	}
	if c.short && c.sendq.Len() <= c.stack.cfg.SendBuffer/2 {
		c.short = false
		c.pending |= pendingWritable
	}
}

// receiveText is the seventh step: the data, and the FIN behind it.
func (c *Conn) receiveText(now clock.Instant, sg *segment) {
	if sg.length() == 0 || c.eof {
		if sg.length() > 0 {
			c.ackNow = true
		}
		return
	}
	c.ackNow = true
	c.noteFIN(sg)
	data, seq := c.trim(sg)
	if len(data) > 0 && c.readClosed {
		c.Abort(now) // nobody will read it: RFC 9293 section 3.6.1
		return
	}
	if seq != c.rcvNxt {
		if len(data) > 0 {
			c.early.insert(seq, data, c.stack.cfg.ReceiveBuffer)
		}
		return
	}
	c.append(data)
	for data := c.early.next(c.rcvNxt); data != nil; data = c.early.next(c.rcvNxt) {
		c.append(data[:min(len(data), int(c.limit()-c.rcvNxt))])
	}
	if c.finKnown && c.rcvNxt == c.finAt {
		c.receiveFIN(now)
	}
}

// noteFIN remembers where the stream ends if that is within the window.
func (c *Conn) noteFIN(sg *segment) {
	at := sg.seq + uint32(len(sg.data))
	if sg.has(wire.FlagFIN) && !c.finKnown && at-c.rcvNxt < c.rcvAdv-c.rcvNxt {
		c.finAt, c.finKnown = at, true
	}
}

// limit is the sequence number that received data must stay before.
func (c *Conn) limit() uint32 {
	if c.finKnown {
		return c.finAt
	}
	return c.rcvAdv
}

// trim cuts off what came before and what lies outside the window.
func (c *Conn) trim(sg *segment) (data []byte, seq uint32) {
	data, seq = sg.data, sg.seq
	if old := int32(c.rcvNxt - seq); old > 0 {
		n := min(int(old), len(data))
		data, seq = data[n:], c.rcvNxt
	}
	if room := int32(c.limit() - seq); int(room) < len(data) {
		data = data[:max(room, 0)]
	}
	return data, seq
}

func (c *Conn) append(data []byte) {
	if len(data) == 0 {
		return
	}
	c.recvq.Append(data)
	c.rcvNxt += uint32(len(data))
	c.pending |= pendingReadable
}

// receiveFIN is the eighth step.
func (c *Conn) receiveFIN(now clock.Instant) {
	c.rcvNxt++
	c.eof = true
	c.early.Release()
	c.pending |= pendingReadable
	switch c.state {
	case Established:
		c.state = CloseWait
	case FinWait1: // finAcked has been looked at
		c.state = Closing
	case FinWait2:
		c.timeWait(now)
	}
}

func (c *Conn) timeWait(now clock.Instant) {
	c.state = TimeWait
	c.timers[timerRetransmit], c.timers[timerKeepAlive] = clock.Never, clock.Never
	c.linger(now)
	c.sendq.Release()
	c.pending |= pendingClosed
}
