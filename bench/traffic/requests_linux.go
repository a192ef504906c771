package traffic

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// talk is a connection on which requests are made.
type talk struct {
	fd    int
	left  int           // bytes of the answer to come; 0: idle
	asked time.Duration // when its request was due, since the start
}

// talks opens connections for requests.
func (c *Client) talks(ctx context.Context, conns int) (*loop, map[int32]*talk, error) {
	l, err := c.open(ctx, conns)
	if err != nil {
		return nil, nil, err
	}
	byFD := make(map[int32]*talk, conns)
	for _, fd := range l.conns {
		byFD[int32(fd)] = &talk{fd: fd}
		if err := watch(l.poll, fd, unix.EPOLLIN); err != nil {
			l.close()
			return nil, nil, err
		}
	}
	return l, byFD, nil
}

// Requests keeps one request under way on each of conns connections and returns
// how many were answered per second, and how long each took.
func (c *Client) Requests(ctx context.Context, conns int, long time.Duration) (perSecond float64, took *Histogram, err error) {
	l, talks, err := c.talks(ctx, conns)
	if err != nil {
		return 0, nil, err
	}
	defer l.close()
	start := time.Now()
	for _, t := range talks {
		t.left = AnswerBytes
		if err := ask(t.fd, request[:]); err != nil {
			return 0, nil, err
		}
	}
	took = new(Histogram)
	for passed := time.Duration(0); passed < long && ctx.Err() == nil; {
		ready, err := l.wait(patience)
		if err != nil {
			return 0, nil, err
		}
		if passed = time.Since(start); len(ready) == 0 && passed > patience {
			return 0, nil, errSilence
		}
		for _, ev := range ready {
			t := talks[ev.Fd]
			if t.left, err = l.heard(t.fd, t.left); err != nil {
				return 0, nil, err
			}
			if t.left > 0 {
				continue
			}
			took.Add(passed - t.asked)
			t.left, t.asked = AnswerBytes, passed
			if err := ask(t.fd, request[:]); err != nil {
				return 0, nil, err
			}
		}
	}
	return float64(took.Count()) / time.Since(start).Seconds(), took, ctx.Err()
}

// Paced makes requests at a rate on idle ones of conns connections. How long
// each took counts from when it was due: what waits for a connection waits.
func (c *Client) Paced(ctx context.Context, conns int, perSecond float64, long time.Duration) (*Histogram, error) {
	l, talks, err := c.talks(ctx, conns)
	if err != nil {
		return nil, err
	}
	defer l.close()
	idle := make([]*talk, 0, conns)
	for _, t := range talks {
		idle = append(idle, t)
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // or every wait is 50 us longer
	interval := time.Duration(float64(time.Second) / perSecond)
	start, due := time.Now(), time.Duration(0)
	took := new(Histogram)
	for passed := time.Duration(0); passed < long && ctx.Err() == nil; passed = time.Since(start) {
		for ; due <= passed && len(idle) > 0; due += interval {
			t := idle[len(idle)-1]
			idle = idle[:len(idle)-1]
			t.left, t.asked = AnswerBytes, due
			if err := ask(t.fd, request[:]); err != nil {
				return nil, err
			}
		}
		ready, err := l.waitUntil(start.Add(due), len(idle) > 0)
		if err != nil {
			return nil, err
		}
		passed = time.Since(start)
		for _, ev := range ready {
			t := talks[ev.Fd]
			if t.left, err = l.heard(t.fd, t.left); err != nil {
				return nil, err
			}
			if t.left == 0 {
				took.Add(passed - t.asked)
				idle = append(idle, t)
			}
		}
	}
	if took.Count() == 0 {
		return nil, errSilence
	}
	return took, ctx.Err()
}
