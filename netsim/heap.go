package netsim

import "usvs/clock"

// item is one event to come: the arrival of a frame, or a timer.
type item struct {
	at    clock.Instant
	seq   uint64 // orders the events of one instant
	frame *frame
	timer *Timer
}

func (a *item) before(b *item) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// queue is a 4-ary heap of events: flatter than a binary one, and the children
// of an item lie side by side.
type queue struct {
	items []item
	seq   uint64
}

// push adds an event and returns its sequence number.
func (q *queue) push(it item) uint64 {
	q.seq++
	it.seq = q.seq
	q.insert(it)
	return it.seq
}

// fifo is a chain of frames that arrive one after the other. Only the first is
// in the heap, so that a million frames in flight on a few links cost what a
// few events do. The order of all events is the same as without.
type fifo struct{ last *frame }

// pushFrame adds the arrival of a frame at the end of a link's direction.
func (q *queue) pushFrame(c *fifo, at clock.Instant, f *frame) {
	q.seq++
	f.at, f.seq = at, q.seq
	if c.last != nil && at < c.last.at { // it overtakes
		q.insert(item{at: at, seq: f.seq, frame: f})
		return
	}
	f.chain = c
	if c.last != nil {
		c.last.next = f
	} else {
		q.insert(item{at: at, seq: f.seq, frame: f})
	}
	c.last = f
}

// unchain takes the first frame out of its chain and returns the next one.
func (f *frame) unchain() *frame {
	next := f.next
	if f.chain != nil && next == nil {
		f.chain.last = nil
	}
	f.chain, f.next = nil, nil
	return next
}

func (q *queue) insert(it item) {
	q.items = append(q.items, it)
	s := q.items
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !it.before(&s[parent]) {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = it
}

// pop takes the first event off. The queue must not be empty.
func (q *queue) pop() item {
	s := q.items
	first := s[0]
	if first.frame != nil {
		if f := first.frame.unchain(); f != nil {
			sink(s, item{at: f.at, seq: f.seq, frame: f})
			return first
		}
	}
	last := s[len(s)-1]
	s[len(s)-1] = item{}
	s = s[:len(s)-1]
	q.items = s
	if len(s) > 0 {
		sink(s, last)
	}
	return first
}

// sink puts it into the hole at the top of the heap.
func sink(s []item, it item) {
	i := 0
	for {
		child := 4*i + 1
		if child >= len(s) {
			break
		}
		for c, end := child+1, min(child+4, len(s)); c < end; c++ {
			if s[c].before(&s[child]) {
				child = c
			}
		}
		if !s[child].before(&it) {
			break
		}
		s[i] = s[child]
		i = child
	}
	s[i] = it
}

// Timer calls a function at a time that may be changed.
type Timer struct {
	net    *Net
	call   func()
	at     clock.Instant // when it is wanted; Never: not at all
	queued clock.Instant // when its event is due
	seq    uint64        // of that event; others are stale
}

// NewTimer returns a timer that is not set.
func (n *Net) NewTimer(call func()) *Timer {
	return &Timer{net: n, call: call, at: clock.Never, queued: clock.Never}
}

// Set makes the timer call at t, and at no other time. A later time than
// before costs nothing until the earlier one comes.
func (t *Timer) Set(at clock.Instant) {
	t.at = max(at, t.net.now)
	if at == clock.Never {
		return
	}
	if t.at < t.queued {
		t.enqueue()
	}
}

// Stop makes the timer call no more until it is set again.
func (t *Timer) Stop() { t.at = clock.Never }

// Deadline is when the timer will call; clock.Never if it is not set.
func (t *Timer) Deadline() clock.Instant { return t.at }

func (t *Timer) enqueue() {
	t.queued = t.at
	t.seq = t.net.queue.push(item{at: t.at, timer: t})
}

// expire takes the timer's event number seq.
func (t *Timer) expire(seq uint64) {
	if seq != t.seq {
		return
	}
	t.queued = clock.Never
	switch {
	case t.at == clock.Never:
	case t.at > t.net.now:
		t.enqueue()
	default:
		t.at = clock.Never
		t.call()
	}
}
