package tcp

import "usvs/clock"

// The timers of a connection.
const (
	timerRetransmit = iota // or the zero-window probe
	timerLinger            // TIME-WAIT, and FIN-WAIT-2 of a closed connection
	timerKeepAlive
	timerCount
)

// timerHeap orders connections by their next deadline, then by age, so that
// what is due at one instant runs in one order.
type timerHeap []*Conn

func (h timerHeap) less(i, j int) bool {
	if h[i].deadline != h[j].deadline {
		return h[i].deadline < h[j].deadline
	}
	return h[i].serial < h[j].serial
}

func (h timerHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

// update puts c where its timers want it: in, out, or elsewhere in the heap.
func (h *timerHeap) update(c *Conn) {
	d := clock.Never
	for _, t := range c.timers {
		d = min(d, t)
	}
	switch {
	case d == c.deadline:
		return
	case d == clock.Never:
		h.remove(c)
		c.deadline = d
		return
	case c.deadline == clock.Never:
		c.heapAt = len(*h)
		*h = append(*h, c)
	}
	c.deadline = d
	h.fix(c.heapAt)
}

func (h *timerHeap) remove(c *Conn) {
	at, last := c.heapAt, len(*h)-1
	h.swap(at, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	if at < last {
		h.fix(at)
	}
}

func (h timerHeap) fix(i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
