package keepalived

import "bytes"

// Reader reads the same configuration again and again. What it returns is what
// Parse would, but virtual servers whose text has not changed are not read a
// second time: they go over from the Config before, with their positions where
// they are now. So a Config is good until the next Read, except for its Origins.
// A Reader is not safe for concurrent use.
type Reader struct {
	name    string
	options Options
	last    *memory
	known   int // virtual servers that were not read, the last time
}

// NewReader returns a Reader that has not read anything yet.
func NewReader(name string, options Options) *Reader {
	return &Reader{name: name, options: options}
}

// Read reads the configuration as it is now.
func (r *Reader) Read() (*Config, *Report) {
	p := newParser(r.options)
	p.last, p.now = r.last, newMemory()
	p.read(r.name)
	if p.last != nil && p.inherited() != p.last.inherited {
		p = newParser(r.options)
		p.now = newMemory()
		p.read(r.name)
	}
	p.now.inherited = p.inherited()
	config, report := p.result()
	p.now.shelve()
	r.last, r.known = p.now, p.hits
	return config, report
}

// Origin stands for the text that a virtual server was read from. Of what one
// Reader reads, virtual servers with the same Origin say the same, though they
// may stand in other lines. The zero Origin is that of a virtual server whose
// text alone does not tell what it says.
type Origin struct{ of *byte }

// Known reports whether there is an Origin.
func (o Origin) Known() bool { return o.of != nil }

// recall is what a parser knows from the last time, and what it learns for the
// next.
type recall struct {
	last *memory // nil: nothing
	now  *memory // nil: there is no next time
	hits int     // blocks that were known
	done int     // of now.blocks, at the end
}

// memory is a configuration's virtual servers with their text.
type memory struct {
	shelves   map[shelfKey]*shelf
	blocks    []*block // in the order of Config.VirtualServers
	inherited inherited
}

// shelf has the blocks of a file that begin with the same line.
type shelf struct{ blocks []*block }

type shelfKey struct{ file, head string }

// block is a virtual_server that stands alone: its text is all that its meaning
// depends on, but for what it inherits, and there is nothing to say about it.
type block struct {
	key      shelfKey
	text     []byte // from the end of the line before to the end of its last
	line     int    // of the line before
	lines    int
	steps    int // what reading it counted, of maxLines
	scripts  []mentioned
	vs       *VirtualServer
	finished bool
}

// finish notes that nothing was to be said in the end, either.
func (b *block) finish() {
	b.finished = true
	b.vs.Origin = Origin{new(byte)}
}

// inherited is what virtual servers take over from global_defs.
type inherited struct {
	checkPath                          Value[string]
	checkerAlert, alert, checkerLogAll Value[bool]
}

func (p *parser) inherited() inherited {
	g := &p.config.Global
	return inherited{g.CheckPath, g.SMTPAlertChecker, g.SMTPAlert, g.CheckerLogAll}
}

func newMemory() *memory { return &memory{shelves: map[shelfKey]*shelf{}} }

// shelve keeps the blocks that are finished.
func (m *memory) shelve() {
	for _, b := range m.blocks {
		if !b.finished {
			continue
		}
		s := m.shelves[b.key]
		if s == nil {
			s = new(shelf)
			m.shelves[b.key] = s
		}
		s.blocks = append(s.blocks, b)
	}
	m.blocks = nil
}

// take returns the block that text begins with, which is then gone.
func (m *memory) take(file string, text []byte) *block {
	s := m.shelves[shelfKey{file, string(head(text))}]
	if s == nil {
		return nil
	}
	for i, b := range s.blocks[:min(len(s.blocks), maxAlike)] {
		if bytes.HasPrefix(text, b.text) {
			s.blocks = s.blocks[i+1:]
			return b
		}
	}
	return nil
}

// maxAlike is how many blocks with the same first line are compared: of two
// there may be one for TCP and one for UDP.
const maxAlike = 4

// head is the first line of text that is not a comment.
func head(text []byte) (line []byte) {
	for len(text) > 0 {
		line, text, _ = bytes.Cut(text, newline)
		line = bytes.TrimLeft(line, blanks)
		if len(line) > 0 && line[0] != '#' && line[0] != '!' {
			return line
		}
	}
	return nil
}

var newline = []byte("\n")

// place is a place between two lines of a file, outside of blocks, and how much
// there is so far.
type place struct {
	source                                   *source // nil: it is no such place
	at, line, steps, servers, found, scripts int
}

// here is where the parser is.
func (p *parser) here(t *table) (h place) {
	if !t.root || p.now == nil || len(p.unread) > 0 || p.rest.text != "" || len(p.inputs) == 0 {
		return h
	}
	s, ok := p.inputs[len(p.inputs)-1].(*source)
	if !ok || s.over != "" {
		return h
	}
	p.context = false
	return place{s, s.at, s.line, p.lines, len(p.config.VirtualServers), p.report.found(), len(p.scripts)}
}

// known takes a block from the memory instead of reading it, if it begins here.
func (p *parser) known(h place) bool {
	if h.source == nil || p.last == nil {
		return false
	}
	s := h.source
	b := p.last.take(s.name, s.data[s.at:])
	if b == nil || p.lines+b.steps > maxLines {
		return false
	}
	b.moveTo(s)
	s.skip(len(b.text), b.lines)
	p.at = Pos{s.name, s.line}
	p.lines += b.steps
	p.scripts = append(p.scripts, b.scripts...)
	p.config.VirtualServers = append(p.config.VirtualServers, b.vs)
	p.now.blocks = append(p.now.blocks, b)
	p.hits++
	return true
}

// learn remembers the block that began at h, if it stands alone.
func (p *parser) learn(h place) {
	if h.source == nil || p.context {
		return
	}
	is := p.here(rootTable)
	s := h.source
	if is.source != s || is.servers != h.servers+1 || is.found != h.found || s.data[s.at-1] != '\n' {
		return
	}
	text := s.data[h.at:s.at]
	p.now.blocks = append(p.now.blocks, &block{
		key: shelfKey{s.name, string(head(text))}, text: text, line: h.line, lines: s.line - h.line, steps: p.lines - h.steps,
		scripts: p.scripts[h.scripts:len(p.scripts):len(p.scripts)], vs: p.config.VirtualServers[h.servers],
	})
}

// blockOf returns the block of a virtual server, which are asked for in their
// order, if it has one.
func (p *parser) blockOf(vs *VirtualServer) *block {
	if p.now == nil || p.done == len(p.now.blocks) || p.now.blocks[p.done].vs != vs {
		return nil
	}
	p.done++
	return p.now.blocks[p.done-1]
}
