package tcp

import (
	"errors"
	"net/netip"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// What a connection can end with, and what a call can be refused for.
var (
	ErrReset       = errors.New("tcp: connection reset by peer")
	ErrRefused     = errors.New("tcp: connection refused")
	ErrUnreachable = errors.New("tcp: destination unreachable")
	ErrTimeout     = errors.New("tcp: connection timed out")
	ErrClosed      = errors.New("tcp: use of closed connection")
	ErrWouldBlock  = errors.New("tcp: nothing to read yet")
	ErrInUse       = errors.New("tcp: address already in use")
	ErrNoPorts     = errors.New("tcp: no free local port")
	ErrTooMany     = errors.New("tcp: too many connections")
)

// Config is what a Stack is built from. Zero fields take the defaults named.
type Config struct {
	// Output sends one segment; it is the caller's again when Output returns.
	// It must not call the stack. Required.
	Output func(now clock.Instant, src, dst netip.Addr, segment []byte)
	// ISN gives an initial sequence number. Required; take it from a seed.
	ISN func() uint32
	// Wake tells that Tick wants to be called at t, earlier than was told or
	// returned before; nil: the caller asks Deadline after each call. Like
	// Output it must not call the stack.
	Wake func(t clock.Instant)
	// MTU is the path's MTU as far as the host knows it; nil means 1500.
	MTU func(dst netip.Addr) int

	SendBuffer    int // bytes; 256 KiB
	ReceiveBuffer int // bytes; 65535, which is also the largest window

	MinRTO     time.Duration // 200 ms, as Linux
	MaxRTO     time.Duration // 60 s
	TimeWait   time.Duration // 60 s, as Linux; also the time a closed connection stays in FIN-WAIT-2
	SYNRetries int           // 6
	Retries    int           // 15: unanswered retransmissions or probes in a row

	FirstPort, LastPort uint16 // ephemeral ports: 32768-60999
	MaxConns            int    // 65536; what comes on top is not answered
	Backlog             int    // half-open connections per listener: 1024
}

func (cfg *Config) setDefaults() {
	setDefault(&cfg.SendBuffer, 256<<10)
	setDefault(&cfg.ReceiveBuffer, maxWindow)
	setDefault(&cfg.MinRTO, 200*time.Millisecond)
	setDefault(&cfg.MaxRTO, 60*time.Second)
	setDefault(&cfg.TimeWait, 60*time.Second)
	setDefault(&cfg.SYNRetries, 6)
	setDefault(&cfg.Retries, 15)
	setDefault(&cfg.FirstPort, 32768)
	setDefault(&cfg.LastPort, 60999)
	setDefault(&cfg.MaxConns, 65536)
	setDefault(&cfg.Backlog, 1024)
	cfg.ReceiveBuffer = min(cfg.ReceiveBuffer, maxWindow)
	if cfg.MTU == nil {
		cfg.MTU = func(netip.Addr) int { return 1500 }
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// maxWindow is the largest window without scaling.
const maxWindow = 65535

// Counters count what a stack saw and did.
type Counters struct {
	SegmentsIn, SegmentsOut   uint64
	BadHeader, BadChecksum    uint64
	Retransmits, FastRecovery uint64
	Timeouts                  uint64 // retransmission timers that ran out
	Probes                    uint64 // of a zero window
	Resets                    uint64 // sent
	ChallengeACKs             uint64
	Refused                   uint64 // for want of room: backlog or MaxConns
}

type flow struct{ local, remote netip.AddrPort }

// Stack is the TCP of one host.
type Stack struct {
	cfg       Config
	conns     map[flow]*Conn
	listeners map[netip.AddrPort]*Listener
	timers    timerHeap
	told      clock.Instant // the deadline the caller knows of
	serial    uint64
	nextPort  uint16
	out       []byte // the segment being sent
	counters  Counters
}

// New returns a stack without connections.
func New(cfg Config) *Stack {
	cfg.setDefaults()
	return &Stack{
		cfg:       cfg,
		conns:     map[flow]*Conn{},
		listeners: map[netip.AddrPort]*Listener{},
		nextPort:  cfg.FirstPort,
		told:      clock.Never,
	}
}

// Counters returns what the stack counted so far.
func (s *Stack) Counters() Counters { return s.counters }

// Len is how many connections there are, in any state but CLOSED.
func (s *Stack) Len() int { return len(s.conns) }

// Input takes one segment: b runs from the TCP header to the end of the IP
// packet from src to dst. b is the caller's again when Input returns.
func (s *Stack) Input(now clock.Instant, src, dst netip.Addr, b []byte) {
	s.counters.SegmentsIn++
	if !unicast(src) || !unicast(dst) {
		s.counters.BadHeader++
		return
	}
	var sg segment
	switch sg.parse(src, dst, b) {
	case faultHeader:
		s.counters.BadHeader++
		return
	case faultChecksum:
		s.counters.BadChecksum++
		return
	}
	h := wire.TCP(b)
	f := flow{netip.AddrPortFrom(dst, h.DstPort()), netip.AddrPortFrom(src, h.SrcPort())}
	if c := s.conns[f]; c != nil && !s.reopens(c, &sg) {
		c.input(now, &sg)
		c.deliver(now)
		return
	}
	if l := s.listener(f.local); l != nil {
		l.input(now, f, &sg)
		return
	}
	s.refuse(now, f, &sg)
}

func unicast(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// refuse answers a segment for which there is nobody: RFC 9293 section 3.10.7.1.
func (s *Stack) refuse(now clock.Instant, f flow, sg *segment) {
	if sg.has(wire.FlagRST) {
		return
	}
	s.counters.Resets++
	if sg.has(wire.FlagACK) {
		s.send(now, &header{src: f.local, dst: f.remote, seq: sg.ack, flags: wire.FlagRST}, nil)
		return
	}
	s.send(now, &header{src: f.local, dst: f.remote, ack: sg.end(), flags: wire.FlagRST | wire.FlagACK}, nil)
}

func (s *Stack) send(now clock.Instant, h *header, data []byte) {
	s.counters.SegmentsOut++
	s.out = h.put(s.out[:0], data)
	s.cfg.Output(now, h.src.Addr(), h.dst.Addr(), s.out)
}

// Tick runs the timers that are due and returns when the next one will be.
func (s *Stack) Tick(now clock.Instant) clock.Instant {
	for len(s.timers) > 0 && s.timers[0].deadline <= now {
		c := s.timers[0]
		c.onTimer(now)
		c.deliver(now)
	}
	s.told = s.Deadline()
	return s.told
}

// retime takes in that timers of c have changed.
func (s *Stack) retime(c *Conn) {
	s.timers.update(c)
	if d := s.Deadline(); d < s.told && s.cfg.Wake != nil {
		s.told = d
		s.cfg.Wake(d)
	}
}

// Deadline is when Tick wants to be called; clock.Never if no timer runs.
func (s *Stack) Deadline() clock.Instant {
	if len(s.timers) == 0 {
		return clock.Never
	}
	return s.timers[0].deadline
}

// Unreachable tells of an ICMP error about a segment from local to remote that
// says there is no such host, network, protocol or port. It ends a connection
// that is not established yet and is no more than a hint for others (RFC 5461).
func (s *Stack) Unreachable(now clock.Instant, local, remote netip.AddrPort) {
	c := s.conns[flow{local, remote}]
	if c == nil || c.state != SynSent {
		return
	}
	c.end(ErrUnreachable)
	c.deliver(now)
}

// PathMTU tells of an ICMP error that says a segment from local to remote did
// not fit: RFC 1191, RFC 8201. What was lost goes again at once, in smaller pieces.
func (s *Stack) PathMTU(now clock.Instant, local, remote netip.AddrPort, mtu int) {
	if c := s.conns[flow{local, remote}]; c != nil {
		c.shrink(now, mtu)
	}
}

// Listener makes connections of the SYNs that come to its address.
type Listener struct {
	stack    *Stack
	addr     netip.AddrPort
	accept   func(now clock.Instant, c *Conn) Events
	halfOpen []*Conn
}

// Listen accepts connections to addr; an invalid or unspecified address stands
// for all of them. When a handshake is complete, accept is called and says what
// the connection's application wants to be told.
func (s *Stack) Listen(addr netip.AddrPort, accept func(now clock.Instant, c *Conn) Events) (*Listener, error) {
	if addr.Addr().IsUnspecified() {
		addr = netip.AddrPortFrom(netip.Addr{}, addr.Port())
	}
	if addr.Port() == 0 {
		port, ok := s.freePort(func(p uint16) bool { return s.listener(netip.AddrPortFrom(addr.Addr(), p)) == nil })
		if !ok {
			return nil, ErrNoPorts
		}
		addr = netip.AddrPortFrom(addr.Addr(), port)
	}
	if s.listeners[addr] != nil {
		return nil, ErrInUse
	}
	l := &Listener{stack: s, addr: addr, accept: accept}
	s.listeners[addr] = l
	return l, nil
}

// listener is who listens on the address: itself, or any address of its port.
func (s *Stack) listener(addr netip.AddrPort) *Listener {
	if l := s.listeners[addr]; l != nil {
		return l
	}
	return s.listeners[netip.AddrPortFrom(netip.Addr{}, addr.Port())]
}

// Addr is what the listener listens on; its address is invalid if that is any.
func (l *Listener) Addr() netip.AddrPort { return l.addr }

// Close stops listening. Handshakes under way are reset, connections stay.
func (l *Listener) Close(now clock.Instant) {
	if l.stack.listeners[l.addr] != l {
		return
	}
	delete(l.stack.listeners, l.addr)
	for len(l.halfOpen) > 0 {
		l.halfOpen[0].Abort(now)
	}
}

// input is RFC 9293 section 3.10.7.2: the LISTEN state.
func (l *Listener) input(now clock.Instant, f flow, sg *segment) {
	switch {
	case sg.has(wire.FlagRST):
		return
	case sg.has(wire.FlagACK):
		l.stack.refuse(now, f, sg)
		return
	case !sg.has(wire.FlagSYN):
		return
	}
	if len(l.halfOpen) >= l.stack.cfg.Backlog || len(l.stack.conns) >= l.stack.cfg.MaxConns {
		l.stack.counters.Refused++
		return
	}
	c := l.stack.newConn(f)
	c.listener = l
	l.halfOpen = append(l.halfOpen, c)
	c.receiveSYN(sg)
	c.state = SynReceived
	c.ackNow = true
	c.output(now)
}

// Dial opens a connection. A zero local port stands for the next free one. How
// it went is told by Connected or Closed.
func (s *Stack) Dial(now clock.Instant, local, remote netip.AddrPort, ev Events) (*Conn, error) {
	if !unicast(remote.Addr()) || remote.Port() == 0 || local.Addr().Is4() != remote.Addr().Is4() {
		return nil, ErrUnreachable
	}
	if len(s.conns) >= s.cfg.MaxConns {
		return nil, ErrTooMany
	}
	if local.Port() == 0 {
		port, ok := s.freePort(func(p uint16) bool {
			return s.conns[flow{netip.AddrPortFrom(local.Addr(), p), remote}] == nil
		})
		if !ok {
			return nil, ErrNoPorts
		}
		local = netip.AddrPortFrom(local.Addr(), port)
	}
	f := flow{local, remote}
	if s.conns[f] != nil {
		return nil, ErrInUse
	}
	c := s.newConn(f)
	c.events = ev
	c.state = SynSent
	c.output(now)
	return c, nil
}

// freePort goes round the ephemeral ports, so that a port rests before it is
// used again.
func (s *Stack) freePort(free func(uint16) bool) (uint16, bool) {
	for range int(s.cfg.LastPort) - int(s.cfg.FirstPort) + 1 {
		p := s.nextPort
		if s.nextPort++; p >= s.cfg.LastPort {
			s.nextPort = s.cfg.FirstPort
		}
		if free(p) {
			return p, true
		}
	}
	return 0, false
}
