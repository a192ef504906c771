package iproute

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Severity says what a Problem does to the route.
type Severity uint8

const (
	Odd         Severity = iota // keepalived complains, and makes the route
	Unsupported                 // keepalived makes the route, usvs cannot
	Wrong                       // nobody makes it
	Missing                     // a value is missing
)

// Problem is one finding about a line.
type Problem struct {
	Severity
	Text string
}

// Entry is a line as it was read.
type Entry struct {
	Route
	NoTrack    bool
	TrackGroup string // of static routes
	// Usable is whether the route can be made.
	Usable   bool
	Problems []Problem
}

// Parse reads the words of a line. Only a static route may name a track_group.
func Parse(words []string, static bool) Entry {
	p := parser{words: words, static: static}
	p.e.Protocol = Keepalived
	ok := p.line() && p.together()
	p.e.Usable = ok
	return p.e
}

// parser reads one line from left to right.
type parser struct {
	words  []string
	static bool
	at     int
	e      Entry

	hop      Hop // that of a route without nexthop
	hops     []Hop
	family   int // 4 or 6 by the first address, 0 if not known
	fixed    bool
	anywhere bool // the destination is default
}

func (p *parser) problem(s Severity, format string, args ...any) bool {
	p.e.Problems = append(p.e.Problems, Problem{s, fmt.Sprintf(format, args...)})
	return s == Odd
}

func (p *parser) wrong(format string, args ...any) bool { return p.problem(Wrong, format, args...) }

// line reads words until there are none, or one makes the rest meaningless.
func (p *parser) line() bool {
	for p.at < len(p.words) {
		w := p.words[p.at]
		p.at++
		if w == "nexthop" {
			return p.nextHops()
		}
		if !p.word(w) {
			return false
		}
	}
	return true
}

// kinds are the words that begin a route, and whether packets leave by it.
var kinds = map[string]bool{
	"unicast": true, "local": true, "broadcast": true, "anycast": true, "multicast": true,
	"blackhole": false, "unreachable": false, "prohibit": false, "throw": false,
}

// beyond are words that keepalived knows, and the kernel is not told by us.
var beyond = []string{"from", "encap", "expires", "pref", "ttl-propagate", "realms", "realm", "vrf", "rtt", "rttvar", "nat", "xresolve", "as"}

func (p *parser) word(w string) bool {
	if _, ok := kinds[w]; ok {
		if p.e.Kind = w; w == "unicast" {
			p.e.Kind = ""
		}
		return true
	}
	if _, ok := metrics[w]; ok {
		return p.metric(w)
	}
	switch w {
	case "inet", "inet6":
		p.family, p.fixed = map[string]int{"inet": 4, "inet6": 6}[w], true
		return true
	case "append":
		p.e.Append = true
		return true
	case "no_track":
		p.e.NoTrack = true
		return true
	case "track_group":
		if p.static {
			return p.text(w, &p.e.TrackGroup)
		}
	case "to":
		v, ok := p.value(w)
		return ok && p.destination(v)
	case "src":
		return p.address(w, &p.e.Src)
	case "table", "metric", "priority", "preference", "scope", "tos", "dsfield", "protocol":
		return p.number(w)
	case "gw":
		p.problem(Odd, "gw is deprecated; valid is via")
	case "or":
		p.problem(Odd, "or is deprecated; valid is nexthop")
		return p.or()
	}
	if known, ok := p.hopWord(w, &p.hop); known {
		return ok
	}
	if slices.Contains(beyond, w) {
		return p.problem(Unsupported, "%s: usvs cannot make such a route, and leaves it out", w)
	}
	return p.destination(w)
}

// hopWord reads what says where packets go next; of a nexthop's words weight is
// one, too.
func (p *parser) hopWord(w string, h *Hop) (known, ok bool) {
	switch w {
	case "via", "gw":
		if p.at < len(p.words) && (p.words[p.at] == "inet" || p.words[p.at] == "inet6") {
			p.at++
		}
		return true, p.address(w, &h.Via)
	case "dev", "oif":
		return true, p.text(w, &h.Interface)
	case "onlink":
		h.OnLink = true
		return true, true
	}
	return false, false
}

// or is keepalived's older way to name a second gateway.
func (p *parser) or() bool {
	second := p.hop
	if !p.address("or", &second.Via) {
		return false
	}
	if len(p.hops) == 0 {
		p.hops = []Hop{p.hop}
	}
	p.hops = append(p.hops, second)
	return true
}

