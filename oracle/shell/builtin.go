package shell

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

type builtin func(sh *Shell, args []string, s streams) int

// builtins are the shell's own commands.
var builtins = map[string]builtin{
	":":      func(*Shell, []string, streams) int { return 0 },
	"true":   func(*Shell, []string, streams) int { return 0 },
	"false":  func(*Shell, []string, streams) int { return 1 },
	"echo":   echo,
	"printf": printf,
	"test":   test,
	"[":      bracket,
	"exit":   exit,
	"export": export,
	"set":    func(*Shell, []string, streams) int { return 0 },
	"unset":  unset,
	"pwd":    func(_ *Shell, _ []string, s streams) int { fmt.Fprintln(s.out, "/"); return 0 },
}

// echo is that of dash: -n, and escapes without being asked.
func echo(_ *Shell, args []string, s streams) int {
	args = args[1:]
	newline := "\n"
	if len(args) > 0 && args[0] == "-n" {
		args, newline = args[1:], ""
	}
	text, stopped := unescape(strings.Join(args, " "), true)
	if stopped {
		newline = ""
	}
	io.WriteString(s.out, text+newline)
	return 0
}

var escapes = map[byte]byte{'a': 7, 'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11, '\\': '\\'}

// unescape replaces backslash sequences, an octal number among them, which
// needs a 0 in front for echo and for %b. \c ends the output.
func unescape(s string, zero bool) (text string, stopped bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if c, ok := escapes[s[i]]; ok {
			b.WriteByte(c)
			continue
		}
		if s[i] == 'c' {
			return b.String(), true
		}
		if n := octal(s[i:], zero); n > 0 {
			v, _ := strconv.ParseUint(s[i:i+n], 8, 16)
			b.WriteByte(byte(v))
			i += n - 1
			continue
		}
		b.WriteString(s[i-1 : i+1])
	}
	return b.String(), false
}

// octal is how many characters of an octal escape s starts with.
func octal(s string, zero bool) int {
	limit := 3
	if zero {
		if s[0] != '0' {
			return 0
		}
		limit = 4
	}
	n := 0
	for n < len(s) && n < limit && '0' <= s[n] && s[n] <= '7' {
		n++
	}
	return n
}

func printf(_ *Shell, args []string, s streams) int {
	args = args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(s.err, "/bin/sh: 1: printf: usage: printf format [arg ...]")
		return statusUsage
	}
	f := formatter{args: args[1:], s: s}
	for {
		before := len(f.args)
		f.format(args[0])
		if f.stopped || len(f.args) == 0 || len(f.args) == before {
			return f.status
		}
	}
}

// formatter is one use of printf.
type formatter struct {
	args    []string
	s       streams
	status  int
	stopped bool
}

func (f *formatter) arg() string {
	if len(f.args) == 0 {
		return ""
	}
	a := f.args[0]
	f.args = f.args[1:]
	return a
}

func (f *formatter) format(format string) {
	for format != "" && !f.stopped {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			i = len(format)
		}
		text, stopped := unescape(format[:i], false)
		io.WriteString(f.s.out, text)
		f.stopped = f.stopped || stopped
		if format = format[i:]; format == "" {
			return
		}
		n := 1
		for n < len(format) && strings.IndexByte("-+ #0123456789.", format[n]) >= 0 {
			n++
		}
		if n == len(format) {
			fmt.Fprintf(f.s.err, "/bin/sh: 1: printf: %s: invalid directive\n", format)
			f.status, f.stopped = statusUsage, true
			return
		}
		f.directive(format[:n], format[n])
		format = format[n+1:]
	}
}

func (f *formatter) directive(flags string, verb byte) {
	switch verb {
	case '%':
		io.WriteString(f.s.out, "%")
	case 's':
		fmt.Fprintf(f.s.out, flags+"s", f.arg())
	case 'b':
		text, stopped := unescape(f.arg(), true)
		f.stopped = stopped
		fmt.Fprintf(f.s.out, flags+"s", text)
	case 'c':
		a := f.arg()
		fmt.Fprintf(f.s.out, flags+"s", a[:min(1, len(a))])
	case 'd', 'i', 'u', 'x', 'X', 'o':
		f.number(flags, verb)
	default:
		fmt.Fprintf(f.s.err, "/bin/sh: 1: printf: %s%c: invalid directive\n", flags, verb)
		f.status, f.stopped = statusUsage, true
	}
}

func (f *formatter) number(flags string, verb byte) {
	a := f.arg()
	if a == "" {
		a = "0"
	}
	n, err := strconv.ParseInt(a, 0, 64)
	if err != nil {
		fmt.Fprintf(f.s.err, "/bin/sh: 1: printf: %s: expected numeric value\n", a)
		f.status = 1
	}
	if verb == 'i' || verb == 'u' {
		verb = 'd'
	}
	fmt.Fprintf(f.s.out, flags+string(verb), n)
}

func exit(sh *Shell, args []string, _ streams) int {
	sh.left = true
	if len(args) < 2 {
		return sh.status
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return statusUsage
	}
	return n & 0xff
}

func export(sh *Shell, args []string, _ streams) int {
	for _, a := range args[1:] {
		if name, value, ok := strings.Cut(a, "="); ok {
			sh.vars[name] = value
		}
	}
	return 0
}

func unset(sh *Shell, args []string, _ streams) int {
	for _, name := range args[1:] {
		delete(sh.vars, name)
	}
	return 0
}

func bracket(sh *Shell, args []string, s streams) int {
	if args[len(args)-1] != "]" {
		fmt.Fprintln(s.err, "/bin/sh: 1: [: missing ]")
		return statusUsage
	}
	return test(sh, args[:len(args)-1], s)
}

func test(sh *Shell, args []string, s streams) int {
	args = args[1:]
	if len(args) > 0 && args[0] == "!" {
		return 1 - min(test(sh, args, s), 1)
	}
	ok := false
	switch len(args) {
	case 0:
	case 1:
		ok = args[0] != ""
	case 2:
		ok = sh.unary(args[0], args[1])
	case 3:
		var valid bool
		if ok, valid = binary(args[0], args[1], args[2]); !valid {
			fmt.Fprintf(s.err, "/bin/sh: 1: test: %s: unexpected operator\n", args[1])
			return statusUsage
		}
	default:
		fmt.Fprintf(s.err, "/bin/sh: 1: test: %s: unexpected operator\n", args[1])
		return statusUsage
	}
	if ok {
		return 0
	}
	return 1
}

func (sh *Shell) unary(op, arg string) bool {
	data, err := sh.Files.Read(sh.path(arg))
	switch op {
	case "-n":
		return arg != ""
	case "-z":
		return arg == ""
	case "-e":
		return err == nil || err == ErrDirectory
	case "-f", "-r":
		return err == nil
	case "-d":
		return err == ErrDirectory
	case "-s":
		return err == nil && len(data) > 0
	}
	return false
}

var comparisons = []string{"-eq", "-ne", "-lt", "-le", "-gt", "-ge"}

func binary(a, op, b string) (ok, valid bool) {
	switch op {
	case "=":
		return a == b, true
	case "!=":
		return a != b, true
	}
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	if !slices.Contains(comparisons, op) || err1 != nil || err2 != nil {
		return false, false
	}
	return map[string]bool{"-eq": x == y, "-ne": x != y, "-lt": x < y, "-le": x <= y, "-gt": x > y, "-ge": x >= y}[op], true
}
