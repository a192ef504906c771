package netsim

import (
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/netsim/tcp"
)

// Service is a TCP server that its operator can stop, start and slow down, and
// that starts again with its machine.
type Service struct {
	h        *Host
	port     uint16
	accept   func(now clock.Instant, c *tcp.Conn) tcp.Events
	listener *tcp.Listener // nil: it does not listen
	stopped  bool
	delay    time.Duration
	conns    []*tcp.Conn
}

// Serve listens on a port of all of the host's addresses; accept says what an
// accepted connection's application wants to be told.
func (h *Host) Serve(port uint16, accept func(now clock.Instant, c *tcp.Conn) tcp.Events) (*Service, error) {
	s := &Service{h: h, port: port, accept: accept}
	if err := s.open(); err != nil {
		return nil, err
	}
	h.services = append(h.services, s)
	return s, nil
}

// Service is what Serve returned for a port; nil if nothing was served there.
func (h *Host) Service(port uint16) *Service {
	for _, s := range h.services {
		if s.port == port {
			return s
		}
	}
	return nil
}

// SetUp starts or stops the server's process. The connections of one that
// stops are closed.
func (s *Service) SetUp(up bool) {
	if up != s.stopped {
		return
	}
	s.stopped = !up
	s.h.net.logf(s.h.name, "the service on port %d is %s", s.port, upDown(up))
	switch {
	case s.h.life.crashed:
	case up:
		_ = s.open() // nobody else can have taken the port but by ListenTCP
	default:
		s.close()
	}
}

// Up reports whether the server's process runs, if its machine does.
func (s *Service) Up() bool { return !s.stopped }

// SetDelay makes the server slow: it takes notice of what arrives only d
// later. With a very long delay it accepts connections and never answers.
func (s *Service) SetDelay(d time.Duration) {
	if s.delay != d {
		s.h.net.logf(s.h.name, "the service on port %d is %v late", s.port, d)
	}
	s.delay = d
}

// open makes the server listen, unless it is stopped.
func (s *Service) open() (err error) {
	s.listener, s.conns = nil, nil
	if s.stopped {
		return nil
	}
	s.listener, err = s.h.ListenTCP(netip.AddrPortFrom(netip.Addr{}, s.port), s.accepted)
	return err
}

func (s *Service) close() {
	now := s.h.net.now
	if s.listener != nil {
		s.listener.Close(now)
	}
	for _, c := range slices.Clone(s.conns) {
		c.Close(now)
	}
	s.listener, s.conns = nil, nil
}

// accepted keeps account of a connection, and makes its application slow.
func (s *Service) accepted(now clock.Instant, c *tcp.Conn) tcp.Events {
	s.conns = append(s.conns, c)
	ev := s.accept(now, c)
	readable, closed := ev.Readable, ev.Closed
	ev.Readable = func(now clock.Instant, c *tcp.Conn) {
		if readable == nil {
			return
		}
		if s.delay <= 0 {
			readable(now, c)
			return
		}
		s.h.newTimer(func() { readable(s.h.net.now, c) }).Set(now.Add(s.delay))
	}
	ev.Closed = func(now clock.Instant, c *tcp.Conn, err error) {
		s.conns = slices.DeleteFunc(s.conns, func(o *tcp.Conn) bool { return o == c })
		if closed != nil {
			closed(now, c, err)
		}
	}
	return ev
}
