package control

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	maxScript   = 16 << 20 // bytes of a rules file
	maxExpanded = 1 << 20  // bytes that variables expand to in one command
)

// A command is one command of a rules file after expansion.
type command struct {
	line  int
	words []string
	to    string // the file below /proc/sys that its output goes to, if any
}

// A word is one word of a command; name is the length of the NAME of a word
// of the form NAME=value, else 0.
type word struct {
	text string
	name int
}

// script reads the part of the shell's language that rules files are written
// in: words, quoting, comments, continued lines, ';' and simple variables.
// Anything else is an error, so that nothing is skipped silently.
type script struct {
	text string
	pos  int
	line int
	vars map[string]string

	// The word being read, and the words of its command.
	cur    strings.Builder
	inWord bool
	name   int
	words  []word
	to     int // how many of words stood before a '>'; -1: there was none

	expanded int // bytes this command got from variables
}

// parseScript splits the text of the file called name into commands.
// Assignments take effect here.
func parseScript(name string, r io.Reader) ([]command, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxScript+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxScript {
		return nil, fmt.Errorf("%s: longer than %d bytes", name, maxScript)
	}
	s := &script{text: string(text), line: 1, vars: map[string]string{}}
	var out []command
	for s.pos < len(s.text) {
		line, err := s.command()
		to := ""
		if err == nil {
			to, err = s.target()
		}
		if err == nil && !s.assignments() && len(s.words) > 0 {
			out = append(out, command{line, s.plain(), to})
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
	return out, nil
}

// command reads words up to the end of a command and returns the line it
// starts on, or the line of the error.
func (s *script) command() (line int, err error) {
	s.words, s.expanded, s.to = s.words[:0], 0, -1
	s.blanks()
	line = s.line
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		s.pos++
		switch c {
		case '\n', ';':
			s.endWord()
			if c == '\n' {
				s.line++
			}
			return line, nil
		case ' ', '\t', '\r':
			s.endWord()
		case '#':
			if s.inWord {
				s.add(c)
				continue
			}
			s.comment()
		case '\\':
			s.escape()
		case '\'', '"', '$':
			if err := s.quoted(c); err != nil {
				return s.line, err
			}
		case '>':
			if s.to >= 0 || strings.HasPrefix(s.text[s.pos:], ">") {
				return s.line, errRedirect
			}
			s.endWord()
			s.to = len(s.words)
		case '<', '|', '&', '(', ')', '`':
			return s.line, fmt.Errorf("`%c' of the shell is not supported here", c)
		default:
			s.add(c)
		}
	}
	s.endWord()
	return line, nil
}

var errRedirect = errors.New("`>' of the shell is supported only once and to a file below " + settingsDir)

// target takes the file that output goes to out of the words read.
func (s *script) target() (string, error) {
	if s.to < 0 {
		return "", nil
	}
	if s.to == 0 || s.to != len(s.words)-1 || !strings.HasPrefix(s.words[s.to].text, settingsDir) {
		return "", errRedirect
	}
	file := s.words[s.to].text
	s.words = s.words[:s.to]
	return file, nil
}

// blanks skips what separates commands, so that a command knows its line.
func (s *script) blanks() {
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n;", s.text[s.pos]) >= 0 {
		if s.text[s.pos] == '\n' {
			s.line++
		}
		s.pos++
	}
}

func (s *script) comment() {
	for s.pos < len(s.text) && s.text[s.pos] != '\n' {
		s.pos++
	}
}

func (s *script) quoted(c byte) error {
	switch c {
	case '\'':
		return s.single()
	case '"':
		return s.double()
	}
	return s.dollar(s.name == 0)
}

// escape reads what follows a backslash outside quotes: the end of the line
// continues the command, anything else stands for itself.
func (s *script) escape() {
	if s.pos == len(s.text) || s.continued() {
		return
	}
	s.add(s.text[s.pos])
	s.pos++
}

// continued skips the end of a line, if there is one here.
func (s *script) continued() bool {
	rest := s.text[s.pos:]
	for _, end := range [2]string{"\n", "\r\n"} {
		if strings.HasPrefix(rest, end) {
			s.pos += len(end)
			s.line++
			return true
		}
	}
	return false
}

