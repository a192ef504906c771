package scenario

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText bounds a scenario file.
const maxText = 1 << 20

// Worlds are the names of the worlds a line can be marked for.
var Worlds = []string{"sim", "netns", "ipvs"}

// Error is a mistake in a scenario file, or an expectation that failed.
type Error struct {
	File string
	Line int
	Text string // of the line
	Msg  string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d: %s\n\t%s", e.File, e.Line, e.Msg, shown(e.Text))
}

// maxShown is how many bytes of a line an error shows.
const maxShown = 300

// shown is a line as a terminal may have it: whatever the file is, no control
// characters.
func shown(text string) string {
	if len(text) > maxShown {
		text = text[:maxShown] + " ..."
	}
	return strings.Map(func(r rune) rune {
		if r == '\t' || strconv.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, text)
}

// parser reads a file line by line.
type parser struct {
	file *File
	vars map[string]string
	no   int
	text string // of the line, trimmed and expanded

	exec    *Exec           // to which `|` lines belong
	traffic map[string]bool // names of traffic: holds it connections?
	any     bool            // there was traffic
	moments map[string]bool
	block   *block // of a keepalived.conf that has not ended
}

// Parse reads a scenario. The name is what errors call it.
func Parse(name string, text []byte) (*File, error) {
	p := &parser{
		file:    &File{Name: name, Data: map[string][]byte{}},
		vars:    map[string]string{},
		traffic: map[string]bool{},
		moments: map[string]bool{},
	}
	if len(text) > maxText {
		return nil, p.errorf("the file is longer than %d bytes", maxText)
	}
	lines := p.sections(string(text))
	p.heading(lines)
	for i, line := range lines {
		p.no = i + 1
		read := p.parseLine
		if p.block != nil {
			read = p.blockLine
		}
		if err := read(line); err != nil {
			return nil, err
		}
	}
	if p.block != nil {
		p.no, p.text = p.block.first, ""
		return nil, p.errorf("the configuration that begins here has no end")
	}
	p.no = len(lines)
	if len(p.file.Steps) == 0 {
		return nil, p.errorf("nothing happens: the scenario has no steps")
	}
	return p.file, nil
}

func (p *parser) errorf(format string, args ...any) error {
	return &Error{File: p.file.Name, Line: p.no, Text: p.text, Msg: fmt.Sprintf(format, args...)}
}

var sectionLine = regexp.MustCompile(`^-- ([A-Za-z0-9._-]+) --$`)

// sections takes off the files at the end, each below its own `-- name --`,
// and returns the lines before them.
func (p *parser) sections(text string) []string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	end := len(lines)
	for i := len(lines) - 1; i >= 0; i-- {
		m := sectionLine.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		body := strings.Join(lines[i+1:end], "\n")
		p.file.Data[m[1]] = []byte(strings.TrimRight(body, "\n") + "\n")
		end = i
	}
	return lines[:end]
}

// heading makes the comment at the top the title and the description.
func (p *parser) heading(lines []string) {
	var about []string
	for _, line := range lines {
		text, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		about = append(about, strings.TrimSpace(text))
	}
	if len(about) > 0 {
		p.file.Title = about[0]
		p.file.About = strings.TrimSpace(strings.Join(about[1:], "\n"))
	}
}

var (
	variable   = regexp.MustCompile(`\$[A-Z][A-Z0-9_]*|\$\{[A-Z][A-Z0-9_]*\}`)
	assignment = regexp.MustCompile(`^([A-Z][A-Z0-9_]*)=(\S*)$`)
	prompt     = regexp.MustCompile(`^(!\s*)?([a-z][a-z0-9-]*)\$\s+(.*)$`)
)

func (p *parser) parseLine(line string) error {
	p.text = strings.TrimSpace(line)
	if p.text == "" || p.text[0] == '#' {
		return nil
	}
	if err := p.expand(); err != nil {
		return err
	}
	if m := assignment.FindStringSubmatch(p.text); m != nil {
		p.vars[m[1]] = m[2]
		return nil
	}
	text := p.text
	if rest, ok := strings.CutPrefix(text, "only "); ok {
		return p.only(rest)
	}
	worlds, text, err := p.condition(text)
	if err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(text, "|"); ok {
		return p.output(worlds, rest)
	}
	return p.statement(worlds, text)
}

// expand puts the values of variables into the line.
func (p *parser) expand() (err error) {
	text := p.text
	text = variable.ReplaceAllStringFunc(text, func(v string) string {
		name := strings.Trim(v, "${}")
		value, ok := p.vars[name]
		if !ok && err == nil {
			err = p.errorf("the variable %s has no value", name)
		}
		return value
	})
	if len(text) > 4096 {
		return p.errorf("the line is longer than 4096 bytes")
	}
	p.text = text
	return err
}

