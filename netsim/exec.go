package netsim

import (
	"fmt"
	"strings"
)

// Result is what a command printed and how it ended.
type Result struct {
	Stdout, Stderr string
	Status         int
}

// Err is nil if the command succeeded.
func (r Result) Err() error {
	if r.Status == 0 {
		return nil
	}
	text := strings.TrimSpace(r.Stderr)
	if text == "" {
		text = "no message"
	}
	return fmt.Errorf("exit status %d: %s", r.Status, text)
}

func failed(status int, format string, args ...any) Result {
	return Result{Stderr: fmt.Sprintf(format, args...) + "\n", Status: status}
}

// Executor is a node that understands commands.
type Executor interface {
	Node
	Exec(command string) Result
	ExecInput(command, stdin string) Result
}

// MustExec is Exec for commands that must succeed. It returns what they print.
func (h *Host) MustExec(command string) string { return must(h.name, command, h.Exec(command)) }

// MustExec is Exec for commands that must succeed. It returns what they print.
func (d *Director) MustExec(command string) string { return must(d.name, command, d.Exec(command)) }

func must(name, command string, r Result) string {
	if err := r.Err(); err != nil {
		panic(fmt.Sprintf("netsim: %s$ %s: %v", name, command, err))
	}
	return r.Stdout
}

// words splits a command line as a shell would: blanks, quotes, backslashes.
func words(line string) ([]string, error) {
	var out []string
	var cur strings.Builder
	in, quote := false, rune(0)
	escaped := false
	for _, r := range line {
		switch {
		case escaped:
			cur.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, in = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			cur.WriteRune(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == ' ' || r == '\t':
			if in {
				out = append(out, cur.String())
			}
			cur.Reset()
			in = false
		default:
			cur.WriteRune(r)
			in = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("unterminated quote in %q", line)
	}
	if in {
		out = append(out, cur.String())
	}
	return out, nil
}
