package tcp

import (
	"io"
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// State is a state of RFC 9293 section 3.3.2.
type State uint8

const (
	Closed State = iota
	SynSent
	SynReceived
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait
)

var stateText = [...]string{"CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
	"FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"}

// String is the state's name in RFC 9293.
func (s State) String() string { return stateText[s] }

// Events are what a connection's application wants to be told; nil fields are
// not called. The stack never calls back from within a call of the application.
type Events struct {
	// Connected: the connection that Dial began is established.
	Connected func(now clock.Instant, c *Conn)
	// Readable: more can be read, or the end of the stream.
	Readable func(now clock.Instant, c *Conn)
	// Writable: after a short Write, there is room again.
	Writable func(now clock.Instant, c *Conn)
	// Closed: both directions have ended (err is nil) or the connection failed.
	// It is the last call, and it comes once, but not after Abort.
	Closed func(now clock.Instant, c *Conn, err error)
}

// What is to be told.
const (
	pendingAccepted = 1 << iota
	pendingConnected
	pendingReadable
	pendingWritable
	pendingClosed
)

// Conn is one connection.
type Conn struct {
	stack    *Stack
	flow     flow
	serial   uint64
	state    State
	events   Events
	pending  uint8
	err      error
	listener *Listener // while half open
	acceptor *Listener // whose application is still to be told

	// Sending (RFC 9293 section 3.3.1).
	iss, una, nxt, max uint32
	wnd, wl1, wl2      uint32
	maxWnd             uint32
	sendq              queue
	sendSeq            uint32 // of the first byte in sendq
	finQueued          bool
	short              bool // a Write was cut short
	mss                int  // payload of a full segment

	// Receiving.
	rcvNxt, rcvAdv uint32 // next expected; right edge of the advertised window
	recvq          queue
	early          reassembly
	finAt          uint32 // sequence number of the peer's FIN
	finKnown       bool   // it has arrived, perhaps ahead of data
	eof            bool   // everything up to it has
	readClosed     bool   // the application wants no more
	ackNow         bool
	challengedAt   clock.Instant

	congestion
	rto        rtoEstimator
	retries    int  // unanswered in a row
	persisting bool // the retransmission timer is the zero-window probe's
	probes     int

	keepIdle    time.Duration // 0: no keep-alive
	keepProbes  int
	keepUnacked int

	timers   [timerCount]clock.Instant
	deadline clock.Instant // the earliest of timers; Never if not in the heap
	heapAt   int
}

func (s *Stack) newConn(f flow) *Conn {
	s.serial++
	iss := s.cfg.ISN()
	c := &Conn{
		stack: s, flow: f, serial: s.serial, deadline: clock.Never,
		iss: iss, una: iss, nxt: iss, max: iss, sendSeq: iss + 1,
		challengedAt: -clock.Instant(challengeInterval),
	}
	for i := range c.timers {
		c.timers[i] = clock.Never
	}
	c.mss = c.mssFor(s.cfg.MTU(f.remote.Addr()))
	c.rto.init()
	c.recover = iss
	s.conns[f] = c
	return c
}

// minMSS keeps a hostile MSS option from making a segment per byte.
const minMSS = 64

// mssFor is the payload of a TCP segment without options in a packet of mtu bytes.
func (c *Conn) mssFor(mtu int) int {
	overhead := wire.IPv6Len + wire.TCPLen
	if c.flow.remote.Addr().Is4() {
		overhead = wire.IPv4Len + wire.TCPLen
	}
	return min(max(mtu-overhead, minMSS), maxWindow)
}

// LocalAddr is this end's address.
func (c *Conn) LocalAddr() netip.AddrPort { return c.flow.local }

// RemoteAddr is the other end's address.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.flow.remote }

// State is the connection's state now.
func (c *Conn) State() State { return c.state }

// Err is what the connection failed with; nil while it lives or if it ended well.
func (c *Conn) Err() error { return c.err }

// SetEvents replaces what the application is told. What it missed is not told again.
func (c *Conn) SetEvents(ev Events) { c.events = ev }

// Buffered is how many bytes Read would return.
func (c *Conn) Buffered() int { return c.recvq.Len() }

// Unsent is how many written bytes the peer has not acknowledged.
func (c *Conn) Unsent() int { return c.sendq.Len() }

// SetKeepAlive makes the connection ask the peer for a sign of life when it has
// heard nothing for idle, and end after so many unanswered probes, idle apart
// (RFC 9293 section 3.8.4). Zero idle turns it off.
func (c *Conn) SetKeepAlive(now clock.Instant, idle time.Duration, probes int) {
	c.keepIdle, c.keepProbes, c.keepUnacked = idle, probes, 0
	c.heard(now)
	c.stack.retime(c)
}

// Read copies received bytes to p. It returns ErrWouldBlock if there are none
// yet, io.EOF behind the last one, or the connection's error.
func (c *Conn) Read(now clock.Instant, p []byte) (int, error) {
	if n := copy(p, c.recvq.Bytes()); n > 0 {
		c.recvq.Discard(n)
		c.updateWindow(now)
		return n, nil
	}
	switch {
	case c.readClosed:
		return 0, ErrClosed
	case c.eof:
		return 0, io.EOF
	case c.err != nil:
		return 0, c.err
	case c.state == Closed:
		return 0, ErrClosed
	case len(p) == 0:
		return 0, nil
	}
	return 0, ErrWouldBlock
}

// Write queues bytes to be sent and returns how many it took: fewer than all
// if the send buffer is full; Writable tells when there is room again.
func (c *Conn) Write(now clock.Instant, p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.finQueued || c.state == Closed {
		return 0, ErrClosed
	}
	n := min(len(p), c.stack.cfg.SendBuffer-c.sendq.Len())
	c.short = n < len(p)
	c.sendq.Append(p[:n])
	c.output(now)
	return n, nil
}

// CloseWrite ends the sending direction behind what was written: a half close.
func (c *Conn) CloseWrite(now clock.Instant) {
	if c.finQueued || c.state == Closed {
		return
	}
	c.finQueued = true
	switch c.state {
	case Established:
		c.state = FinWait1
	case CloseWait:
		c.state = LastAck
	}
	c.output(now)
}

// Close ends both directions: what was written is still delivered, what
// arrives from now on is answered with a reset. Unread data resets at once
// (RFC 9293 section 3.6.1).
func (c *Conn) Close(now clock.Instant) {
	if c.readClosed || c.state == Closed {
		return
	}
	if c.state == SynSent || c.recvq.Len() > 0 {
		c.Abort(now)
		return
	}
	c.readClosed = true
	c.CloseWrite(now)
	if c.state == FinWait2 {
		c.linger(now)
	}
}

// Abort ends the connection at once and resets the peer. No event follows.
func (c *Conn) Abort(now clock.Instant) {
	switch c.state {
	case Closed:
		return
	case SynReceived, Established, FinWait1, FinWait2, CloseWait:
		c.stack.counters.Resets++
		c.stack.send(now, &header{src: c.flow.local, dst: c.flow.remote, seq: c.ackSeq(), ack: c.rcvNxt,
			flags: wire.FlagRST | wire.FlagACK}, nil)
	}
	c.end(ErrClosed)
	c.recvq.Release()
	c.pending, c.events = 0, Events{}
}

// end makes the connection CLOSED; err is nil if it ended as it should.
func (c *Conn) end(err error) {
	if c.state == Closed {
		return
	}
	c.leaveBacklog()
	if c.state != TimeWait {
		c.err = err
		c.pending |= pendingClosed
	}
	c.state = Closed
	for i := range c.timers {
		c.timers[i] = clock.Never
	}
	c.stack.retime(c)
	c.sendq.Release()
	c.early.Release()
	delete(c.stack.conns, c.flow)
}

func (c *Conn) leaveBacklog() {
	if l := c.listener; l != nil {
		i := slices.Index(l.halfOpen, c)
		l.halfOpen = slices.Delete(l.halfOpen, i, i+1)
		c.listener = nil
	}
}

// linger starts the time after which a connection that only waits is forgotten.
func (c *Conn) linger(now clock.Instant) {
	c.timers[timerLinger] = now.Add(c.stack.cfg.TimeWait)
	c.stack.retime(c)
}

// deliver tells the application what has happened since the last time.
func (c *Conn) deliver(now clock.Instant) {
	for c.pending != 0 {
		what := c.pending & -c.pending
		c.pending &^= what
		switch {
		case what == pendingAccepted:
			c.events = c.acceptor.accept(now, c)
		case what == pendingConnected && c.events.Connected != nil:
			c.events.Connected(now, c)
		case what == pendingReadable && c.events.Readable != nil && !c.readClosed:
			c.events.Readable(now, c)
		case what == pendingWritable && c.events.Writable != nil && !c.finQueued:
			c.events.Writable(now, c)
		case what == pendingClosed && c.events.Closed != nil:
			c.events.Closed(now, c, c.err)
		}
	}
	c.output(now)
}
