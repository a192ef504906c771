package shell

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// sedCommand is one of [ADDRESS[,ADDRESS]] s/RE/NEW/[gp], d, p and q.
type sedCommand struct {
	from, to sedAddress
	ranged   bool
	inside   bool // of a range
	verb     byte
	re       *regexp.Regexp
	with     string
	global   bool
	print    bool
}

// sedAddress selects lines: a number, $ or /RE/; the zero value all.
type sedAddress struct {
	line int
	last bool
	re   *regexp.Regexp
}

func (a *sedAddress) given() bool { return a.line != 0 || a.last || a.re != nil }

func (a *sedAddress) matches(n int, last bool, line string) bool {
	return a.line == n || a.last && last || a.re != nil && a.re.MatchString(line)
}

func sed(sh *Shell, args []string, s streams) int {
	opts, rest := options(args[1:], "e")
	script, ok := opts["e"]
	if !ok && len(rest) > 0 {
		script, rest = rest[0], rest[1:]
	}
	commands, err := parseSed(script, has(opts, "E") || has(opts, "r"))
	if err != nil || unknown("sed", opts, "neEr", io.Discard) {
		fmt.Fprintf(s.err, "sed: -e expression #1: %v\n", err)
		return 1
	}
	in, ok := sh.inputs("sed", rest, s)
	runSed(commands, lines(joined(in)), has(opts, "n"), s.out)
	return code(ok)
}

func runSed(commands []*sedCommand, rows []string, silent bool, out io.Writer) {
	for i, line := range rows {
		deleted, quit := false, false
		for _, c := range commands {
			if !c.selects(i+1, i == len(rows)-1, line) {
				continue
			}
			switch c.verb {
			case 's':
				line = c.substitute(line, out)
			case 'd':
				deleted = true
			case 'p':
				fmt.Fprintln(out, line)
			case 'q':
				quit = true
			}
			if deleted || quit {
				break
			}
		}
		if !deleted && !silent {
			fmt.Fprintln(out, line)
		}
		if quit {
			return
		}
	}
}

func (c *sedCommand) selects(n int, last bool, line string) bool {
	switch {
	case !c.from.given():
		return true
	case !c.ranged:
		return c.from.matches(n, last, line)
	case c.inside:
		c.inside = !c.to.matches(n, last, line) && !(c.to.line != 0 && n >= c.to.line)
		return true
	case c.from.matches(n, last, line):
		c.inside = c.to.line == 0 || n < c.to.line
		return true
	}
	return false
}

func (c *sedCommand) substitute(line string, out io.Writer) string {
	left := 1
	if c.global {
		left = -1
	}
	changed := false
	var b strings.Builder
	end := 0
	for _, m := range c.re.FindAllStringSubmatchIndex(line, left) {
		b.WriteString(line[end:m[0]])
		b.Write(c.re.ExpandString(nil, c.with, line, m))
		end, changed = m[1], true
	}
	b.WriteString(line[end:])
	if changed && c.print {
		fmt.Fprintln(out, b.String())
	}
	return b.String()
}

func parseSed(script string, extended bool) ([]*sedCommand, error) {
	var out []*sedCommand
	p := sedParser{text: script, extended: extended}
	for {
		p.text = strings.TrimLeft(p.text, " ;\n")
		if p.text == "" {
			return out, nil
		}
		c, err := p.command()
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
}

type sedParser struct {
	text     string
	extended bool
}

func (p *sedParser) command() (*sedCommand, error) {
	c := &sedCommand{}
	err := p.address(&c.from)
	if err == nil && strings.HasPrefix(p.text, ",") {
		p.text = p.text[1:]
		c.ranged = true
		err = p.address(&c.to)
	}
	if err != nil {
		return nil, err
	}
	if p.text == "" {
		return nil, fmt.Errorf("missing command")
	}
	c.verb, p.text = p.text[0], p.text[1:]
	switch c.verb {
	case 'd', 'p', 'q':
		return c, nil
	case 's':
		return c, p.substitution(c)
	}
	return nil, fmt.Errorf("unknown command: `%c'", c.verb)
}

func (p *sedParser) address(a *sedAddress) (err error) {
	switch {
	case strings.HasPrefix(p.text, "$"):
		a.last = true
		p.text = p.text[1:]
	case strings.HasPrefix(p.text, "/"):
		pattern, ok := p.until('/')
		if !ok {
			return fmt.Errorf("unterminated address regex")
		}
		a.re, err = p.compile(pattern)
	default:
		n := 0
		for n < len(p.text) && p.text[n] >= '0' && p.text[n] <= '9' {
			n++
		}
		a.line, _ = strconv.Atoi(p.text[:n])
		p.text = p.text[n:]
	}
	return err
}

func (p *sedParser) compile(pattern string) (*regexp.Regexp, error) {
	if !p.extended {
		pattern = basic(pattern)
	}
	return regexp.Compile(pattern)
}

// until takes the text between the delimiter that p.text starts with and the
// next one.
func (p *sedParser) until(delim byte) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == delim:
			p.text = p.text[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(p.text) && p.text[i+1] == delim:
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

func (p *sedParser) substitution(c *sedCommand) error {
	if p.text == "" {
		return fmt.Errorf("unterminated `s' command")
	}
	delim := p.text[0]
	pattern, ok1 := p.until(delim)
	p.text = string(delim) + p.text
	with, ok2 := p.until(delim)
	if !ok1 || !ok2 {
		return fmt.Errorf("unterminated `s' command")
	}
	re, err := p.compile(pattern)
	if err != nil {
		return err
	}
	c.re, c.with = re, replacement(with)
	for p.text != "" && (p.text[0] == 'g' || p.text[0] == 'p') {
		c.global = c.global || p.text[0] == 'g'
		c.print = c.print || p.text[0] == 'p'
		p.text = p.text[1:]
	}
	if p.text != "" && strings.IndexByte(" ;\n", p.text[0]) < 0 {
		return fmt.Errorf("unknown option to `s'")
	}
	return nil
}

// replacement turns & and \1 into what Expand understands.
func replacement(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			switch d := s[i]; {
			case d >= '0' && d <= '9':
				b.WriteString("${" + string(d) + "}")
			case d == 'n':
				b.WriteByte('\n')
			case d == 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(d)
			}
		case c == '&':
			b.WriteString("${0}")
		case c == '$':
			b.WriteString("$$")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
