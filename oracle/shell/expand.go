package shell

import (
	"bytes"
	"path"
	"strconv"
	"strings"
)

// fields expands a word to arguments: variables and command output, which are
// split at blanks unless quoted, and then patterns of file names.
func (sh *Shell) fields(w word, s streams) []string {
	f := splitter{}
	for _, p := range w {
		text := sh.expand(p, s)
		if p.kind != literal && !p.quoted {
			f.split(text)
			continue
		}
		f.add(text, p.quoted)
	}
	f.end()
	var out []string
	for _, field := range f.fields {
		out = append(out, sh.glob(field)...)
	}
	return out
}

// text expands a word to one string, as in an assignment or a redirection.
func (sh *Shell) text(w word, s streams) string {
	var b strings.Builder
	for _, p := range w {
		b.WriteString(sh.expand(p, s))
	}
	return b.String()
}

func (sh *Shell) expand(p part, s streams) string {
	switch p.kind {
	case variable:
		if p.text == "?" {
			return strconv.Itoa(sh.status)
		}
		return sh.vars[p.text]
	case substitution:
		var out bytes.Buffer
		sub := sh.subshell()
		sh.status = sub.line(p.text, streams{s.in, &out, s.err})
		return strings.TrimRight(out.String(), "\n")
	}
	return p.text
}

// A field is an argument before patterns are looked up: the pattern has its
// quoted characters escaped.
type field struct {
	text, pattern string
	wild          bool
}

type splitter struct {
	fields []field
	cur    field
	open   bool
}

func (f *splitter) add(text string, quoted bool) {
	f.open = true
	f.cur.text += text
	if !quoted {
		f.cur.pattern += text
		f.cur.wild = f.cur.wild || strings.ContainsAny(text, "*?[")
		return
	}
	for i := range len(text) {
		if strings.IndexByte(`*?[\`, text[i]) >= 0 {
			f.cur.pattern += `\`
		}
		f.cur.pattern += text[i : i+1]
	}
}

// split adds text whose blanks end fields.
func (f *splitter) split(text string) {
	for text != "" {
		i := strings.IndexAny(text, " \t\n")
		if i < 0 {
			f.add(text, false)
			return
		}
		if i > 0 {
			f.add(text[:i], false)
		}
		f.end()
		text = text[i+1:]
	}
}

func (f *splitter) end() {
	if f.open {
		f.fields = append(f.fields, f.cur)
	}
	f.cur, f.open = field{}, false
}

// glob returns the files a field's pattern names, or the field itself. Only
// the last element of a path may be a pattern.
func (sh *Shell) glob(f field) []string {
	if !f.wild {
		return []string{f.text}
	}
	dir, pattern := path.Split(f.pattern)
	names, err := sh.Files.List(sh.path(dir))
	if err != nil {
		return []string{f.text}
	}
	var out []string
	for _, name := range names {
		if ok, err := path.Match(pattern, name); ok && err == nil && !strings.HasPrefix(name, ".") {
			out = append(out, dir+name)
		}
	}
	if out == nil {
		return []string{f.text}
	}
	return out
}

// path makes a name absolute.
func (sh *Shell) path(name string) string {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	return path.Clean(name)
}
