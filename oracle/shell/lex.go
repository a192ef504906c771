package shell

import "strings"

// A part is a piece of a word.
type part struct {
	kind   partKind
	text   string // the characters, the variable's name, or the command line
	quoted bool   // keeps its blanks and stars
}

type partKind uint8

const (
	literal partKind = iota
	variable
	substitution // $(...) or `...`
)

// A word is what becomes one or more arguments.
type word []part

// plain returns the text of a word that is nothing but unquoted characters, and
// nothing for any other.
func (w word) plain() string {
	if len(w) != 1 || w[0].kind != literal || w[0].quoted {
		return ""
	}
	return w[0].text
}

// A token is a word, or an operator if it has a text.
type token struct {
	op   string
	word word
	fd   int // of a redirection: the descriptor in front of it, or -1
}

// operators are tried in this order.
var operators = []string{"&&", "||", ";;", ">>", "<<", ">&", "<&", ">|", ";", "|", "&", "<", ">", "(", ")", "\n"}

// syntaxError is what the shell says of a line that it cannot read.
type syntaxError string

// Error is the shell's own text.
func (e syntaxError) Error() string { return "Syntax error: " + string(e) }

const (
	errQuote  = syntaxError("Unterminated quoted string")
	errEnd    = syntaxError("end of file unexpected")
	errExpand = syntaxError("Missing '}'")
	errSubst  = syntaxError("Bad substitution")
	errEOF    = syntaxError("EOF in backquote substitution")
)

// lexer splits a line into tokens.
type lexer struct {
	text   string
	tokens []token
	cur    word
	lit    strings.Builder
	inLit  bool // even if lit is empty: ''
}

// lex returns the tokens of a line.
func lex(text string) ([]token, error) {
	l := &lexer{text: text}
	for l.text != "" {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	l.endWord()
	return l.tokens, nil
}

func (l *lexer) next() error {
	switch c := l.text[0]; c {
	case ' ', '\t', '\r':
		l.endWord()
		l.text = l.text[1:]
	case '#':
		if l.inWord() {
			l.char()
			return nil
		}
		rest := strings.IndexByte(l.text, '\n')
		if rest < 0 {
			rest = len(l.text)
		}
		l.text = l.text[rest:]
	case '\'':
		return l.single()
	case '"':
		return l.double()
	case '\\':
		return l.backslash()
	case '$', '`':
		return l.expansion(false)
	default:
		if !l.operator() {
			l.char()
		}
	}
	return nil
}

// operator takes an operator off the text. Digits right before a redirection
// are the descriptor it is about.
func (l *lexer) operator() bool {
	for _, op := range operators {
		rest, ok := strings.CutPrefix(l.text, op)
		if !ok {
			continue
		}
		fd := -1
		if op[0] == '<' || op[0] == '>' {
			fd = l.descriptor()
		}
		l.endWord()
		l.tokens = append(l.tokens, token{op: op, fd: fd})
		l.text = rest
		return true
	}
	return false
}

func (l *lexer) descriptor() int {
	if s := l.lit.String(); len(l.cur) == 0 && len(s) == 1 && s[0] >= '0' && s[0] <= '9' {
		l.lit.Reset()
		l.inLit = false
		return int(s[0] - '0')
	}
	return -1
}

func (l *lexer) inWord() bool { return l.inLit || len(l.cur) > 0 }

func (l *lexer) char() {
	l.lit.WriteByte(l.text[0])
	l.inLit = true
	l.text = l.text[1:]
}

// endPart closes the characters collected so far.
func (l *lexer) endPart(quoted bool) {
	if l.inLit {
		l.cur = append(l.cur, part{literal, l.lit.String(), quoted})
	}
	l.lit.Reset()
	l.inLit = false
}

func (l *lexer) endWord() {
	l.endPart(false)
	if len(l.cur) > 0 {
		l.tokens = append(l.tokens, token{word: l.cur})
	}
	l.cur = nil
}

func (l *lexer) single() error {
	text, rest, ok := strings.Cut(l.text[1:], "'")
	if !ok {
		return errQuote
	}
	l.endPart(false)
	l.cur = append(l.cur, part{literal, text, true})
	l.text = rest
	return nil
}

func (l *lexer) backslash() error {
	rest := l.text[1:]
	if rest == "" {
		l.char()
		return nil
	}
	l.text = rest[1:]
	if rest[0] == '\n' {
		return nil
	}
	l.endPart(false)
	l.cur = append(l.cur, part{literal, rest[:1], true})
	return nil
}

func (l *lexer) double() error {
	l.endPart(false)
	l.text = l.text[1:]
	l.inLit = true // "" is an empty word
	for l.text != "" {
		switch c := l.text[0]; {
		case c == '"':
			l.endPart(true)
			l.text = l.text[1:]
			return nil
		case c == '\\' && len(l.text) > 1 && strings.IndexByte("$`\"\\", l.text[1]) >= 0:
			l.text = l.text[1:]
			l.char()
		case c == '$' || c == '`':
			l.endPart(true)
			if err := l.expansion(true); err != nil {
				return err
			}
		default:
			l.char()
		}
	}
	return errQuote
}

// expansion reads $NAME, ${NAME}, $?, $(...) or `...`.
func (l *lexer) expansion(quoted bool) error {
	if l.text[0] == '`' {
		line, rest, ok := strings.Cut(l.text[1:], "`")
		if !ok {
			return errEOF
		}
		return l.expands(substitution, line, rest, quoted)
	}
	rest := l.text[1:]
	switch {
	case strings.HasPrefix(rest, "(("):
		return errSubst
	case strings.HasPrefix(rest, "("):
		end := closing(rest)
		if end < 0 {
			return errEnd
		}
		return l.expands(substitution, rest[1:end], rest[end+1:], quoted)
	case strings.HasPrefix(rest, "{"):
		name, after, ok := strings.Cut(rest[1:], "}")
		if !ok {
			return errExpand
		}
		if name != "?" && (name == "" || nameLen(name) != len(name)) {
			return errSubst
		}
		return l.expands(variable, name, after, quoted)
	}
	n := nameLen(rest)
	if n == 0 && rest != "" && strings.IndexByte("?#$!", rest[0]) >= 0 {
		n = 1
	}
	if n == 0 {
		l.char()
		return nil
	}
	return l.expands(variable, rest[:n], rest[n:], quoted)
}

func (l *lexer) expands(kind partKind, text, rest string, quoted bool) error {
	l.endPart(quoted)
	l.cur = append(l.cur, part{kind, text, quoted})
	l.text = rest
	return nil
}

// closing is the index of the ) that belongs to the ( at the start of s.
func closing(s string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// nameLen is the length of the variable name that s starts with.
func nameLen(s string) int {
	n := 0
	for n < len(s) && (s[n] == '_' || 'a' <= s[n]|0x20 && s[n]|0x20 <= 'z' || n > 0 && '0' <= s[n] && s[n] <= '9') {
		n++
	}
	return n
}
