package keepalived

import (
	"fmt"
	"strings"
)

// statement is a line of a block: its keyword and what follows.
type statement struct {
	line
	words []string // words[0] is the keyword
}

// arg is the nth word after the keyword, or "".
func (s statement) arg(n int) string {
	if n < len(s.words) {
		return s.words[n]
	}
	return ""
}

// rest is the text after the keyword, untouched.
func (s statement) rest() string {
	_, rest := cutWord(s.text)
	return rest
}

// parser reads blocks of statements into a Config.
type parser struct {
	reader
	config *Config
	open   []openBlock
	unread []line // given back, the last first
	skip   bool   // a handler does not want its block
	recall        // of the last time the configuration was read
	subject
}

// openBlock is a block that is being read.
type openBlock struct {
	table *table
	at    Pos
}

func (p *parser) next() (line, bool) {
	if n := len(p.unread); n > 0 {
		l := p.unread[n-1]
		p.unread = p.unread[:n-1]
		p.at = l.at
		return l, true
	}
	return p.reader.next()
}

func (p *parser) giveBack(l line) { p.unread = append(p.unread, l) }

// peek is the next line, which stays.
func (p *parser) peek() (line, bool) {
	at := p.at
	l, ok := p.next()
	if ok {
		p.giveBack(l)
	}
	p.at = at
	return l, ok
}

// root reads the whole configuration.
func (p *parser) root(t *table) {
	for {
		p.block(t, Pos{})
		l, ok := p.next()
		if !ok {
			return
		}
		if l.text != "}" { // given back by a block that the root closed
			p.giveBack(l)
			continue
		}
		p.invalid("a '}' without its '{'", "")
	}
}

// block reads statements up to the closing brace, which it takes unless t is
// the root. A block keyword of a block around this one ends it too.
func (p *parser) block(t *table, at Pos) {
	p.open = append(p.open, openBlock{t, at})
	defer func() { p.open = p.open[:len(p.open)-1] }()
	extra := 0
	for {
		here := p.here(t)
		if p.known(here) {
			continue
		}
		l, ok := p.next()
		switch {
		case !ok:
			p.unclosed(t, at)
			return
		case l.text == "{":
			p.invalid("a '{' where no block begins", "")
			p.report.Recovered = true
			extra++
		case l.text == "}" && extra > 0:
			extra--
		case l.text == "}":
			if t.root {
				p.giveBack(l)
			}
			return
		case p.belongsOutside(t, l):
			p.missingBrace(t, l)
			return
		default:
			p.statement(t, l)
			p.learn(here)
		}
	}
}

// unclosed tells of a block that the end of the text finds open.
func (p *parser) unclosed(t *table, at Pos) {
	if t.root {
		return
	}
	p.report.add(Problem{Pos: at, Class: Invalid, Found: fmt.Sprintf("the block of %s is not closed", t.name), Valid: "a '}' is missing", late: true})
	p.report.Recovered = true
}

// belongsOutside reports whether a line begins a block that only a block
// around t can have: then braces are missing before it.
func (p *parser) belongsOutside(t *table, l line) bool {
	word, _ := cutWord(l.text)
	if t.root || t.words[word] != nil {
		return false
	}
	for _, o := range p.open {
		if k := o.table.words[word]; k != nil && k.opens() {
			return true
		}
	}
	return false
}

// missingBrace gives a line back for a block around t to read.
func (p *parser) missingBrace(t *table, l line) {
	word, _ := cutWord(l.text)
	p.invalid(fmt.Sprintf("%s inside a block of %s", word, t.name), "is a '}' missing before this line?")
	p.report.Recovered = true
	p.giveBack(l)
}

// statement carries out one line of a block.
func (p *parser) statement(t *table, l line) {
	s := statement{line: l}
	var ok bool
	if s.words, ok = words(plain(l.text)); !ok {
		p.invalid("a quote without its partner: "+shown(l.text), "")
	}
	k := t.words[s.arg(0)]
	p.oddBlanks(l.text, k)
	if len(s.words) == 0 {
		return
	}
	if k == nil {
		p.unknown(t, s.words[0])
		return
	}
	if k.note != "" {
		p.note(k.name+": "+k.note, "")
	}
	p.remark(t, k)
	enough := len(s.words) > k.args || k.raw && s.rest() != ""
	if !enough {
		p.problem(k.missing, fmt.Sprintf("%s without its value", k.name), k.usage())
	}
	p.skip = false
	if enough && k.do != nil {
		k.do(p, s)
	}
	p.body(k, s, p.skip || !enough)
}

// remark says what is particular about a keyword. In a block that usvs does not
// act on the block's own keyword has said so.
func (p *parser) remark(t *table, k *keyword) {
	if k.support == Inert && !t.inert {
		p.note(k.name+" is for keepalived: usvs does not act on it", "")
	}
	if k.ours && !p.options.Extensions {
		p.invalid(k.name+" is a keyword of usvs only; keepalived does not know it", "")
	}
}

// body reads the block of a keyword that has one.
func (p *parser) body(k *keyword, s statement, skip bool) {
	switch {
	case !k.opens():
		return
	case skip:
		p.pass()
	case k.entry != nil:
		p.list(k, s)
	case p.begins():
		p.block(k.block, s.at)
	}
	if k.end != nil && !skip {
		at := p.at
		k.end(p, s)
		p.at = at
	}
}

