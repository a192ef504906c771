package ipvsadm

import "io"

// maxBatch is how many changes are made at once.
const maxBatch = 4000

// queue has the changes of restore input that were read and not yet made. They
// are made when there are many, when a line has to come after them, and before
// anything is waited for: to who types lines, or writes them to a pipe, each
// takes effect at once.
type queue struct {
	backend Batcher
	batch
	sent batch // that is being made meanwhile, if wait is not nil
	wait func() []error
}

// batch is changes with the commands that they come from.
type batch struct {
	changes  []Change
	commands []command
}

// enqueue takes a request that a Batcher can make together with others.
func (s *session) enqueue(q *request) bool {
	if s.queue.backend == nil {
		return false
	}
	c, ok := q.change()
	if ok {
		s.queue.changes = append(s.queue.changes, c)
		s.queue.commands = append(s.queue.commands, q.command)
	}
	return ok
}

// flush makes the queued changes and reports what failed. It returns the verdict
// that ends the restore, if any.
func (s *session) flush() (final *verdict) {
	if final := s.dispatch(); final != nil {
		return final
	}
	return s.settle()
}

// dispatch has the queued changes made, while what comes after them is read if
// the backend can do that.
func (s *session) dispatch() (final *verdict) {
	if final := s.settle(); final != nil || len(s.queue.changes) == 0 {
		return final
	}
	q := &s.queue
	q.batch, q.sent = batch{q.sent.changes[:0], q.sent.commands[:0]}, q.batch
	if p, ok := q.backend.(Pipeliner); ok {
		q.wait = p.Begin(q.sent.changes)
		return nil
	}
	errs := q.backend.Batch(q.sent.changes)
	q.wait = func() []error { return errs }
	return nil
}

// settle waits for changes that are being made and reports what failed.
func (s *session) settle() (final *verdict) {
	if s.queue.wait == nil {
		return nil
	}
	errs := s.queue.wait()
	s.queue.wait = nil
	for i, err := range errs {
		v := writeFailed(s.queue.sent.commands[i], err)
		if v != nil && v.final {
			return v
		}
		s.report(v)
		s.last = v
	}
	return nil
}

// flushing flushes the session's queue before it reads.
type flushing struct {
	*session
	final *verdict // what ended the restore meanwhile
}

func (f *flushing) Read(p []byte) (int, error) {
	if f.final = f.flush(); f.final != nil {
		return 0, io.EOF
	}
	return f.stdin.Read(p)
}
