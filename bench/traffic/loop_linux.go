package traffic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Client has connections to one address.
type Client struct {
	To   netip.AddrPort
	From []netip.Addr // which address connections are made from, in turn; none: the machine's
	CC   string       // congestion control; empty: the machine's

	opened int
}

// patience is how long a connection may take to be made, or an answer to come,
// before a measurement is given up.
const patience = 3 * time.Second

// errSilence is the error if nothing has happened for so long.
var errSilence = errors.New("no answer")

// connect begins a connection.
func (c *Client) connect() (fd int, err error) {
	fd, err = socket(c.To)
	if err != nil {
		return -1, err
	}
	if err = c.prepare(fd); err == nil {
		err = unix.Connect(fd, sockaddr(c.To))
	}
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, fmt.Errorf("connect to %v: %w", c.To, err)
	}
	return fd, nil
}

func (c *Client) prepare(fd int) error {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if c.CC != "" {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, c.CC); err != nil {
			return fmt.Errorf("congestion control %s: %w", c.CC, err)
		}
	}
	if len(c.From) == 0 {
		return nil
	}
	from := c.From[c.opened%len(c.From)]
	c.opened++
	// The port is chosen when the other end is known: more can be used at once.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	return unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0)))
}

// loop is a client's thread and its connections.
type loop struct {
	poll   int
	conns  []int
	events [maxEvents]unix.EpollEvent
	buf    []byte
}

// open makes connections and waits until they are there.
func (c *Client) open(ctx context.Context, n int) (_ *loop, err error) {
	l := &loop{poll: -1, buf: make([]byte, streamChunk)}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	for range n {
		fd, err := c.connect()
		if err != nil {
			return nil, err
		}
		l.conns = append(l.conns, fd)
	}
	for _, fd := range l.conns {
		if err := connected(ctx, fd); err != nil {
			return nil, fmt.Errorf("connect to %v: %w", c.To, err)
		}
	}
	return l, nil
}

// connected waits until a connection is made.
func connected(ctx context.Context, fd int) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for deadline := time.Now().Add(patience); ctx.Err() == nil; {
		left := time.Until(deadline)
		if left <= 0 {
			return errSilence
		}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if n > 0 {
			return pending(fd)
		}
		if err != nil && err != unix.EINTR {
			return err
		}
	}
	return ctx.Err()
}

// pending is the error a connection has, if any.
func pending(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

func (l *loop) close() {
	for _, fd := range l.conns {
		unix.Close(fd)
	}
	if l.poll >= 0 {
		unix.Close(l.poll)
	}
}

// wait returns what is ready, and nothing if nothing is by then.
func (l *loop) wait(patience time.Duration) ([]unix.EpollEvent, error) {
	ms := int(patience.Milliseconds())
	n, err := unix.EpollWait(l.poll, l.events[:], ms)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return l.events[:n], nil
}

// waitUntil is wait until a point in time, or for an answer if nothing can be
// done before one comes.
func (l *loop) waitUntil(due time.Time, timed bool) ([]unix.EpollEvent, error) {
	left := patience
	if timed {
		left = max(time.Until(due), 0)
	}
	ts := unix.NsecToTimespec(left.Nanoseconds())
	fds := []unix.PollFd{{Fd: int32(l.poll), Events: unix.POLLIN}}
	n, err := unix.Ppoll(fds, &ts, nil) // epoll_wait(2) counts milliseconds
	switch {
	case err != nil && err != unix.EINTR:
		return nil, err
	case n <= 0 && !timed && err == nil:
		return nil, errSilence
	case n <= 0:
		return nil, nil
	}
	return l.wait(0)
}

// ask sends a request.
func ask(fd int, request []byte) error {
	_, err := unix.Write(fd, request)
	return err
}

// heard reads what there is of an answer and returns how much is still to come.
func (l *loop) heard(fd, left int) (int, error) {
	n, err := unix.Read(fd, l.buf[:left])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return left, nil
	case err != nil:
		return left, err
	case n == 0:
		return left, errors.New("the server closed a connection")
	}
	return left - n, nil
}
