package shell

import "slices"

// node is a command of any kind.
type node interface {
	run(sh *Shell, s streams) int
}

// The kinds of commands.
type (
	// list runs its parts one after the other.
	list []node
	// andOr runs right if left's success is as wanted.
	andOr struct {
		left, right node
		onSuccess   bool
	}
	// not turns a status around.
	not struct{ body node }
	// pipeline connects its stages.
	pipeline []node
	// group is ( body ) or { body; }, with redirections.
	group struct {
		body      node
		own       bool // its variables are its own
		redirects []redirect
	}
	// simple is assignments, words and redirections.
	simple struct {
		assigns   []assign
		words     []word
		redirects []redirect
	}
	// forEach is for NAME in WORDS; do BODY; done.
	forEach struct {
		name  string
		words []word
		body  node
	}
	// loop is while or until COND; do BODY; done.
	loop struct {
		cond, body node
		until      bool
	}
	// branch is if COND; then BODY; else OTHER; fi.
	branch struct{ cond, body, other node }
)

type assign struct {
	name  string
	value word
}

type redirect struct {
	fd     int
	op     string // <, >, >>, >&
	target word
}

// maxDepth bounds how deep commands may be nested.
const maxDepth = 64

type parser struct {
	tokens []token
	depth  int
}

// parse makes a tree of a line.
func parse(line string) (node, error) {
	tokens, err := lex(line)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	body, err := p.list()
	if err == nil && len(p.tokens) > 0 {
		err = p.unexpected()
	}
	return body, err
}

// reserved words end a list when they stand where a command could.
var reserved = []string{"then", "else", "elif", "fi", "do", "done", "}"}

func (p *parser) list() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, syntaxError("nested too deeply")
	}
	defer func() { p.depth-- }()
	var l list
	for {
		for p.accept("\n") {
		}
		if len(p.tokens) == 0 || p.peek() == ")" || slices.Contains(reserved, p.keyword()) {
			return l, nil
		}
		n, err := p.andOr()
		if err != nil {
			return nil, err
		}
		l = append(l, n)
		if !p.accept(";") && p.peek() != "\n" {
			return l, nil
		}
	}
}

// commands is a list that is not empty.
func (p *parser) commands() (node, error) {
	n, err := p.list()
	if l, ok := n.(list); ok && len(l) == 0 {
		err = p.unexpected()
	}
	return n, err
}

func (p *parser) andOr() (node, error) {
	left, err := p.pipeline()
	for err == nil && (p.peek() == "&&" || p.peek() == "||") {
		op := p.take().op
		var right node
		if right, err = p.pipeline(); err == nil {
			left = andOr{left, right, op == "&&"}
		}
	}
	return left, err
}

func (p *parser) pipeline() (node, error) {
	if p.keyword() == "!" {
		p.take()
		body, err := p.pipeline()
		return not{body}, err
	}
	var stages pipeline
	for {
		n, err := p.command()
		if err != nil {
			return nil, err
		}
		stages = append(stages, n)
		if !p.accept("|") {
			break
		}
	}
	if len(stages) == 1 {
		return stages[0], nil
	}
	return stages, nil
}

func (p *parser) command() (node, error) {
	switch p.keyword() {
	case "if":
		p.take()
		return p.branch()
	case "for":
		p.take()
		return p.forEach()
	case "while", "until":
		until := p.take().word.plain()
		return p.loop(until == "until")
	case "{":
		p.take()
		return p.group("}", false)
	}
	if p.accept("(") {
		return p.group(")", true)
	}
	return p.simple()
}

func (p *parser) group(end string, own bool) (node, error) {
	body, err := p.commands()
	if err != nil {
		return nil, err
	}
	if !p.accept(end) && !p.word(end) {
		return nil, p.unexpected()
	}
	g := group{body: body, own: own}
	for p.redirects() && err == nil {
		err = p.redirect(&g.redirects)
	}
	return g, err
}

