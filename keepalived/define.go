package keepalived

import (
	"fmt"
	"path"
	"strings"
)

// condition handles "@id rest" and "@^id rest": the rest if the configuration
// is meant for this host, nothing otherwise.
func (r *reader) condition(text string) (string, bool) {
	if !strings.HasPrefix(text, "@") {
		return text, true
	}
	r.context = true
	id, rest := cutWord(text[1:])
	id, not := strings.CutPrefix(id, "^")
	if (id == r.options.ConfigID) == not {
		return "", false
	}
	return rest, true
}

// cutWord splits text after its first word.
func cutWord(text string) (word, rest string) {
	end := wordEnd(text)
	return text[:end], trimLeft(text[end:])
}

// define handles "$NAME=value". A value that ends with a backslash goes on
// with the next line.
func (r *reader) define(text string) bool {
	if text[0] != '$' {
		return false
	}
	r.context = true
	name, value, ok := strings.Cut(text, "=")
	if !ok || !isName(name[1:]) {
		return false
	}
	value = trimLeft(value)
	lines := []string{value}
	if first, more := strings.CutSuffix(value, `\`); more {
		lines = r.continuation(trimRight(first))
	}
	if len(r.defs) >= maxDefinitions {
		r.problem(Invalid, fmt.Sprintf("more than %d definitions", maxDefinitions), "")
		return true
	}
	r.defs[name[1:]] = lines
	return true
}

// continuation collects the lines of a definition up to the first that does
// not end with a backslash.
func (r *reader) continuation(first string) (lines []string) {
	if first != "" {
		lines = append(lines, first)
	}
	at := r.at
	defer func() { r.at = at }()
	for more := true; more && len(r.inputs) > 0 && r.lines < maxLines; {
		r.lines++
		p, ok := r.pull()
		if !ok {
			continue
		}
		r.at = p.at
		text := r.uncomment(p.text)
		if text == "" {
			break
		}
		text, more = strings.CutSuffix(text, `\`)
		if text = trimRight(text); text != "" {
			lines = append(lines, text)
		}
	}
	if lines == nil {
		return []string{""}
	}
	return lines
}

func isName(s string) bool { return s != "" && nameLen(s) == len(s) }

// nameLen is the length of the name at the start of s.
func nameLen(s string) int {
	i := 0
	for i < len(s) && (s[i] == '_' || isLetter(s[i]) || i > 0 && isDigit(s[i])) {
		i++
	}
	return i
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// substitute replaces references to definitions. A definition of several
// lines is replaced only where the line ends with its reference: its first
// line stays, the others are returned as more.
func (r *reader) substitute(text string, vars map[string]string) (out string, more []string, replaced bool) {
	if strings.IndexByte(text, '$') < 0 {
		return text, nil, false
	}
	r.context = true
	s := substitution{r: r, vars: vars, left: maxExpansions, last: true}
	out = s.expand(text, nil)
	switch {
	case s.left <= 0 || len(out) > maxFileBytes/64:
		r.problem(Invalid, "the definitions used here grow beyond what a line may hold", "")
		return "", nil, false
	case s.cycle != "":
		r.problem(Invalid, fmt.Sprintf("the definition of $%s refers to itself", s.cycle), "")
		return out, s.more, false
	}
	return out, s.more, s.replaced && !s.stuck
}

// substitution is the replacing in one line.
type substitution struct {
	r        *reader
	vars     map[string]string
	left     int
	last     bool // what is expanded now ends the line
	more     []string
	replaced bool
	stuck    bool   // a definition that refers to itself is left as it is
	cycle    string // one that does so by way of another
}

// expand replaces the references in text; within are the definitions that it
// comes from.
func (s *substitution) expand(text string, within []string) string {
	var out strings.Builder
	outer := s.last
	for text != "" && s.left > 0 {
		before, ref, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			break
		}
		name, size := reference(ref)
		s.last = outer && size == len(ref)
		value, ok := s.value(name, ref[:size], within)
		if !ok {
			value, size = "$", 0
		}
		out.WriteString(value)
		if out.Len() > maxFileBytes/64 {
			s.left = 0
		}
		text = ref[size:]
		if !ok {
			s.warn(name, ref)
		}
	}
	s.last = outer
	return out.String()
}

// reference is the name after a $ and how much text refers to it: NAME before a
// blank or the end of the line, or {NAME}.
func reference(ref string) (name string, size int) {
	if inner, ok := strings.CutPrefix(ref, "{"); ok {
		end := strings.IndexByte(inner, '}')
		if end < 0 {
			return "", 0
		}
		word, _ := cutWord(inner[:end])
		return word, end + 2
	}
	n := nameLen(ref)
	if n < len(ref) && strings.IndexByte(blanks, ref[n]) < 0 {
		return "", 0
	}
	return ref[:n], n
}

// value is what replaces a reference, if anything does.
func (s *substitution) value(name, ref string, within []string) (string, bool) {
	if name == "" {
		return "", false
	}
	if v, ok := s.vars[name]; ok {
		s.took()
		return v, true
	}
	lines, ok := s.r.defs[name]
	if !ok {
		return s.builtin(name, ref)
	}
	for _, w := range within {
		if w == name {
			s.stuck = true
			if len(within) > 1 {
				s.cycle = name
			}
			return "", false
		}
	}
	if len(lines) > 1 && !s.last {
		return "", false
	}
	s.took()
	if len(lines) > 1 {
		s.more = append(append([]string{}, lines[1:]...), s.more...)
		s.last = false
	}
	return s.expand(lines[0], append(within[:len(within):len(within)], name)), true
}

func (s *substitution) took() { s.replaced = true; s.left-- }

// builtin is a definition that keepalived has by itself. A random number is
// 0 here: a check has to say the same thing twice.
func (s *substitution) builtin(name, ref string) (string, bool) {
	switch name {
	case "_PWD":
		s.took()
		dir := s.r.current().dir
		if !path.IsAbs(dir) {
			dir = path.Join(s.r.options.Dir, dir)
		}
		return dir, true
	case "_INSTANCE":
		s.took()
		return s.r.options.ConfigID, true
	case "_HASH":
		s.took()
		return "#", true
	case "_BANG":
		s.took()
		return "!", true
	case "_RANDOM":
		s.took()
		words := strings.Fields(strings.Trim(ref, "{}"))
		if len(words) > 1 {
			return words[1], true
		}
		return "0", true
	}
	return "", false
}

// warn tells of a reference that keepalived leaves as it is though its name is
// defined.
func (s *substitution) warn(name, ref string) {
	if name != "" {
		return
	}
	n := nameLen(ref)
	_, ok := s.r.defs[ref[:n]]
	if _, loop := s.vars[ref[:n]]; (ok || loop) && n > 0 && n < len(ref) {
		s.r.problem(Note, fmt.Sprintf("$%s is not replaced: keepalived wants a blank or the end of the line after it", ref[:n]),
			fmt.Sprintf("write ${%s}", ref[:n]))
	}
}