func (s *script) single() error {
	s.inWord = true
	end := strings.IndexAny(s.text[s.pos:], "'\n")
	if end < 0 || s.text[s.pos+end] == '\n' {
		return fmt.Errorf("unterminated '")
	}
	s.cur.WriteString(s.text[s.pos : s.pos+end])
	s.pos += end + 1
	return nil
}

func (s *script) double() error {
	s.inWord = true
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		s.pos++
		switch c {
		case '"':
			return nil
		case '\n':
			return fmt.Errorf("unterminated \"")
		case '`':
			return fmt.Errorf("``' of the shell is not supported here")
		case '$':
			if err := s.dollar(false); err != nil {
				return err
			}
		case '\\':
			s.escapeInDouble()
		default:
			s.cur.WriteByte(c)
		}
	}
	return fmt.Errorf("unterminated \"")
}

// escapeInDouble reads what follows a backslash inside "": it escapes only
// what would otherwise be special.
func (s *script) escapeInDouble() {
	if s.continued() {
		return
	}
	if s.pos < len(s.text) && strings.IndexByte("$`\"\\", s.text[s.pos]) >= 0 {
		s.cur.WriteByte(s.text[s.pos])
		s.pos++
		return
	}
	s.cur.WriteByte('\\')
}

// dollar expands $NAME or ${NAME}. With split the value's blanks end words, as
// they do outside quotes.
func (s *script) dollar(split bool) error {
	name, err := s.varName()
	if err != nil {
		return err
	}
	if name == "" {
		s.add('$')
		return nil
	}
	value, ok := s.vars[name]
	if !ok {
		return fmt.Errorf("variable %s is not set", name)
	}
	if s.expanded += len(value); s.expanded > maxExpanded {
		return fmt.Errorf("command is too long after expansion")
	}
	if !split {
		s.inWord = true
		s.cur.WriteString(value)
		return nil
	}
	for i := range len(value) {
		if c := value[i]; isBlank(c) {
			s.endWord()
		} else {
			s.inWord = true
			s.cur.WriteByte(c)
		}
	}
	return nil
}

// varName reads the name after a '$'; "" if the '$' stands for itself.
func (s *script) varName() (string, error) {
	rest := s.text[s.pos:]
	if strings.HasPrefix(rest, "{") {
		n := nameLen(rest[1:])
		if n == 0 || !strings.HasPrefix(rest[1+n:], "}") {
			return "", fmt.Errorf("`${' is supported only as ${NAME}")
		}
		s.pos += n + 2
		return rest[1 : 1+n], nil
	}
	n := nameLen(rest)
	if n == 0 && rest != "" && !isBlank(rest[0]) && strings.IndexByte(";\"", rest[0]) < 0 {
		return "", fmt.Errorf("`$%c' of the shell is not supported here", rest[0])
	}
	s.pos += n
	return rest[:n], nil
}

// add appends a character from outside quotes.
func (s *script) add(c byte) {
	if n := s.cur.Len(); c == '=' && s.name == 0 && n > 0 && nameLen(s.cur.String()) == n {
		s.name = n
	}
	s.inWord = true
	s.cur.WriteByte(c)
}

func (s *script) endWord() {
	if s.inWord {
		s.words = append(s.words, word{s.cur.String(), s.name})
	}
	s.cur.Reset()
	s.inWord, s.name = false, 0
}

// assignments carries out a command that consists of assignments only, with or
// without export, and reports whether it was one.
func (s *script) assignments() bool {
	words := s.words
	export := len(words) > 1 && words[0].text == "export"
	if export {
		words = words[1:]
	}
	for _, w := range words {
		if w.name == 0 && !(export && nameLen(w.text) == len(w.text)) {
			return false
		}
	}
	for _, w := range words {
		if w.name > 0 {
			s.vars[w.text[:w.name]] = w.text[w.name+1:]
		}
	}
	return len(words) > 0
}

func (s *script) plain() []string {
	out := make([]string, len(s.words))
	for i, w := range s.words {
		out[i] = w.text
	}
	return out
}

// nameLen is the length of the variable name that s starts with.
func nameLen(s string) int {
	n := 0
	for n < len(s) && (s[n] == '_' || 'a' <= s[n]|0x20 && s[n]|0x20 <= 'z' || n > 0 && '0' <= s[n] && s[n] <= '9') {
		n++
	}
	return n
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