// nextHops reads the rest of the line, which is of next hops only.
func (p *parser) nextHops() bool {
	p.hops = append(p.hops, Hop{})
	for p.at < len(p.words) {
		w, h := p.words[p.at], &p.hops[len(p.hops)-1]
		p.at++
		known, ok := p.hopWord(w, h)
		switch {
		case known:
		case w == "nexthop":
			p.hops, ok = append(p.hops, Hop{}), true
		case w == "weight":
			var n uint64
			n, ok = p.inRange(w, 1, 256)
			h.Weight = int(n)
		case slices.Contains(beyond, w):
			ok = p.problem(Unsupported, "%s: usvs cannot make such a route, and leaves it out", w)
		default:
			return p.problem(Odd, "%q after the next hops is left out", w)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (p *parser) value(w string) (string, bool) {
	if p.at == len(p.words) {
		return "", p.problem(Missing, "%s without its value", w)
	}
	p.at++
	return p.words[p.at-1], true
}

func (p *parser) text(w string, to *string) (ok bool) {
	*to, ok = p.value(w)
	return ok
}

func (p *parser) inRange(w string, least, most uint64) (uint64, bool) {
	v, ok := p.value(w)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(v, 0, 64)
	if err != nil || n < least || n > most {
		return 0, p.wrong("%s %.40q; valid is %d to %d", w, v, least, most)
	}
	return n, true
}

// address reads an address of the route's family, which the first one decides.
func (p *parser) address(w string, to *netip.Addr) bool {
	v, ok := p.value(w)
	if !ok {
		return false
	}
	a, err := netip.ParseAddr(v)
	if err != nil || a.Zone() != "" {
		return p.wrong("%s %.40q is not an address", w, v)
	}
	*to = a
	return p.ofFamily(a)
}

func (p *parser) ofFamily(a netip.Addr) bool {
	family := 4
	if a.Is6() {
		family = 6
	}
	if p.family != 0 && p.family != family {
		return p.wrong("%v is of the other family", a)
	}
	p.family = family
	return true
}

// destination reads a prefix, without length that of a single address.
func (p *parser) destination(v string) bool {
	if v == "default" || v == "any" || v == "all" {
		p.anywhere, p.e.Dst = true, netip.Prefix{}
		return true
	}
	host, length, has := strings.Cut(v, "/")
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return p.wrong("%.40q is neither a word of a route nor an address", v)
	}
	bits := a.BitLen()
	if has {
		n, err := strconv.ParseUint(length, 10, 8)
		if err != nil || int(n) > bits {
			p.problem(Odd, "prefix length %.40q; valid is 0 to %d, and %d is taken", length, bits, bits)
		} else {
			bits = int(n)
		}
	}
	p.anywhere, p.e.Dst = false, netip.PrefixFrom(a, bits).Masked()
	return p.ofFamily(a)
}

// together finds what only the whole line shows.
func (p *parser) together() bool {
	switch {
	case p.anywhere && p.family == 6 && !p.fixed:
		p.e.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	case p.anywhere && !p.fixed:
		p.e.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	if !p.e.Dst.IsValid() {
		return p.wrong("a route without a destination")
	}
	p.e.Hops = p.allHops()
	p.track()
	return true
}

// allHops are the next hops: those of a line have its interface unless they name
// one.
func (p *parser) allHops() []Hop {
	if leaves, ok := kinds[p.e.Kind]; ok && !leaves {
		return nil // the kernel does not want to hear of any
	}
	hops := p.hops
	if len(hops) == 0 && p.hop != (Hop{}) {
		hops = []Hop{p.hop}
	}
	for i := range hops {
		h := &hops[i]
		h.Interface = cmp.Or(h.Interface, p.hop.Interface)
		if h.Weight == 1 || len(hops) == 1 {
			h.Weight = 0
		}
	}
	return hops
}

// track: keepalived watches over routes by an interface and by its own protocol
// number; usvs does not, and says what keepalived says.
func (p *parser) track() {
	switch {
	case p.e.NoTrack:
	case p.e.Protocol != Keepalived:
		p.problem(Odd, "only a route with no_track may have a protocol of its own; it has keepalived's")
		p.e.Protocol = Keepalived
	case p.hop.Interface == "":
		p.problem(Odd, "a route without an interface needs no_track: keepalived cannot watch over it")
	}
}
