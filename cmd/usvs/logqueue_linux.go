package main

import (
	"io"
	"sync"
	"time"
)

// logLimit bounds the lines that wait to be written, in bytes.
const logLimit = 1 << 20

// logPatience is how long the end of the program waits for who reads the log.
const logPatience = time.Second

// logQueue writes lines without having who logs them wait: a reader that has
// stalled, such as journald being restarted, must not stall the loop that says to
// the other directors that this one is alive. It keeps the order. What does not
// fit is lost, and a line in its place says how much that was.
type logQueue struct {
	out    io.Writer
	report func(lost int) []byte // makes that line
	wake   chan struct{}

	mu      sync.Mutex
	changed *sync.Cond // of mu; a round of writing is over
	waiting []byte     // guarded by mu; whole lines
	lost    int        // guarded by mu; lines after waiting
	busy    bool       // guarded by mu; a round has begun
}

// newLogQueue returns a queue that writes to out for as long as the program lives.
func newLogQueue(out io.Writer, report func(lost int) []byte) *logQueue {
	q := &logQueue{out: out, report: report, wake: make(chan struct{}, 1)}
	q.changed = sync.NewCond(&q.mu)
	go q.run()
	return q
}

// Write takes one line. It neither waits nor fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	if q.lost > 0 || len(q.waiting)+len(line) > logLimit {
		q.lost++
	} else {
		q.waiting = append(q.waiting, line...)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // it will look anyway
	}
	return len(line), nil
}

func (q *logQueue) run() {
	var spare []byte
	for range q.wake {
		lines, lost := q.take(spare)
		q.put(lines, lost)
		spare = lines[:0]
	}
}

// take begins a round: what waits, and how many lines were lost after it.
func (q *logQueue) take(spare []byte) (lines []byte, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines, lost = q.waiting, q.lost
	q.waiting, q.lost, q.busy = spare, 0, true
	return lines, lost
}

// put ends a round. Lines that cannot be written have nowhere else to go.
func (q *logQueue) put(lines []byte, lost int) {
	if len(lines) > 0 {
		_, _ = q.out.Write(lines)
	}
	if lost > 0 {
		_, _ = q.out.Write(q.report(lost))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy = false
	q.changed.Broadcast()
}

// flush waits until all that was logged is written, but not longer than patience.
// It reports whether it is.
func (q *logQueue) flush(patience time.Duration) bool {
	late := false
	timer := time.AfterFunc(patience, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		late = true
		q.changed.Broadcast()
	})
	defer timer.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for !late && (q.busy || q.lost > 0 || len(q.waiting) > 0) {
		q.changed.Wait()
	}
	return !q.busy && q.lost == 0 && len(q.waiting) == 0
}
