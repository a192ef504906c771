package health

import "usvs/clock"

// queue has the waiting checks, the one that is due first at its head: a heap
// in which every check knows its place. Of checks due at the same time the
// older one comes first, so that runs repeat.
type queue []*check

const notQueued = -1

func (q queue) before(i, j int) bool {
	if q[i].due != q[j].due {
		return q[i].due.Before(q[j].due)
	}
	return q[i].order < q[j].order
}

func (q queue) swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// next is when the head is due.
func (q queue) next() clock.Instant {
	if len(q) == 0 {
		return clock.Never
	}
	return q[0].due
}

// add has a check wait until due.
func (q *queue) add(c *check, due clock.Instant) {
	c.due, c.place = due, len(*q)
	*q = append(*q, c)
	q.up(c.place)
}

// remove takes a check out, if it is in.
func (q *queue) remove(c *check) {
	i := c.place
	if i == notQueued {
		return
	}
	last := len(*q) - 1
	q.swap(i, last)
	(*q)[last] = nil
	*q = (*q)[:last]
	c.place = notQueued
	if i < last {
		q.down(i)
		q.up(i)
	}
}

// clear takes all checks out.
func (q *queue) clear() {
	for i, c := range *q {
		c.place = notQueued
		(*q)[i] = nil
	}
	*q = (*q)[:0]
}

func (q queue) up(i int) {
	for i > 0 && q.before(i, (i-1)/2) {
		q.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (q queue) down(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q); child++ {
			if q.before(child, first) {
				first = child
			}
		}
		if first == i {
			return
		}
		q.swap(i, first)
		i = first
	}
}
