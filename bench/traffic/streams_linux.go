package traffic

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// rampUp is how long streams may take to come to speed before they count.
const rampUp = 150 * time.Millisecond

// Streams sends on several connections at once, and returns how many bytes per
// second the server swallowed.
func (c *Client) Streams(ctx context.Context, s *Server, streams int, long time.Duration) (bytesPerSecond float64, err error) {
	l, err := c.open(ctx, streams)
	if err != nil {
		return 0, err
	}
	defer l.close()
	for _, fd := range l.conns {
		if err := watch(l.poll, fd, unix.EPOLLOUT); err != nil {
			return 0, err
		}
	}
	if err := l.send(ctx, rampUp); err != nil {
		return 0, err
	}
	before, start := s.Swallowed(), time.Now()
	if err := l.send(ctx, long); err != nil {
		return 0, err
	}
	return float64(s.Swallowed()-before) / time.Since(start).Seconds(), ctx.Err()
}

// send sends for a while.
func (l *loop) send(ctx context.Context, long time.Duration) error {
	for start := time.Now(); time.Since(start) < long && ctx.Err() == nil; {
		ready, err := l.wait(long)
		if err != nil {
			return err
		}
		for _, ev := range ready {
			_, err := unix.Write(int(ev.Fd), l.buf)
			if err != nil && err != unix.EAGAIN && err != unix.EINTR {
				return err
			}
		}
	}
	return ctx.Err()
}