func (p *parser) branch() (node, error) {
	cond, err := p.commands()
	if err != nil {
		return nil, err
	}
	if !p.word("then") {
		return nil, p.unexpected()
	}
	body, err := p.commands()
	if err != nil {
		return nil, err
	}
	b := branch{cond: cond, body: body, other: list{}}
	switch {
	case p.word("fi"):
		return b, nil
	case p.word("elif"):
		b.other, err = p.branch()
		return b, err
	case !p.word("else"):
		return nil, p.unexpected()
	}
	if b.other, err = p.commands(); err != nil {
		return nil, err
	}
	if !p.word("fi") {
		return nil, p.unexpected()
	}
	return b, nil
}

func (p *parser) forEach() (node, error) {
	var f forEach
	name, ok := p.name()
	if !ok || !p.word("in") {
		return nil, p.unexpected()
	}
	f.name = name
	for len(p.tokens) > 0 && p.peek() == "" {
		f.words = append(f.words, p.take().word)
	}
	body, err := p.body()
	f.body = body
	return f, err
}

func (p *parser) loop(until bool) (node, error) {
	cond, err := p.commands()
	if err != nil {
		return nil, err
	}
	body, err := p.body()
	return loop{cond, body, until}, err
}

// body reads do LIST done.
func (p *parser) body() (node, error) {
	for p.accept(";") || p.accept("\n") {
	}
	if !p.word("do") {
		return nil, p.unexpected()
	}
	body, err := p.commands()
	if err != nil {
		return nil, err
	}
	if !p.word("done") {
		return nil, p.unexpected()
	}
	return body, nil
}

func (p *parser) simple() (node, error) {
	var s simple
	for len(p.tokens) > 0 {
		switch {
		case p.peek() == "":
			w := p.take().word
			if a, ok := assignment(w); ok && len(s.words) == 0 {
				s.assigns = append(s.assigns, a)
				continue
			}
			s.words = append(s.words, w)
			continue
		case p.redirects():
			if err := p.redirect(&s.redirects); err != nil {
				return nil, err
			}
			continue
		}
		break
	}
	if len(s.assigns)+len(s.words)+len(s.redirects) == 0 {
		return nil, p.unexpected()
	}
	return s, nil
}

func (p *parser) redirects() bool {
	op := p.peek()
	return op == "<" || op == ">" || op == ">>" || op == ">&" || op == ">|"
}

func (p *parser) redirect(into *[]redirect) error {
	t := p.take()
	if len(p.tokens) == 0 || p.peek() != "" {
		return p.unexpected()
	}
	r := redirect{fd: t.fd, op: t.op, target: p.take().word}
	if r.op == ">|" {
		r.op = ">"
	}
	if r.fd < 0 {
		r.fd = 1
		if r.op == "<" {
			r.fd = 0
		}
	}
	*into = append(*into, r)
	return nil
}

// assignment recognises NAME=value.
func assignment(w word) (assign, bool) {
	first := w[0]
	n := nameLen(first.text)
	if first.kind != literal || first.quoted || n == 0 || n >= len(first.text) || first.text[n] != '=' {
		return assign{}, false
	}
	value := append(word{{literal, first.text[n+1:], false}}, w[1:]...)
	return assign{first.text[:n], value}, true
}

// peek is the operator that comes next; "" for a word or nothing.
func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0].op
}

// keyword is the word that comes next, if it could be a reserved one.
func (p *parser) keyword() string {
	if len(p.tokens) == 0 || p.tokens[0].op != "" {
		return ""
	}
	return p.tokens[0].word.plain()
}

func (p *parser) take() token {
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

func (p *parser) accept(op string) bool {
	if p.peek() != op || len(p.tokens) == 0 {
		return false
	}
	p.take()
	return true
}

func (p *parser) word(text string) bool {
	if p.keyword() != text {
		return false
	}
	p.take()
	return true
}

func (p *parser) name() (string, bool) {
	s := p.keyword()
	if s == "" || nameLen(s) != len(s) {
		return "", false
	}
	p.take()
	return s, true
}

func (p *parser) unexpected() error {
	if len(p.tokens) == 0 {
		return errEnd
	}
	if op := p.peek(); op != "" {
		if op == "\n" {
			return syntaxError("newline unexpected")
		}
		return syntaxError(`"` + op + `" unexpected`)
	}
	if k := p.keyword(); slices.Contains(reserved, k) {
		return syntaxError(`"` + k + `" unexpected`)
	}
	return syntaxError("word unexpected")
}
