package shell

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
)

// Program is a command that is not the shell's own. args[0] is its name.
type Program func(args []string, in io.Reader, out, errs io.Writer) int

// Shell runs command lines. Variables and files last from line to line.
type Shell struct {
	Files    Files
	Programs map[string]Program

	vars   map[string]string
	status int
	called string // the last command's name
	left   bool   // by exit
	steps  *int   // commands this line may still run
}

// Files is what a shell sees of a file system. Names are absolute and clean.
// Errors are those of io/fs, ErrDirectory, or what a device says of a value.
type Files interface {
	Read(name string) ([]byte, error)
	Write(name string, data []byte, appending bool) error
	// Creatable reports why a file cannot be written to, before anything is.
	Creatable(name string) error
	List(dir string) ([]string, error)
}

// ErrDirectory says that a name is a directory's.
var ErrDirectory = errors.New("Is a directory") //lint:ignore ST1005 the system's own text

// New returns a shell.
func New(files Files, programs map[string]Program) *Shell {
	return &Shell{Files: files, Programs: programs, vars: map[string]string{}}
}

// maxSteps bounds the commands of one line, so that every line ends.
const maxSteps = 100_000

const (
	statusUsage    = 2
	statusNotFound = 127
	statusEndless  = 124
)

type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Run runs a line in a shell of its own, as sh -c does: variables do not
// outlive it. It returns the exit status.
func (sh *Shell) Run(line string, out, errs io.Writer) int {
	steps := maxSteps
	one := &Shell{Files: sh.Files, Programs: sh.Programs, vars: map[string]string{}, steps: &steps}
	return one.line(line, streams{bytes.NewReader(nil), out, errs})
}

// Words splits a line that is one simple command into its words, of which
// only quotes are taken off.
func Words(line string) ([]string, error) {
	tokens, err := lex(line)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range tokens {
		if t.op != "" {
			return nil, fmt.Errorf("%q is no simple command", line)
		}
		text := ""
		for _, p := range t.word {
			if p.kind != literal {
				return nil, fmt.Errorf("%q has a variable", line)
			}
			text += p.text
		}
		out = append(out, text)
	}
	return out, nil
}

func (sh *Shell) line(text string, s streams) int {
	n, err := parse(text)
	if err != nil {
		fmt.Fprintf(s.err, "/bin/sh: 1: %v\n", err)
		return statusUsage
	}
	sh.status = n.run(sh, s)
	return sh.status
}

// subshell is a copy whose variables are its own.
func (sh *Shell) subshell() *Shell {
	c := *sh
	c.vars = maps.Clone(sh.vars)
	return &c
}

func (l list) run(sh *Shell, s streams) int {
	status := 0
	for _, n := range l {
		status = n.run(sh, s)
		sh.status = status
		if sh.left {
			break
		}
	}
	return status
}

func (a andOr) run(sh *Shell, s streams) int {
	sh.status = a.left.run(sh, s)
	if sh.left || (sh.status == 0) != a.onSuccess {
		return sh.status
	}
	return a.right.run(sh, s)
}

func (n not) run(sh *Shell, s streams) int {
	if n.body.run(sh, s) == 0 {
		return 1
	}
	return 0
}

// run runs the stages one after the other: each has all of its input before
// it starts.
func (p pipeline) run(sh *Shell, s streams) int {
	status, in := 0, s.in
	for i, n := range p {
		var piped bytes.Buffer
		out := s.out
		if i < len(p)-1 {
			out = &piped
		}
		status = n.run(sh.subshell(), streams{in, out, s.err})
		in = &piped
	}
	return status
}

func (g group) run(sh *Shell, s streams) int {
	if g.own {
		sh = sh.subshell()
	}
	return sh.redirected(g.redirects, s, func(s streams) int { return g.body.run(sh, s) })
}

func (f forEach) run(sh *Shell, s streams) int {
	status := 0
	for _, w := range f.words {
		for _, value := range sh.fields(w, s) {
			sh.vars[f.name] = value
			if status = f.body.run(sh, s); sh.left {
				return status
			}
		}
	}
	return status
}

func (l loop) run(sh *Shell, s streams) int {
	status := 0
	for {
		cond := l.cond.run(sh, s)
		if sh.left {
			return cond
		}
		if (cond == 0) == l.until {
			return status
		}
		if status = l.body.run(sh, s); sh.left {
			return status
		}
		if *sh.steps < 0 { // in a subshell
			sh.left = true
			return statusEndless
		}
	}
}

