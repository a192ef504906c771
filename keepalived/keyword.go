package keepalived

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Support says what becomes of a keyword.
type Support int

const (
	// Typed keywords are checked and fill a field of Config.
	Typed Support = iota
	// Ignored keywords are known and their values checked, but nothing of them
	// is kept; a warning says so.
	Ignored
	// Inert keywords are checked and fill a field of Config, but usvs does not
	// act on it when it runs by the configuration; a warning says so.
	Inert
)

// keyword is a row of a table: a word, what must follow it, and what it does.
type keyword struct {
	name    string
	args    int    // words that must follow
	missing Class  // what a missing word is
	valid   string // what may follow, for messages and the documentation
	support Support
	free    bool   // the value is any text
	raw     bool   // the value has quotes of its own
	counts  bool   // every word on the line counts
	note    string // said wherever the keyword is used
	ours    bool   // keepalived does not know it

	do    func(*parser, statement)
	block *table                   // of statements
	entry func(*parser, statement) // for each line of a list
	end   func(*parser, statement)
}

// opens reports whether a block belongs to the keyword.
func (k *keyword) opens() bool { return k.block != nil || k.entry != nil }

func (k *keyword) usage() string {
	if k.valid == "" {
		return ""
	}
	return "valid is " + k.name + " " + k.valid
}

// table is the keywords of a kind of block.
type table struct {
	name  string
	root  bool
	inert bool // all of it is
	words map[string]*keyword
	order []*keyword
}

func newTable(name string, rows ...[]*keyword) *table {
	t := &table{name: name, words: map[string]*keyword{}}
	for _, k := range slices.Concat(rows...) {
		if t.words[k.name] != nil {
			panic(fmt.Sprintf("keepalived: %s has %s twice", name, k.name))
		}
		t.words[k.name] = k
		t.order = append(t.order, k)
	}
	return t
}

func (t *table) names() []string { return slices.Collect(maps.Keys(t.words)) }

// all is the table and those of the blocks in it, each once.
func (t *table) all() (tables []*table) {
	seen := map[*table]bool{}
	var walk func(*table)
	walk = func(t *table) {
		if seen[t] {
			return
		}
		seen[t] = true
		tables = append(tables, t)
		for _, k := range t.order {
			if k.block != nil {
				walk(k.block)
			}
		}
	}
	walk(t)
	return tables
}

// Constructors of rows. The field function says where the value goes.

func custom(name string, args int, valid string, do func(*parser, statement)) *keyword {
	return &keyword{name: name, args: args, valid: valid, missing: Fatal, do: do}
}

// lenient makes a missing word an error that keepalived survives.
func (k *keyword) lenient() *keyword { k.missing = Invalid; return k }

// counting marks a keyword that takes as many words as there are.
func (k *keyword) counting() *keyword { k.counts = true; return k }

// optional makes the value optional.
func (k *keyword) optional() *keyword { k.args = 0; return k }

// inert marks a keyword that usvs does not act on.
func (k *keyword) inert() *keyword { k.support = Inert; return k }

// extension marks a keyword that only usvs knows.
func (k *keyword) extension() *keyword { k.ours = true; return k }

// deprecated makes every use the error that keepalived makes of it.
func (k *keyword) deprecated(hint string) *keyword {
	do := k.do
	k.do = func(p *parser, s statement) {
		p.invalid(s.words[0]+" is deprecated", hint)
		do(p, s)
	}
	return k
}

// present is set by being there.
func present(name string, field func(*parser) *Value[bool]) *keyword {
	return custom(name, 0, "", func(p *parser, s statement) { field(p).set(true, s.at) })
}

// negated clears a field by being there.
func negated(name string, field func(*parser) *Value[bool]) *keyword {
	return custom(name, 0, "", func(p *parser, s statement) { field(p).set(false, s.at) })
}

// onoff is set by being there, or to the value after it.
func onoff(name string, field func(*parser) *Value[bool]) *keyword {
	return custom(name, 0, "[on|off|true|false|yes|no]", func(p *parser, s statement) {
		if v, ok := p.boolean(s, true); ok {
			field(p).set(v, s.at)
		}
	}).counting()
}

func number(name string, least, most int, field func(*parser) *Value[int]) *keyword {
	valid := fmt.Sprintf("%d to %d", least, most)
	return custom(name, 1, valid, func(p *parser, s statement) {
		if v, ok := p.integer(s.arg(1), least, most, s.words[0]); ok {
			field(p).set(v, s.at)
		}
	})
}

