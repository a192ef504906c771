package ipvsadm

import (
	"bufio"
	"fmt"
	"io"

	"usvs/ipvs"
)

// programName is the name the command goes by where nobody gave it one.
const programName = "ipvsadm"

// execBuffer is small: a rules file has many lines, which print little if anything.
const execBuffer = 64

// session executes command lines, one or those of a restore.
type session struct {
	prog     string
	backend  Backend
	resolver Resolver
	stdin    io.Reader
	out      *bufio.Writer
	stderr   io.Writer
	info     ipvs.Info
	nested   bool // within a restore
	comments bool // a restore skips lines that start with #
	queue    queue
	last     *verdict // of the last line of a restore
}

func newSession(b Backend, r Resolver, stdin io.Reader, out *bufio.Writer, stderr io.Writer) *session {
	return &session{
		prog:     programName,
		backend:  b,
		resolver: r,
		stdin:    stdin,
		out:      out,
		stderr:   stderr,
	}
}

// Run executes a command line, args[0] being the name the command was called
// by, and returns its exit status. A nil Resolver knows no names.
func Run(args []string, b Backend, r Resolver, stdin io.Reader, stdout, stderr io.Writer) int {
	s := newSession(b, r, stdin, bufio.NewWriter(stdout), stderr)
	if len(args) > 0 {
		s.prog, args = args[0], args[1:]
	}
	if len(args) == 0 {
		args = []string{"-L"}
	}
	return s.report(s.run(args))
}

// Exec executes one line of a rules file, already split by Words, and returns
// its exit status. No words at all do nothing.
func Exec(words []string, b Backend, r Resolver, stdout, stderr io.Writer) int {
	if len(words) == 0 {
		return 0
	}
	s := newSession(b, r, nil, bufio.NewWriterSize(stdout, execBuffer), stderr)
	s.nested = true
	return s.report(s.run(words))
}

// run understands a command line, opens the backend and executes the request.
// The backend counts for more than the syntax: without it nothing else is said.
func (s *session) run(args []string) *verdict {
	q, v := parse(s.prog, args, s.resolver)
	if v == nil && s.describe(q.command) {
		return nil
	}
	info, err := s.backend.Info()
	if err != nil {
		return unreachable(err)
	}
	s.info = info
	if v != nil {
		return v
	}
	return s.execute(q)
}

// report writes what is left to write and returns the exit status.
func (s *session) report(v *verdict) int {
	s.out.Flush()
	if v == nil {
		return 0
	}
	if v.text != "" {
		fmt.Fprintln(s.stderr, v.text)
	}
	return v.status
}

// describe answers -h and -v, which need no backend.
func (s *session) describe(c command) bool {
	switch c {
	case cmdHelp:
		writeHelp(s.out, s.prog)
	case cmdVersion:
		writeVersion(s.out)
	default:
		return false
	}
	return true
}

func (s *session) execute(q *request) *verdict {
	switch q.command {
	case cmdList:
		return s.list(q)
	case cmdSave:
		return s.save(q)
	case cmdRestore:
		return s.restore()
	}
	return writeFailed(q.command, s.change(q))
}

// change executes the commands that change something.
func (s *session) change(q *request) error {
	if c, ok := q.change(); ok {
		return c.Apply(s.backend)
	}
	b := s.backend
	switch q.command {
	case cmdFlush:
		return b.Flush()
	case cmdSet:
		return b.SetTimeouts(q.timeouts)
	case cmdStartDaemon:
		return b.StartDaemon(q.daemon)
	case cmdStopDaemon:
		return b.StopDaemon(q.daemon.State)
	case cmdZero:
		return b.Zero(zeroTarget(q))
	}
	panic(fmt.Sprintf("ipvsadm: command %d has no action", q.command))
}

// zeroTarget is the service to zero, or nil for all of them. An address of all
// zeros without a port means all as well.
func zeroTarget(q *request) *ipvs.ServiceID {
	id := &q.service
	if !q.options.has(optService) || id.Mark == 0 && id.Port == 0 && id.Addr.IsUnspecified() {
		return nil
	}
	return id
}
