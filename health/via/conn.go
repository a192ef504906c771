package via

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"usvs/clock"
	"usvs/health/path"
	"usvs/health/probe"
	"usvs/ipvs"
	"usvs/netsim/tcp"
)

// conn is a net.Conn over a Prober, for one goroutine that reads and writes and
// others that close: a check's dialogue.
type conn struct {
	d             *Dialer
	local, remote netip.AddrPort
	stirred       chan struct{} // something has changed; of capacity 1

	// Guarded by the Dialer's mutex:
	tc        *tcp.Conn
	x         *path.Exchange
	write     func(p []byte) error // of an exchange
	queue     [][]byte             // datagrams not read yet
	connected bool
	ended     bool
	failure   error // why it has ended; nil: in order
	closed    bool

	readBy, writeBy time.Time // of who reads and writes
}

// maxQueue is how many datagrams wait to be read.
const maxQueue = 16

func newConn(d *Dialer, to netip.AddrPort) *conn {
	return &conn{d: d, remote: to, stirred: make(chan struct{}, 1)}
}

// stir wakes who waits.
func (c *conn) stir() {
	select {
	case c.stirred <- struct{}{}:
	default:
	}
}

// await calls try, with the mutex held, until it is done, the time is up, the
// context is done or the connection is closed.
func (c *conn) await(ctx context.Context, deadline time.Time, try func(now clock.Instant) (done bool, err error)) error {
	var late <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	for {
		done, err := c.try(try)
		if done {
			return err
		}
		select {
		case <-c.stirred:
		case <-late:
			return os.ErrDeadlineExceeded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *conn) try(try func(now clock.Instant) (bool, error)) (bool, error) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if c.closed {
		return true, net.ErrClosed
	}
	done, err := try(c.d.clock.Now())
	c.d.schedule()
	return done, err
}

// established waits until the connection is there.
func (c *conn) established(ctx context.Context, timeout time.Duration) error {
	err := c.await(ctx, time.Now().Add(timeout), func(clock.Instant) (bool, error) {
		return c.connected || c.ended, c.failure
	})
	return c.dressed("dial", err)
}

// Read reads what has arrived, and waits if that is nothing.
func (c *conn) Read(p []byte) (n int, err error) {
	err = c.await(context.Background(), c.readBy, func(now clock.Instant) (bool, error) {
		var err error
		if c.tc == nil {
			if len(c.queue) == 0 {
				return false, nil
			}
			n = copy(p, c.queue[0])
			c.queue = c.queue[1:]
			return true, nil
		}
		n, err = c.tc.Read(now, p)
		return !errors.Is(err, tcp.ErrWouldBlock), err
	})
	if err == io.EOF {
		return n, io.EOF
	}
	return n, c.dressed("read", err)
}

// Write sends p, and waits while there is no room for it.
func (c *conn) Write(p []byte) (int, error) {
	total := 0
	err := c.await(context.Background(), c.writeBy, func(now clock.Instant) (bool, error) {
		if c.tc == nil {
			total = len(p)
			return true, c.write(p)
		}
		n, err := c.tc.Write(now, p[total:])
		total += n
		return err != nil || total == len(p), err
	})
	return total, c.dressed("write", err)
}

// Close ends the connection in order; one that is not there yet is given up.
func (c *conn) Close() error {
	return c.end(func(now clock.Instant) {
		if c.tc.State() == tcp.SynSent {
			c.tc.Abort(now)
			return
		}
		c.tc.Close(now)
	})
}

// abort gives it up.
func (c *conn) abort() { _ = c.end(func(now clock.Instant) { c.tc.Abort(now) }) }

func (c *conn) end(how func(now clock.Instant)) error {
	_, err := c.try(func(now clock.Instant) (bool, error) {
		c.closed = true
		if c.x != nil {
			c.x.Close()
		}
		if c.tc != nil {
			how(now)
		}
		return true, nil
	})
	c.stir()
	return err
}

// exchange makes a connection of datagrams. The first Write sends.
func (d *Dialer) exchange(to netip.AddrPort, rs *ipvs.RealServer) (*conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	src, err := d.source(to.Addr(), rs.ID.Addr)
	if err != nil {
		return nil, err
	}
	c := newConn(d, to)
	c.local = netip.AddrPortFrom(src, 0)
	c.write = func(p []byte) (err error) {
		if c.x != nil {
			c.x.Close()
		}
		c.x, err = d.prober.Exchange(d.clock.Now(), src, to, rs, p, func(_ clock.Instant, answer []byte) {
			if len(c.queue) < maxQueue {
				c.queue = append(c.queue, append([]byte(nil), answer...))
			}
			c.stir()
		})
		if err != nil {
			return fmt.Errorf("%w: %w", probe.ErrLocal, err)
		}
		return nil
	}
	return c, nil
}

// LocalAddr is this end's address.
func (c *conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr is the virtual address.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetDeadline sets when reads and writes that begin later fail; a zero time never.
func (c *conn) SetDeadline(t time.Time) error {
	c.readBy, c.writeBy = t, t
	return nil
}

// SetReadDeadline is SetDeadline for reads.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.readBy = t
	return nil
}

// SetWriteDeadline is SetDeadline for writes.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writeBy = t
	return nil
}

// dressed is an error as package net has it; nil stays nil.
func (c *conn) dressed(op string, err error) error {
	if err == nil || errors.Is(err, probe.ErrLocal) {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: systemError(err)}
}
