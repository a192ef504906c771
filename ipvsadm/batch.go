package ipvsadm

import "io"

// maxBatch is how many changes are made at once.
const maxBatch = 1000

// queue has the changes of restore input that were read and not yet made. They
// are made when there are many, when a line has to come after them, and before
// anything is waited for: to who types lines, or writes them to a pipe, each
// takes effect at once.
type queue struct {
	backend  Batcher
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
	if len(s.queue.changes) == 0 {
		return nil
	}
	errs := s.queue.backend.Batch(s.queue.changes)
	commands := s.queue.commands
	s.queue.changes, s.queue.commands = s.queue.changes[:0], commands[:0]
	for i, err := range errs {
		v := writeFailed(commands[i], err)
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
