package keepalived

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

// source is a file as an input.
type source struct {
	name  string
	dir   string
	data  []byte
	at    int    // where in data the next line begins
	chunk string // lines of data from there on
	line  int
	r     *reader
	over  string // what is left of a line that is too long

	checks strictness // of every include, as include_check has it
}

// chunkBytes is how much of a file becomes a string at once: little, because
// the words of a configuration that is kept keep it.
const chunkBytes = 4096

func (s *source) pull() (piece, bool) {
	if s.over != "" {
		return s.piece(s.over), true
	}
	if s.at == len(s.data) {
		return piece{}, false
	}
	if s.chunk == "" {
		s.fill()
	}
	text, rest, _ := strings.Cut(s.chunk, "\n")
	s.skip(len(s.chunk)-len(rest), 1)
	s.r.at = Pos{s.name, s.line}
	return s.piece(s.clean(text)), true
}

// fill takes the next lines out of the data.
func (s *source) fill() {
	rest := s.data[s.at:]
	n := min(chunkBytes, len(rest))
	if end := bytes.IndexByte(rest[n:], '\n'); end >= 0 {
		n += end + 1
	} else {
		n = len(rest)
	}
	s.chunk = string(rest[:n])
}

// skip goes over lines.
func (s *source) skip(bytes, lines int) {
	s.at += bytes
	s.line += lines
	s.chunk = s.chunk[min(bytes, len(s.chunk)):]
}

// clean cuts a line at a zero byte, as keepalived does, and tells.
func (s *source) clean(text string) string {
	head, _, zero := strings.Cut(text, "\x00")
	if zero {
		s.r.problem(Note, "a zero byte; keepalived ignores the rest of the line", "")
	}
	if len(head) > maxLine {
		s.r.problem(Note, fmt.Sprintf("a line of %d bytes; keepalived breaks it after %d", len(head), maxLine), "use several lines")
	}
	return strings.TrimRight(head, "\r")
}

// piece takes as much of a line as keepalived reads at once.
func (s *source) piece(text string) piece {
	n := min(len(text), maxLine)
	s.over = text[n:]
	return piece{text: text[:n], at: Pos{s.name, s.line}, file: true}
}

// openFiles reads files in their order, before anything else.
func (r *reader) openFiles(names []string) (read int) {
	var sources []input
	checks := r.current().checks
	for _, name := range names {
		if len(r.names) >= maxFiles {
			r.problem(Invalid, fmt.Sprintf("more than %d files", maxFiles), "")
			break
		}
		text, err := r.options.Files.Read(name)
		if err == nil && len(text) > maxFileBytes {
			err = fmt.Errorf("%s: longer than %d bytes", name, maxFileBytes)
		}
		if err != nil {
			r.problem(Note, err.Error(), "keepalived passes it over")
			continue
		}
		r.names = append(r.names, name)
		sources = append(sources, &source{name: name, dir: path.Dir(name), data: text, r: r, checks: checks})
	}
	for i := range sources {
		r.push(sources[len(sources)-1-i])
	}
	return len(sources)
}

// current is the innermost open file.
func (r *reader) current() *source {
	for i := len(r.inputs) - 1; i >= 0; i-- {
		if s, ok := r.inputs[i].(*source); ok {
			return s
		}
	}
	return &source{dir: "."}
}

// depth is how many files are being read within each other.
func (r *reader) depth() (n int) {
	for _, in := range r.inputs {
		if _, ok := in.(*source); ok {
			n++
		}
	}
	return n
}

// strictness of the variants of include: which misses are errors.
type strictness struct{ missing, unmatched, member bool }

var includes = map[string]strictness{
	"include":  {},
	"includer": {},
	"includem": {missing: true},
	"includew": {missing: true, unmatched: true},
	"includeb": {member: true},
	"includea": {missing: true, unmatched: true, member: true},
}

// or is what either asks for.
func (s strictness) or(t strictness) strictness {
	return strictness{s.missing || t.missing, s.unmatched || t.unmatched, s.member || t.member}
}

// includeCheck is what every include asks for from here on, until the file
// ends: all, one, or one more or less than before.
func includeCheck() *keyword {
	return custom("include_check", 0, "[[+|-]match] [[+|-]wildcard_match] [[+|-]brace_match]", func(p *parser, s statement) {
		in := p.current()
		if len(s.words) == 1 {
			in.checks = includes["includea"]
		}
		for i, w := range s.words[1:] {
			name := strings.TrimLeft(w[:min(1, len(w))], "+-") + w[min(1, len(w)):]
			if i == 0 && name == w {
				in.checks = strictness{}
			}
			check := in.checks.named(name)
			switch {
			case check == nil:
				p.invalid("include_check "+shown(w), suggestion(name, []string{"match", "wildcard_match", "brace_match"}))
			case name != w:
				*check = w[0] == '+'
			case i > 0:
				p.invalid("include_check "+w+" after another check", "valid is +"+w)
			default:
				*check = true
			}
		}
	}).counting()
}

// named is the part of a strictness that include_check has a name for.
func (s *strictness) named(name string) *bool {
	switch name {
	case "match":
		return &s.missing
	case "wildcard_match":
		return &s.unmatched
	case "brace_match":
		return &s.member
	}
	return nil
}

// include reads the files that an include line names, if it is one.
func (r *reader) include(text string) bool {
	if !strings.HasPrefix(text, "include") {
		return false
	}
	word, pattern, _ := strings.Cut(text, " ")
	if tab := strings.IndexByte(word, '\t'); tab >= 0 {
		word, pattern = text[:tab], text[tab+1:]
	}
	strict, ok := includes[word]
	strict = strict.or(r.current().checks)
	pattern = trim(pattern)
	if !ok || pattern == "" {
		return false
	}
	r.context = true
	if r.depth() >= maxIncludes {
		r.problem(Invalid, fmt.Sprintf("include %s: more than %d files within each other", pattern, maxIncludes), "does a file include itself?")
		return true
	}
	r.openFiles(r.matches(pattern, strict))
	return true
}

// matches are the files of an include pattern, which counts from the directory
// of the file it stands in.
func (r *reader) matches(pattern string, strict strictness) (names []string) {
	members := braces(pattern)
	missing := 0
	for _, member := range members {
		full := member
		if dir := r.current().dir; !path.IsAbs(full) && dir != "." {
			full = path.Join(dir, full)
		}
		found, err := r.options.Files.Match(full)
		if err != nil {
			r.problem(Invalid, fmt.Sprintf("include %s: %v", pattern, err), "")
		}
		if len(found) == 0 {
			missing++
		}
		names = append(names, found...)
	}
	if missing > 0 {
		r.problem(missClass(pattern, len(members), missing, strict), fmt.Sprintf("include %s: no such file", shown(pattern)), "")
	}
	return names
}

// missClass is what keepalived makes of an include that names files which are
// not there.
func missClass(pattern string, members, missing int, strict strictness) Class {
	required := strict.missing && !strings.ContainsAny(pattern, "*?[{") ||
		strict.unmatched && strings.ContainsAny(pattern, "*?[") ||
		strict.member && members > 1 && !strings.ContainsAny(pattern, "*?[")
	switch {
	case required:
		return Insecure
	case members > 1 && missing < members:
		return Note
	}
	return Note
}