// only reads `only sim netns: the reason`.
func (p *parser) only(text string) error {
	names, reason, ok := strings.Cut(text, ":")
	if reason = strings.TrimSpace(reason); !ok || reason == "" {
		return p.errorf("want `only WORLD...: the reason why not the others`")
	}
	worlds := strings.Fields(names)
	if len(worlds) == 0 {
		return p.errorf("which worlds? there are %s", strings.Join(Worlds, ", "))
	}
	for _, w := range worlds {
		if !slices.Contains(Worlds, w) {
			return p.errorf("there is no world %q, only %s", w, strings.Join(Worlds, ", "))
		}
	}
	p.file.Only, p.file.Reason = worlds, reason
	return nil
}

// condition reads `[sim ipvs] ...` or `[!ipvs] ...`: the worlds a line is for.
func (p *parser) condition(text string) (worlds []string, rest string, err error) {
	if text[0] != '[' {
		return nil, text, nil
	}
	inside, rest, ok := strings.Cut(text[1:], "]")
	if rest = strings.TrimSpace(rest); !ok || rest == "" {
		return nil, "", p.errorf("want `[WORLD...] step`")
	}
	inside, not := strings.CutPrefix(strings.TrimSpace(inside), "!")
	names := strings.Fields(inside)
	for _, w := range names {
		if !slices.Contains(Worlds, w) {
			return nil, "", p.errorf("there is no world %q, only %s", w, strings.Join(Worlds, ", "))
		}
	}
	for _, w := range Worlds {
		if slices.Contains(names, w) != not {
			worlds = append(worlds, w)
		}
	}
	if len(names) == 0 || len(worlds) == 0 {
		return nil, "", p.errorf("the line is for no world")
	}
	return worlds, rest, nil
}

// statement reads a line that declares something or makes a step.
func (p *parser) statement(worlds []string, text string) error {
	if m := prompt.FindStringSubmatch(text); m != nil {
		return p.step(worlds)(p.command(m[1] != "", m[2], m[3]))
	}
	w := &words{p: p, list: strings.Fields(text)}
	verb := w.next()
	if declare, ok := declarations[verb]; ok {
		if len(p.file.Steps) > 0 {
			return p.errorf("the network comes before the first step")
		}
		if worlds != nil {
			return p.errorf("the network is the same in every world")
		}
		return w.done(declare(p, w))
	}
	read := verbs[verb]
	if read == nil {
		read = event(verb)
	}
	if read == nil {
		return p.errorf("%q is neither `NODE$ command` nor one of %s", verb, known())
	}
	do, err := read(p, w)
	return p.step(worlds)(do, w.done(err))
}

// step adds what a line makes happen.
func (p *parser) step(worlds []string) func(Action, error) error {
	return func(do Action, err error) error {
		if err != nil {
			return err
		}
		if len(p.file.Topology.Nodes) == 0 {
			return p.errorf("there is no machine yet: the network comes first")
		}
		p.exec, _ = do.(*Exec)
		p.file.Steps = append(p.file.Steps, Step{Line: p.no, Text: p.text, Worlds: worlds, Do: do})
		return nil
	}
}

// known lists the words that a line may begin with.
func known() string {
	names := append(slices.Collect(maps.Keys(verbs)), "link", "multicast")
	names = append(names, slices.Collect(maps.Keys(declarations))...)
	for do := range disturbances {
		names = append(names, string(do))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// command reads what stands behind a prompt.
func (p *parser) command(fails bool, node, command string) (Action, error) {
	if p.file.Topology.Node(node) == nil {
		return nil, p.errorf("there is no machine called %q", node)
	}
	x := &Exec{Node: node, Fails: fails}
	text, file, redirected := strings.Cut(command, "<")
	if redirected {
		x.Stdin = strings.TrimSpace(file)
		if _, ok := p.file.Data[x.Stdin]; !ok {
			return nil, p.errorf("there is no `-- %s --` at the end of the file", x.Stdin)
		}
	}
	if x.Command = strings.TrimSpace(text); x.Command == "" {
		return nil, p.errorf("no command")
	}
	return x, nil
}

// output reads a line that the command above must write, or with `|!` must not.
func (p *parser) output(worlds []string, text string) error {
	if p.exec == nil {
		return p.errorf("`|` lines belong below a command")
	}
	text, no := strings.CutPrefix(text, "!")
	o := OutputLine{Line: p.no, Worlds: worlds, Words: strings.Fields(text), No: no}
	if len(o.Words) == 0 {
		return p.errorf("an empty line fits every output")
	}
	p.exec.Output = append(p.exec.Output, o)
	return nil
}
