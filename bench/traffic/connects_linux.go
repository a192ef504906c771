package traffic

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// Connections makes a connection for each request, several at once, and returns
// how many were served per second.
func (c *Client) Connections(ctx context.Context, atOnce int, long time.Duration) (perSecond float64, err error) {
	l, err := c.open(ctx, 0)
	if err != nil {
		return 0, err
	}
	defer l.close()
	left := map[int32]int{} // of each connection's answer
	defer func() {
		for fd := range left {
			unix.Close(int(fd))
		}
	}()
	for range atOnce {
		if err := c.begin(l, left); err != nil {
			return 0, err
		}
	}
	served, last := 0, time.Duration(0)
	start := time.Now()
	for passed := last; passed < long && ctx.Err() == nil; {
		ready, err := l.wait(patience)
		if err != nil {
			return 0, err
		}
		passed = time.Since(start)
		if len(ready) == 0 && passed-last > patience {
			return 0, errSilence
		}
		for _, ev := range ready {
			done, err := l.step(ev, left)
			if err != nil {
				return 0, err
			}
			if done {
				served, last = served+1, passed
				if err := c.begin(l, left); err != nil {
					return 0, err
				}
			}
		}
	}
	return float64(served) / time.Since(start).Seconds(), ctx.Err()
}

// begin begins a connection.
func (c *Client) begin(l *loop, left map[int32]int) error {
	fd, err := c.connect()
	if err != nil {
		return err
	}
	left[int32(fd)] = AnswerBytes
	return watch(l.poll, fd, unix.EPOLLOUT)
}

// request is what every client asks.
var request [RequestBytes]byte

// step does what a connection is ready for; done if it is at its end.
func (l *loop) step(ev unix.EpollEvent, left map[int32]int) (done bool, err error) {
	fd := int(ev.Fd)
	if ev.Events&unix.EPOLLOUT != 0 {
		if err := pending(fd); err != nil {
			return false, err
		}
		if err := ask(fd, request[:]); err != nil {
			return false, err
		}
		return false, unix.EpollCtl(l.poll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: ev.Fd})
	}
	rest, err := l.heard(fd, left[ev.Fd])
	if err != nil || rest > 0 {
		left[ev.Fd] = rest
		return false, err
	}
	delete(left, ev.Fd)
	unix.Close(fd)
	return true, nil
}
