package netconn

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"usvs/clock"
	"usvs/netsim/tcp"
)

// Conn is a net.Conn between simulated hosts. Like a *net.TCPConn it has
// CloseWrite.
type Conn struct {
	host          *Host
	tc            *tcp.Conn
	local, remote netip.AddrPort

	// Only the network's goroutine touches these.
	source                      source
	connected, closed, aborted  bool
	failure                     error // what ended the connection
	readDeadline, writeDeadline clock.Instant
}

func (h *Host) newConn() *Conn {
	return &Conn{host: h, readDeadline: clock.Never, writeDeadline: clock.Never}
}

func (c *Conn) attach(tc *tcp.Conn) {
	c.tc, c.local, c.remote = tc, tc.LocalAddr(), tc.RemoteAddr()
}

func (c *Conn) events() tcp.Events {
	stir := func(clock.Instant, *tcp.Conn) { c.source.stir() }
	return tcp.Events{
		Connected: func(clock.Instant, *tcp.Conn) { c.connected = true; c.source.stir() },
		Readable:  stir,
		Writable:  stir,
		Closed:    func(_ clock.Instant, _ *tcp.Conn, err error) { c.failure = err; c.source.stir() },
	}
}

// do hands over a call about the connection and waits for it.
func (c *Conn) do(k kind, until *clock.Instant, try func(now clock.Instant) (done bool, err error)) error {
	op := &call{host: c.host.sim.Name(), local: c.local, remote: c.remote, kind: k, source: &c.source, until: until}
	op.try = func(now clock.Instant) bool {
		done, err := try(now)
		op.err = err
		return done
	}
	return c.host.net.submit(op)
}

// Read reads what has arrived, and waits if that is nothing.
func (c *Conn) Read(p []byte) (int, error) {
	n := 0
	err := c.do(kindRead, &c.readDeadline, func(now clock.Instant) (bool, error) {
		switch {
		case c.closed:
			return true, net.ErrClosed
		case c.readDeadline <= now:
			return true, os.ErrDeadlineExceeded
		}
		var err error
		n, err = c.tc.Read(now, p)
		return !errors.Is(err, tcp.ErrWouldBlock), err
	})
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, opError("read", "tcp", c.local, c.remote, err)
}

// Write hands all of p to the host's TCP, and waits while its buffer is full.
func (c *Conn) Write(p []byte) (int, error) {
	total := 0
	err := c.do(kindWrite, &c.writeDeadline, func(now clock.Instant) (bool, error) {
		switch {
		case c.closed:
			return true, net.ErrClosed
		case c.writeDeadline <= now:
			return true, os.ErrDeadlineExceeded
		}
		n, err := c.tc.Write(now, p[total:])
		total += n
		return err != nil || total == len(p), err
	})
	return total, opError("write", "tcp", c.local, c.remote, err)
}

// CloseWrite ends what is sent; the other direction goes on.
func (c *Conn) CloseWrite() error {
	err := c.do(kindCloseWrite, nil, func(now clock.Instant) (bool, error) {
		if c.closed {
			return true, net.ErrClosed
		}
		c.tc.CloseWrite(now)
		c.source.stir()
		return true, nil
	})
	return opError("close", "tcp", c.local, c.remote, err)
}

// Close closes the connection. What was written is still delivered, unless
// something that arrived is left unread: that resets, as on Linux.
func (c *Conn) Close() error {
	err := c.do(kindClose, nil, func(now clock.Instant) (bool, error) {
		if c.closed {
			return true, net.ErrClosed
		}
		c.closed = true
		c.tc.Close(now)
		c.source.stir()
		return true, nil
	})
	return opError("close", "tcp", c.local, c.remote, err)
}

// abort resets the connection, whatever state it is in.
func (c *Conn) abort(now clock.Instant) {
	c.aborted = true
	if c.tc != nil {
		c.tc.Abort(now)
	}
	c.source.stir()
}

// LocalAddr is the address of this end.
func (c *Conn) LocalAddr() net.Addr { return netAddr(c.local) }

// RemoteAddr is the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return netAddr(c.remote) }

// SetDeadline sets when reads and writes fail; a zero time never.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline sets when reads fail, those that wait now included.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline sets when writes fail, those that wait now included.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *Conn) setDeadlines(t time.Time, read, write bool) error {
	at := clock.Never
	if !t.IsZero() {
		at = c.host.net.instant(t)
	}
	err := c.do(kindDeadline, nil, func(clock.Instant) (bool, error) {
		if c.closed {
			return true, net.ErrClosed
		}
		if read {
			c.readDeadline = at
		}
		if write {
			c.writeDeadline = at
		}
		return true, nil
	})
	return opError("set", "tcp", c.local, c.remote, err)
}

// opError dresses err as package net does; nil stays nil.
func opError(op, network string, local, remote netip.AddrPort, err error) error {
	if err == nil {
		return nil
	}
	for _, m := range []struct{ from, to error }{
		{tcp.ErrReset, syscall.ECONNRESET}, {tcp.ErrRefused, syscall.ECONNREFUSED},
		{tcp.ErrTimeout, syscall.ETIMEDOUT}, {tcp.ErrUnreachable, syscall.EHOSTUNREACH},
		{tcp.ErrInUse, syscall.EADDRINUSE}, {tcp.ErrNoPorts, syscall.EADDRNOTAVAIL},
		{tcp.ErrClosed, net.ErrClosed},
	} {
		if errors.Is(err, m.from) {
			err = m.to
		}
	}
	e := &net.OpError{Op: op, Net: network, Err: err}
	if local.IsValid() {
		e.Source = netAddr(local)
	}
	if remote.IsValid() {
		e.Addr = netAddr(remote)
	}
	return e
}

// netAddr is a for package net; an unspecified address if it has none.
func netAddr(a netip.AddrPort) net.Addr {
	if !a.Addr().IsValid() {
		a = netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())
	}
	return net.TCPAddrFromAddrPort(a)
}
