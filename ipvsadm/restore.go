package ipvsadm

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
)

// maxLine is how many bytes a line of restore input may have, and how many are
// read at once.
const maxLine = 1 << 20

// Words splits a line of restore input into the words of a command line. There
// are no quotes, escapes or comments. The word "ipvsadm" is dropped wherever
// it stands.
func Words(line string) []string {
	fields := strings.FieldsFunc(line, func(r rune) bool {
		return r == ' ' || r == '\t' || r == '\r' || r == '\n'
	})
	return slices.DeleteFunc(fields, func(w string) bool { return w == programName })
}

// restore executes -R: every line of the input is a command line. It neither
// clears the table first nor undoes anything. An error of the backend does not
// end it, and the last line's status is the status of the whole.
func (s *session) restore() *verdict {
	if s.nested {
		return tryHelp(s.prog)
	}
	s.nested = true
	s.queue.backend, _ = s.backend.(Batcher)
	input := &flushing{session: s}
	in := bufio.NewScanner(input)
	in.Buffer(make([]byte, maxLine), maxLine)
	for in.Scan() {
		line := in.Text()
		args := Words(line)
		if len(args) == 0 || s.comments && strings.HasPrefix(line, "#") {
			continue
		}
		if end, v := s.line(args); end {
			return v
		}
	}
	if input.final == nil {
		input.final = s.flush()
	}
	if input.final != nil {
		return input.final
	}
	if err := in.Err(); err != nil {
		return readStopped(err)
	}
	if s.last != nil {
		s.last.text = "" // it was written when its line ended
	}
	return s.last
}

// line executes a line of restore input, or queues it, and says whether it is
// the last.
func (s *session) line(args []string) (end bool, v *verdict) {
	q, v := parse(s.prog, args, s.resolver)
	if v == nil && s.enqueue(q) {
		if len(s.queue.changes) < maxBatch {
			return false, nil
		}
		v = s.dispatch()
		return v != nil, v
	}
	if final := s.flush(); final != nil {
		return true, final
	}
	if v == nil {
		if s.describe(q.command) {
			return true, nil
		}
		v = s.execute(q)
	}
	if v != nil && v.final {
		return true, v
	}
	s.report(v)
	s.last = v
	return false, nil
}

func readStopped(err error) *verdict {
	if errors.Is(err, bufio.ErrTooLong) {
		return fail("line longer than %d bytes", maxLine)
	}
	return fail("cannot read rules: %v", err)
}

// RunSave is the script ipvsadm-save: -S, with -n if that is given.
func RunSave(args []string, b Backend, r Resolver, stdin io.Reader, stdout, stderr io.Writer) int {
	line := []string{programName, "-S"}
	for _, arg := range args[min(1, len(args)):] {
		if !strings.HasPrefix(arg, "-") {
			break
		}
		if strings.Trim(arg[1:], "n") != "" {
			io.WriteString(stderr, saveUsage)
			return statusRead
		}
		if arg != "-" {
			line = []string{programName, "-S", "-n"}
		}
	}
	return Run(line, b, r, stdin, stdout, stderr)
}

const saveUsage = "ipvsadm-save: Script to save the IPVS table to stdout.\n" +
	"   With the -n option, prints out the table in numeric format.\n"

// RunRestore is the script ipvsadm-restore: it clears the table and restores
// the input, of which lines that start with # are comments.
func RunRestore(_ []string, b Backend, r Resolver, stdin io.Reader, stdout, stderr io.Writer) int {
	s := newSession(b, r, stdin, bufio.NewWriter(stdout), stderr)
	if status := s.report(s.run([]string{"-C"})); status == statusUsage {
		return status // there is no backend: nothing is gained by saying so twice
	}
	s.comments = true
	return s.report(s.run([]string{"-R"}))
}
