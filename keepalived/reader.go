package keepalived

import (
	"strings"
	"unicode/utf8"
)

// line is a logical line: a statement, an entry of a list, or a brace alone.
type line struct {
	text string
	at   Pos
}

// input is where text comes from: a file, the rest of a line, a definition of
// several lines, or a loop. pull returns false at its end.
type input interface {
	pull() (piece, bool)
}

// piece is text from an input. Cooked text has had its definitions replaced.
type piece struct {
	text   string
	at     Pos
	vars   map[string]string // of the loops around it
	cooked bool
	file   bool // a line of a file, not of an expansion
}

// once is an input of pieces that are there already.
type once []piece

func (o *once) pull() (piece, bool) {
	if len(*o) == 0 {
		return piece{}, false
	}
	p := (*o)[0]
	*o = (*o)[1:]
	return p, true
}

// reader turns files into logical lines. Inputs form a stack: the last is read
// to its end before the one below goes on.
type reader struct {
	options Options
	report  *Report
	inputs  []input
	rest    piece // of the line last read, behind its brace
	defs    map[string][]string
	lines   int
	pending int // bytes of definitions pushed as inputs, so far
	names   []string
	at      Pos // of the line last read
	// context is whether more than the text at hand was looked at: definitions,
	// the host's id, other files, blocks before.
	context bool
}

// next returns the next logical line.
func (r *reader) next() (line, bool) {
	for r.rest.text != "" || len(r.inputs) > 0 {
		if r.lines++; r.lines > maxLines {
			r.problem(Invalid, "the configuration is longer than usvs reads", "")
			r.inputs, r.rest = nil, piece{}
			break
		}
		p, ok := r.pull()
		if !ok {
			continue
		}
		r.at = p.at
		text := p.text
		if !p.cooked {
			if text, ok = r.cook(p); !ok {
				continue
			}
		}
		if text = r.split(text, p.at); text != "" {
			return line{text, p.at}, true
		}
	}
	return line{}, false
}

// pull takes what is left of a line, or a piece from the innermost input, which
// goes when it is empty.
func (r *reader) pull() (piece, bool) {
	if p := r.rest; p.text != "" {
		r.rest.text = ""
		return p, true
	}
	top := len(r.inputs) - 1
	p, ok := r.inputs[top].pull()
	if !ok {
		r.inputs = r.inputs[:top]
	}
	return p, ok
}

func (r *reader) push(in input) { r.inputs = append(r.inputs, in) }

// cook carries out what comes before keywords: comments, then conditions,
// definitions, loops, substitution and includes. It returns false if nothing
// of the line is left.
func (r *reader) cook(p piece) (string, bool) {
	text := r.uncomment(p.text)
	replaced := true
	for round := 0; replaced && round < maxRounds; round++ {
		var ok bool
		if text, ok = r.condition(text); !ok || text == "" {
			return "", false
		}
		if r.define(text) || r.loop(text, p) {
			return "", false
		}
		var more []string
		text, more, replaced = r.substitute(text, p.vars)
		if more != nil {
			r.pushLines(more, p)
		}
		if replaced {
			text = r.uncomment(text)
		}
	}
	if r.include(text) {
		return "", false
	}
	return text, text != ""
}

// pushLines reads the further lines of a definition after the current one.
func (r *reader) pushLines(lines []string, p piece) {
	var in once
	for _, l := range lines {
		r.pending += len(l)
		in = append(in, piece{text: l, at: p.at, vars: p.vars})
	}
	if r.pending > maxPending {
		r.problem(Invalid, "the definitions used here grow beyond what usvs reads", "")
		return
	}
	r.push(&in)
}

// uncomment removes blanks around a line and a comment at its end. The first !
// or # outside double quotes begins a comment, even within a word.
func (r *reader) uncomment(text string) string {
	text = trimLeft(text)
	if !commented(text) {
		return trimRight(text)
	}
	var kept strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' && !quoted && i+1 < len(text) && (text[i+1] == '#' || text[i+1] == '!') {
			i++
			kept.WriteByte(text[i])
			continue
		}
		if !quoted && (c == '#' || c == '!') {
			break
		}
		quoted = quoted != (c == '"')
		kept.WriteByte(c)
	}
	if quoted {
		r.problem(Invalid, "a quote is not closed: "+shown(text), "end it with \" on the same line")
	}
	return trimRight(kept.String())
}

// commented reports whether a line may have a comment, or quotes.
func commented(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c == '!' || c == '#' || c == '"' {
			return true
		}
	}
	return false
}

// split ends a line before its first brace outside quotes; a brace at the
// start is a line of its own. The rest is read next.
func (r *reader) split(text string, at Pos) string {
	text = trim(text)
	end := brace(text)
	if end == 0 {
		end = 1
	}
	if end < 0 || end == len(text) {
		return text
	}
	r.rest = piece{text: text[end:], at: at, cooked: true}
	return trimRight(text[:end])
}

// brace is the index of the first brace outside double quotes, or -1.
func brace(text string) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			quoted = !quoted
		case '{', '}':
			if !quoted {
				return i
			}
		}
	}
	return -1
}

func (r *reader) problem(c Class, found, valid string) {
	r.report.add(Problem{Pos: r.at, Class: c, Found: found, Valid: valid})
}

// shown is text from a configuration for a message: quoted, and not too long.
func shown(text string) string {
	const most = 60
	if len(text) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "..."
	}
	return "'" + strings.Map(printable, text) + "'"
}

func printable(c rune) rune {
	if c < ' ' || c == 0x7f || c == utf8.RuneError {
		return '?'
	}
	return c
}
