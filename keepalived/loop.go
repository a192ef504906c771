package keepalived

import (
	"maps"
	"strconv"
	"strings"
)

// loop handles "~SEQ(...) text" and "~LST(...) text".
func (r *reader) loop(text string, p piece) bool {
	list := strings.HasPrefix(text, "~LST")
	if !list && !strings.HasPrefix(text, "~SEQ") {
		return false
	}
	r.context = true
	rest, hex := strings.CutPrefix(text[4:], "x")
	rest = trimLeft(rest)
	shut := strings.IndexByte(rest, ')')
	if !strings.HasPrefix(rest, "(") || shut < 0 || list && hex {
		r.badLoop(text, list)
		return true
	}
	args := rest[1:shut]
	body := trimLeft(rest[shut+1:])
	var in input
	var ok bool
	if list {
		in, ok = r.newList(args, body, p)
	} else {
		in, ok = r.newSequence(args, body, hex, p)
	}
	if !ok {
		r.badLoop(text, list)
		return true
	}
	if body != "" {
		r.push(in)
	}
	return true
}

func (r *reader) badLoop(text string, list bool) {
	valid := "~SEQ(var, start, step, end) text"
	if list {
		valid = "~LST(var, value, value...) text, or ~LST({var, var}, {value, value}...) text"
	}
	r.problem(Invalid, "not a loop: "+shown(text), "valid is "+valid)
}

// sequence is the input of a ~SEQ: the body once for every value.
type sequence struct {
	body            piece
	name            string
	next, step, end int64
	hex             bool
}

func (s *sequence) pull() (piece, bool) {
	if s.step > 0 && s.next > s.end || s.step < 0 && s.next < s.end {
		return piece{}, false
	}
	base := 10
	if s.hex {
		base = 16
	}
	p := s.body
	p.vars = maps.Clone(p.vars)
	if p.vars == nil {
		p.vars = map[string]string{}
	}
	p.vars[s.name] = strconv.FormatInt(s.next, base)
	s.next += s.step
	return p, true
}

func (r *reader) newSequence(args, body string, hex bool, p piece) (input, bool) {
	words := strings.FieldsFunc(args, func(c rune) bool { return c == ',' || strings.ContainsRune(blanks, c) })
	if len(words) < 2 || len(words) > 4 {
		return nil, false
	}
	n := make([]int64, len(words))
	for i, w := range words[1:] {
		v, err := strconv.ParseInt(r.reference(w, p.vars), 0, 32)
		if err != nil {
			return nil, false
		}
		n[i+1] = v
	}
	s := &sequence{body: piece{text: body, at: p.at, vars: p.vars}, name: words[0], hex: hex, next: 1}
	switch len(words) {
	case 2:
		s.end = n[1]
		if s.end < 0 {
			s.next = -1
		}
	case 3:
		s.next, s.end = n[1], n[2]
	case 4:
		s.next, s.step, s.end = n[1], n[2], n[3]
	}
	if len(words) < 4 {
		s.step = 1
		if s.end < s.next {
			s.step = -1
		}
	}
	forward := s.end >= s.next
	return s, s.step != 0 && (s.step > 0 == forward || s.end == s.next)
}

// reference is the value of a word that may be $NAME or ${NAME}.
func (r *reader) reference(word string, vars map[string]string) string {
	out, _, _ := r.substitute(word, vars)
	return out
}

// newList is the input of a ~LST: the body once for every value, or every
// tuple of values.
func (r *reader) newList(args, body string, p piece) (input, bool) {
	tuples, ok := tuplesOf(args)
	if !ok || len(tuples) < 1 {
		return nil, false
	}
	names := tuples[0]
	in := once{}
	for _, values := range tuples[1:] {
		if len(values) > len(names) {
			return nil, false
		}
		vars := maps.Clone(p.vars)
		if vars == nil {
			vars = map[string]string{}
		}
		for i, name := range names {
			vars[name] = ""
			if i < len(values) {
				vars[name] = r.reference(values[i], p.vars)
			}
		}
		in = append(in, piece{text: body, at: p.at, vars: vars})
	}
	return &in, true
}

// tuplesOf splits "a, b" and "{a, b}, {c, d}".
func tuplesOf(args string) (tuples [][]string, ok bool) {
	for args = trim(args); args != ""; args = trimLeft(args) {
		var tuple string
		if inner, braced := strings.CutPrefix(args, "{"); braced {
			tuple, args, ok = strings.Cut(inner, "}")
			if !ok {
				return nil, false
			}
			tuples = append(tuples, commaWords(tuple))
			args = trimLeft(args)
			if args, ok = strings.CutPrefix(args, ","); !ok && args != "" {
				return nil, false
			}
			continue
		}
		tuple, args, _ = strings.Cut(args, ",")
		tuple = trim(tuple)
		if strings.ContainsAny(tuple, blanks) {
			return nil, false
		}
		tuples = append(tuples, []string{tuple})
	}
	return tuples, true
}

func commaWords(s string) []string {
	words := strings.Split(s, ",")
	for i, w := range words {
		words[i] = trim(w)
	}
	return words
}
