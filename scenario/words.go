package scenario

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// words are what is left of a line. Its methods take words off and remember
// the first mistake, which done reports: a reader need not look at each one.
type words struct {
	p    *parser
	list []string
	err  error
}

func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = w.p.errorf(format, args...)
	}
}

// done reports the first mistake, or words that nobody wanted.
func (w *words) done(err error) error {
	if w.err == nil {
		w.err = err
	}
	if w.err == nil && len(w.list) > 0 {
		w.fail("did not expect %q", strings.Join(w.list, " "))
	}
	return w.err
}

func (w *words) peek() string {
	if len(w.list) == 0 {
		return ""
	}
	return w.list[0]
}

// next takes the next word; it is empty at the end of the line.
func (w *words) next() string {
	s := w.peek()
	if len(w.list) > 0 {
		w.list = w.list[1:]
	}
	return s
}

// is takes the next word if it is that one.
func (w *words) is(word string) bool {
	if w.peek() != word {
		return false
	}
	w.next()
	return true
}

// want takes the words, which must be next.
func (w *words) want(list ...string) {
	for _, word := range list {
		if !w.is(word) {
			w.fail("want %q, found %q", word, w.peek())
			return
		}
	}
}

// need takes the next word, of which what says what it should be.
func (w *words) need(what string) string {
	s := w.next()
	if s == "" {
		w.fail("%s is missing", what)
	}
	return s
}

// name takes a name for something new.
func (w *words) name(what string) string {
	s := w.need(what)
	ok := s != "" && len(s) <= 15 && s[0] >= 'a' && s[0] <= 'z'
	for _, c := range s {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		w.fail("%s %q: want a small letter, then small letters, digits and dashes, 15 at most", what, s)
	}
	return s
}

// node takes the name of a machine.
func (w *words) node() string {
	s := w.need("a machine's name")
	if s != "" && w.p.file.Topology.Node(s) == nil {
		w.fail("there is no machine called %q", s)
	}
	return s
}

// director takes the name of a director.
func (w *words) director() string {
	s := w.node()
	if n := w.p.file.Topology.Node(s); n != nil && n.Kind != Director {
		w.fail("%s is no director", s)
	}
	return s
}

// iface takes an interface: node:eth1, or a node, which means its eth0.
func (w *words) iface() Interface {
	s := w.need("an interface")
	node, nic, ok := strings.Cut(s, ":")
	if !ok {
		nic = "eth0"
	}
	i := Interface{node, nic}
	if w.p.file.Topology.MACOf(i).IsZero() {
		w.fail("there is no interface %v", i)
	}
	return i
}

// number takes a number of that range.
func (w *words) number(what string, lo, hi int) int { return w.toNumber(w.need(what), what, lo, hi) }

func (w *words) toNumber(s, what string, lo, hi int) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		w.fail("%s %q: want a number from %d to %d", what, s, lo, hi)
	}
	return n
}

// maxDuration bounds what a scenario can ask for: a day and a bit.
const maxDuration = 30 * time.Hour

func (w *words) duration(what string) time.Duration {
	s := w.need(what)
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxDuration {
		w.fail("%s %q: want a duration like 500ms or 2s, at most %v", what, s, maxDuration)
	}
	return d
}

// percent takes a probability.
func (w *words) percent(what string) float64 {
	s := w.need(what)
	text, ok := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(text, 64)
	if !ok || err != nil || !(v >= 0 && v <= 100) {
		w.fail("%s %q: want a share like 5%%", what, s)
		return 0
	}
	return v / 100
}

// unbounded is the Max of a range without an upper end.
const unbounded = 1<<31 - 1

// count takes how many of something there must be: 15, 10..20, 10.., or ..20.
func (w *words) count(what string) Range {
	s := w.need(what)
	r, ok := parseRange(s)
	if !ok {
		w.fail("%s %q: want a number or a range like 10..20", what, s)
	}
	return r
}

func parseRange(s string) (Range, bool) {
	lo, hi, ranged := strings.Cut(s, "..")
	if !ranged {
		hi = lo
	}
	r := Range{0, unbounded}
	ok := s != ".."
	if lo != "" || !ranged {
		r.Min, ok = parseCount(lo, ok)
	}
	if hi != "" || !ranged {
		r.Max, ok = parseCount(hi, ok)
	}
	return r, ok && r.Min <= r.Max
}

func parseCount(s string, ok bool) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, ok && err == nil && n >= 0 && n <= unbounded
}

// isCount reports whether the next word is a count.
func (w *words) isCount() bool {
	_, ok := parseRange(w.peek())
	return ok
}

func (w *words) addr() netip.Addr {
	s := w.need("an address")
	list := w.addrsOf(s)
	if len(list) == 0 {
		return netip.Addr{}
	}
	return list[0]
}

// addrsOf are the addresses a word stands for: one, or all those of a node.
func (w *words) addrsOf(s string) []netip.Addr {
	if n := w.p.file.Topology.Node(s); n != nil {
		return n.addrs()
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		w.fail("%q is neither an address nor a machine's name", s)
		return nil
	}
	return []netip.Addr{a}
}

func (n *Node) addrs() []netip.Addr {
	var list []netip.Addr
	for _, nic := range n.NICs {
		for _, a := range nic.Addrs {
			list = append(list, a.Addr())
		}
	}
	return list
}

// endpoint reads 10.0.0.1:80, 10.0.0.1, [2001:db8::1]:80, rs1:80, rs1, *:80 or *.
func (w *words) endpoint(s string) Endpoint {
	var e Endpoint
	host := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && (strings.Count(s, ":") == 1 || s[i-1] == ']') {
		host = s[:i]
		if s[i+1:] != "*" {
			e.Port = uint16(w.toNumber(s[i+1:], "port", 1, 65535))
		}
	}
	if host == "*" || host == "" {
		return e
	}
	e.Addrs = w.addrsOf(strings.Trim(host, "[]"))
	return e
}

// oneOf takes a word of the list.
func (w *words) oneOf(what string, list []string) string {
	s := w.need(what)
	if s != "" && !slices.Contains(list, s) {
		w.fail("%s %q: want one of %s", what, s, strings.Join(list, ", "))
	}
	return s
}
