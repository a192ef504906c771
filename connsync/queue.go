package connsync

import (
	"sync/atomic"

	"usvs/clock"
)

// queueLen is how many encoded entries wait for the next Tick. At one Tick
// every FlushDelay that is 400,000 entries a second.
const queueLen = 1 << 13

// queue is a bounded queue of encoded entries with any number of writers and
// one reader, without locks: a cell's turn says who may use it next (Vyukov).
type queue struct {
	cells []cell
	_     [64]byte
	tail  atomic.Uint64 // next to be written
	_     [64]byte
	head  uint64 // next to be read; the reader's own
}

type cell struct {
	turn    atomic.Uint64 // position: free for that one; position+1: written
	at      clock.Instant // when it was queued
	spread  uint32        // the same for all entries of a connection
	version uint8
	n       uint16 // of buf
	buf     [maxEntry]byte
}

func newQueue(n int) *queue {
	q := &queue{cells: make([]cell, n)}
	for i := range q.cells {
		q.cells[i].turn.Store(uint64(i))
	}
	return q
}

// reserve takes the next free cell, which its caller fills and then publishes,
// or nil if the queue is full.
func (q *queue) reserve() (*cell, uint64) {
	for {
		pos := q.tail.Load()
		c := &q.cells[pos%uint64(len(q.cells))]
		switch turn := c.turn.Load(); {
		case turn == pos:
			if q.tail.CompareAndSwap(pos, pos+1) {
				return c, pos
			}
		case turn < pos:
			return nil, 0
		}
	}
}

func (c *cell) publish(pos uint64) { c.turn.Store(pos + 1) }

// next returns the oldest entry if there is one; it is to be released.
func (q *queue) next() *cell {
	c := &q.cells[q.head%uint64(len(q.cells))]
	if c.turn.Load() != q.head+1 {
		return nil
	}
	return c
}

// release gives the cell that next returned back to the writers.
func (q *queue) release(c *cell) {
	c.turn.Store(q.head + uint64(len(q.cells)))
	q.head++
}