// begins takes the brace at the start of a block. Without it keepalived goes
// on as if it were there; a '}' instead belongs to the block around.
func (p *parser) begins() bool {
	l, ok := p.next()
	if ok && l.text == "{" {
		return true
	}
	p.invalid("a '{' is missing at the start of the block", "")
	p.report.Recovered = true
	if ok {
		p.giveBack(l)
	}
	return ok && l.text != "}"
}

// list reads a block of entries, one on each line. An entry that is followed
// by a block is none: the list is not closed.
func (p *parser) list(k *keyword, s statement) {
	if len(s.words) > 1+k.args {
		p.invalid(fmt.Sprintf("%s takes no words before its block: %s", k.name, shown(s.words[1+k.args])), "")
	}
	if !p.begins() {
		return
	}
	for {
		l, ok := p.next()
		if !ok {
			p.unclosed(&table{name: k.name}, s.at)
			return
		}
		if l.text == "}" {
			return
		}
		if l.text == "{" {
			p.invalid("a '{' inside a list", "")
			p.report.Recovered = true
			continue
		}
		if brace, ok := p.peek(); ok && brace.text == "{" {
			p.missingBrace(&table{name: k.name}, l)
			return
		}
		p.entry(k, l)
	}
}

// entry hands one line of a list to its handler.
func (p *parser) entry(k *keyword, l line) {
	e := statement{line: l}
	var ok bool
	if e.words, ok = words(plain(l.text)); !ok {
		p.invalid("a quote without its partner: "+shown(l.text), "")
	}
	p.oddBlanks(l.text, k)
	if len(e.words) > 0 {
		k.entry(p, e)
	}
}

// pass reads over a block, if one begins, counting braces.
func (p *parser) pass() {
	if l, ok := p.peek(); !ok || l.text != "{" {
		return
	}
	at := p.at
	for depth := 0; ; {
		l, ok := p.next()
		switch {
		case !ok:
			p.unclosed(&table{name: "a block that is passed over"}, at)
			return
		case l.text == "{":
			depth++
		case l.text == "}":
			depth--
		}
		if depth == 0 {
			return
		}
	}
}

// unknown tells of a word that is no keyword of t, and passes its block over.
func (p *parser) unknown(t *table, word string) {
	valid := "a " + t.name + " does not have it"
	if t.root {
		valid = "no block of keepalived.conf has this name"
	}
	if len(p.report.Problems) >= maxProblems {
		valid = "" // nobody will read it
	} else if newer[word] {
		valid = "keepalived has it since 2.3"
	} else if near := nearest(word, t.names()); near != "" {
		valid = "did you mean " + near + "?"
	} else if where := p.elsewhere(word); where != "" {
		valid = "it belongs into a block of " + where
	}
	p.invalid("unknown keyword "+shown(word), valid)
	if l, ok := p.peek(); ok && l.text == "{" {
		p.report.Recovered = true
		p.pass()
	}
}

// newer are keywords of later releases.
var newer = map[string]bool{
	"use_symlink_paths": true, "set_supplementary_groups": true, "v3_checksum_as_v2": true, "vrrp_owner_ignore_adverts": true,
	"vrrp_delay_after_boot": true, "state_dump_file": true, "stats_dump_file": true, "json_dump_file": true, "json_version": true,
	"iproute_usr_dir": true, "iproute_etc_dir": true, "no_virtual_ipaddress": true, "timer_expired_backup": true,
	"thread_timer_expired": true, "owner_ignore_adverts": true, "auth_hmac": true, "multihop": true, "sni_name": true, "tls_compliant": true,
}

// elsewhere names a table that has the keyword.
func (p *parser) elsewhere(word string) string {
	for _, t := range p.open[0].table.all() {
		if !t.root && t.words[word] != nil {
			return t.name
		}
	}
	return ""
}

// oddBlanks tells of blanks that keepalived takes for parts of words. They
// cost it the statement unless they follow the words that count.
func (p *parser) oddBlanks(text string, k *keyword) {
	clean := plain(text)
	if clean == text {
		return
	}
	class := Invalid
	theirs, _ := words(text)
	ours, _ := words(clean)
	if k != nil && len(ours) > 0 && k.entry == nil && (k.free || !k.counts && sameWords(theirs, ours)) {
		class = Note
	}
	if k != nil && k.opens() && theirs[0] != ours[0] {
		p.report.Recovered = true // keepalived does not know this word, and reads on
	}
	p.problem(class, "a blank that keepalived takes for a letter (full-width, no-break or zero-width): "+shown(text), "use ordinary blanks")
}

// sameWords reports whether words are the same but for odd blanks at the end.
func sameWords(a, b []string) bool {
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y && (i < len(b) || strings.Trim(x, oddBlanks) != "") {
			return false
		}
	}
	return true
}

func (p *parser) invalid(found, valid string) { p.problem(Invalid, found, valid) }
func (p *parser) note(found, valid string)    { p.problem(Note, found, valid) }

// unchecked tells of what is not looked at, though keepalived does.
func (p *parser) unchecked(found string) {
	p.note(found, "")
	p.report.unchecked = append(p.report.unchecked, p.at)
}

// late reports what only the whole configuration shows.
func (p *parser) late(at Pos, class Class, found, valid string) {
	p.report.add(Problem{Pos: at, Class: class, Found: found, Valid: valid, late: true})
}