// wholeSeconds is a duration without decimals.
func wholeSeconds(name string, least, most int, field func(*parser) *Value[time.Duration]) *keyword {
	valid := fmt.Sprintf("%d to %d seconds", least, most)
	return custom(name, 1, valid, func(p *parser, s statement) {
		if v, ok := p.integer(s.arg(1), least, most, s.words[0]); ok {
			field(p).set(time.Duration(v)*time.Second, s.at)
		}
	})
}

// seconds is a duration with up to six decimals.
func seconds(name string, least, most time.Duration, field func(*parser) *Value[time.Duration]) *keyword {
	valid := secondsRange(least, most) + ", with up to 6 decimals"
	return custom(name, 1, valid, func(p *parser, s statement) {
		if v, ok := p.duration(s.arg(1), least, most, s.words[0]); ok {
			field(p).set(v, s.at)
		}
	})
}

// word is any text without blanks, or in quotes.
func word(name, valid string, field func(*parser) *Value[string]) *keyword {
	k := custom(name, 1, valid, func(p *parser, s statement) { field(p).set(s.arg(1), s.at) })
	k.free = true
	return k
}

func address(name string, field func(*parser) *Value[netip.Addr]) *keyword {
	return custom(name, 1, "ADDRESS", func(p *parser, s statement) {
		if v, ok := p.address(s.arg(1), s.words[0]); ok {
			field(p).set(v, s.at)
		}
	})
}

func fifo(name string, field func(*parser) *Value[FIFO]) *keyword {
	k := custom(name, 1, "PATH [USER [GROUP]]", func(p *parser, s statement) {
		field(p).set(FIFO{s.arg(1), User{s.arg(2), s.arg(3)}}, s.at)
	})
	k.free = true
	return k
}

// script is a command; keepalived keeps the first.
func script(name string, field func(*parser) *Value[Script]) *keyword {
	k := custom(name, 1, "COMMAND [USER [GROUP]]", func(p *parser, s statement) {
		if f := field(p); f.Set() {
			p.invalid(fmt.Sprintf("%s again; the first counts", s.words[0]), "it was set in line "+fmt.Sprint(f.At.Line))
		} else if v, ok := p.script(s); ok {
			f.set(v, s.at)
		}
	})
	k.free, k.raw = true, true
	return k
}

// list is a block of entries.
func list(name string, valid string, entry func(*parser, statement)) *keyword {
	return &keyword{name: name, valid: valid, missing: Invalid, entry: entry}
}

// names is a block of words, as many on a line as there are.
func names(name, valid string, field func(*parser) *[]Value[string]) *keyword {
	k := list(name, valid, func(p *parser, s statement) {
		for _, w := range s.words {
			*field(p) = append(*field(p), Value[string]{w, s.at})
		}
	})
	k.end = func(p *parser, s statement) {
		if len(*field(p)) == 0 {
			p.invalid("a block of "+name+" is empty", "")
		}
	}
	return k
}

// nested is a block of statements.
func nested(name string, args int, valid string, begin func(*parser, statement), block *table, end func(*parser, statement)) *keyword {
	return &keyword{name: name, args: args, valid: valid, missing: Fatal, do: begin, block: block, end: end}
}

// inertTable is the table of a block that usvs does not act on.
func inertTable(name string, rows ...*keyword) *table {
	t := newTable(name, rows)
	t.inert = true
	for _, k := range rows {
		k.inert()
	}
	return t
}

// checkPath is how checks reach a server: at its own address, as keepalived's
// do, or by the virtual address.
func checkPath(field func(*parser) *Value[string]) *keyword {
	return custom("check_path", 1, "direct or vip", func(p *parser, s statement) {
		if p.oneOf(s, "direct", "vip") {
			field(p).set(s.arg(1), s.at)
		}
	}).lenient().extension()
}

// Keyword is a row of the documentation: a keyword that usvs knows.
type Keyword struct {
	Block   string
	Name    string
	Valid   string
	Support Support
}

// Keywords returns every keyword in the order of the tables.
func Keywords() (all []Keyword) {
	for _, t := range rootTable.all() {
		for _, k := range t.order {
			all = append(all, Keyword{t.name, k.name, k.valid, k.support})
		}
	}
	return all
}