func (b branch) run(sh *Shell, s streams) int {
	if cond := b.cond.run(sh, s); sh.left || cond == 0 {
		if sh.left {
			return cond
		}
		return b.body.run(sh, s)
	}
	return b.other.run(sh, s)
}

func (c simple) run(sh *Shell, s streams) int {
	if *sh.steps--; *sh.steps < 0 {
		if *sh.steps == -1 {
			fmt.Fprintf(s.err, "/bin/sh: 1: stopped after %d commands\n", maxSteps)
		}
		sh.left = true
		return statusEndless
	}
	var args []string
	for _, w := range c.words {
		args = append(args, sh.fields(w, s)...)
	}
	status := 0
	for _, a := range c.assigns {
		sh.status = 0
		value := sh.text(a.value, s)
		if status = sh.status; len(args) == 0 {
			sh.vars[a.name] = value
		}
	}
	return sh.redirected(c.redirects, s, func(s streams) int {
		if len(args) == 0 {
			return status
		}
		return sh.call(args, s)
	})
}

func (sh *Shell) call(args []string, s streams) int {
	sh.called = args[0]
	if b, ok := builtins[args[0]]; ok {
		return b(sh, args, s)
	}
	if p, ok := sh.Programs[args[0]]; ok {
		return p(args, s.in, s.out, s.err)
	}
	if t, ok := textTools[args[0]]; ok {
		return t(sh, args, s)
	}
	fmt.Fprintf(s.err, "/bin/sh: 1: %s: not found\n", args[0])
	return statusNotFound
}

// redirected runs body with streams to and from files. What is written is
// written at the end; a device that refuses it makes the command fail.
func (sh *Shell) redirected(rs []redirect, s streams, body func(streams) int) int {
	var files []*output
	for _, r := range rs {
		f, err := sh.redirect(r, &s)
		if err != nil {
			fmt.Fprintf(s.err, "/bin/sh: 1: %v\n", err)
			return statusUsage
		}
		if f != nil {
			files = append(files, f)
		}
	}
	status := body(s)
	for _, f := range files {
		if err := sh.Files.Write(f.name, f.data.Bytes(), f.appending); err != nil {
			sh.refused(s.err)
			status = 1
		}
	}
	return status
}

// output is a file being written to.
type output struct {
	name      string
	appending bool
	data      bytes.Buffer
}

// Write collects what is to be written.
func (o *output) Write(b []byte) (int, error) { return o.data.Write(b) }

// refused says what a command says whose output a device did not take.
func (sh *Shell) refused(errs io.Writer) {
	if _, own := builtins[sh.called]; own {
		fmt.Fprintf(errs, "/bin/sh: 1: %s: %s: I/O error\n", sh.called, sh.called)
		return
	}
	fmt.Fprintf(errs, "%s: write error: Invalid argument\n", sh.called)
}

func (sh *Shell) redirect(r redirect, s *streams) (*output, error) {
	target := sh.text(r.target, *s)
	if r.op == ">&" {
		return nil, s.duplicate(r.fd, target)
	}
	name := sh.path(target)
	if r.op == "<" {
		data, err := sh.Files.Read(name)
		if err != nil {
			return nil, fmt.Errorf("cannot open %s: No such file", target)
		}
		s.in = bytes.NewReader(data)
		return nil, nil
	}
	if name == "/dev/null" {
		s.set(r.fd, io.Discard)
		return nil, nil
	}
	if err := sh.Files.Creatable(name); err != nil {
		return nil, fmt.Errorf("cannot create %s: %s", target, creation(err))
	}
	f := &output{name: name, appending: r.op == ">>"}
	s.set(r.fd, f)
	return f, nil
}

func creation(err error) string {
	switch {
	case errors.Is(err, ErrDirectory):
		return "Is a directory"
	case errors.Is(err, fs.ErrPermission):
		return "Permission denied"
	}
	return "Directory nonexistent"
}

func (s *streams) set(fd int, w io.Writer) {
	switch fd {
	case 1:
		s.out = w
	case 2:
		s.err = w
	}
}

func (s *streams) duplicate(fd int, target string) error {
	switch target {
	case "1":
		s.set(fd, s.out)
	case "2":
		s.set(fd, s.err)
	case "-":
		s.set(fd, io.Discard)
	default:
		return fmt.Errorf("%s: bad file descriptor", target)
	}
	return nil
}
