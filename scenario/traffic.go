package scenario

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verbs are the lines that make something happen, or expect something.
var verbs = map[string]func(*parser, *words) (Action, error){
	"http":   func(p *parser, w *words) (Action, error) { return p.parseTraffic(w, HTTP) },
	"udp":    func(p *parser, w *words) (Action, error) { return p.parseTraffic(w, UDP) },
	"ping":   func(p *parser, w *words) (Action, error) { return p.parseTraffic(w, Ping) },
	"again":  parseAgain,
	"close":  parseHangup,
	"inject": parseInject,
	"in":     parseLater,
	"wait":   parseWait,
	"moment": parseMoment,
	"expect": parseExpect,
}

// event reads the lines that can be put off with `in 2s`; nil if it is none.
func event(word string) func(*parser, *words) (Action, error) {
	switch {
	case word == "link":
		return parseFault
	case word == "multicast":
		return parseMulticast
	case disturbances[Deed(word)] != nil:
		return parseDisturbance(Deed(word))
	}
	return nil
}

// Bounds of one line of traffic.
const (
	maxCount = 10000
	maxSize  = 16 << 20
)

// defaultTimeout is how long requests are waited for.
var defaultTimeout = map[TrafficKind]time.Duration{HTTP: 3 * time.Second, UDP: time.Second, Ping: time.Second}

// parseTraffic reads `client -> 10.0.0.1:80 x30 concurrency 5 ...`.
func (p *parser) parseTraffic(w *words, kind TrafficKind) (Action, error) {
	t := &Traffic{Kind: kind, Node: w.node(), Count: 1, Concurrency: 1, Timeout: defaultTimeout[kind]}
	w.want("->")
	p.parseTarget(w, t)
	for w.peek() != "" && w.err == nil {
		p.parseOption(w, t)
	}
	if t.Hold && t.As == "" {
		w.fail("what is held needs a name: `hold as NAME`")
	}
	if t.Port != 0 && t.Concurrency > 1 {
		w.fail("requests from one port come one after another")
	}
	if t.As != "" {
		p.traffic[t.As] = t.Hold
	}
	p.any = true
	return t, w.err
}

func (p *parser) parseTarget(w *words, t *Traffic) {
	s := w.need("where to")
	e := w.endpoint(s)
	switch {
	case w.err != nil:
	case len(e.Addrs) == 0:
		w.fail("to which address?")
	case t.Kind == Ping && e.Port != 0:
		w.fail("ping knows no ports")
	case t.Kind != Ping && e.Port == 0:
		w.fail("%q has no port", s)
	default:
		t.To = netip.AddrPortFrom(e.Addrs[0], e.Port)
	}
}

func (p *parser) parseOption(w *words, t *Traffic) {
	word := w.next()
	times, isTimes := strings.CutPrefix(word, "x")
	switch {
	case isTimes:
		t.Count = w.toNumber(times, "how often", 1, maxCount)
	case word == "concurrency" && t.Kind != Ping:
		t.Concurrency = w.number(word, 1, 1000)
	case word == "every":
		t.Every = w.duration(word)
	case word == "timeout":
		t.Timeout = w.duration(word)
	case word == "size":
		t.Size = w.number(word, 0, sizeLimit(t.Kind))
	case word == "upload" && t.Kind == HTTP:
		t.Upload = w.number(word, 0, maxSize)
	case word == "port" && t.Kind != Ping:
		t.Port = uint16(w.number(word, 1, 65535))
	case word == "from":
		t.From = w.addr()
	case word == "hold" && t.Kind == HTTP:
		t.Hold = true
	case word == "as":
		t.As = w.name("a name")
	default:
		w.fail("%s has no option %q", t.Kind, word)
	}
}

func sizeLimit(k TrafficKind) int {
	if k == HTTP {
		return maxSize
	}
	return 65000 // with its headers it must fit into one IP packet
}

// held takes the name of traffic whose connections are held open.
func (w *words) held() string {
	name := w.need("the name of held connections")
	if !w.p.traffic[name] {
		w.fail("no connections are held as %q", name)
	}
	return name
}

func parseAgain(_ *parser, w *words) (Action, error) {
	a := &Again{Name: w.held(), Timeout: defaultTimeout[HTTP]}
	if w.is("timeout") {
		a.Timeout = w.duration("timeout")
	}
	return a, w.err
}

func parseHangup(p *parser, w *words) (Action, error) {
	h := &Hangup{Name: w.held()}
	p.traffic[h.Name] = false
	return h, w.err
}

func parseWait(_ *parser, w *words) (Action, error) {
	return &Wait{For: w.duration("how long")}, w.err
}

func parseMoment(p *parser, w *words) (Action, error) {
	m := &Moment{Name: w.name("a name")}
	p.moments[m.Name] = true
	return m, w.err
}

// parseLater reads `in 2s link rs1 down`.
func parseLater(p *parser, w *words) (Action, error) {
	in := w.duration("when")
	word := w.need("what happens")
	read := event(word)
	if read == nil {
		w.fail("%q cannot be put off", word)
		return nil, w.err
	}
	do, err := read(p, w)
	switch do := do.(type) {
	case *Fault:
		do.In = in
	case *Disturbance:
		do.In = in
	case *Multicast:
		do.In = in
	}
	return do, err
}

// parseFault reads `link rs1:eth0 loss 10% delay 5ms`.
func parseFault(_ *parser, w *words) (Action, error) {
	f := &Fault{Link: w.iface()}
	if w.is("up") {
		return f, w.err
	}
	for ok := true; ok; ok = w.peek() != "" && w.err == nil {
		parseLinkWord(w, &f.Set)
	}
	return f, w.err
}

func parseLinkWord(w *words, s *LinkState) {
	switch word := w.need("what the link does"); word {
	case "down":
		s.Down = true
	case "cut":
		cut := w.oneOf("cut", []string{"in", "out"})
		s.CutIn, s.CutOut = s.CutIn || cut == "in", s.CutOut || cut == "out"
	case "delay":
		s.Delay = w.duration(word)
	case "jitter":
		s.Jitter = w.duration(word)
	case "loss":
		s.Loss = w.percent(word)
	case "duplicate":
		s.Duplicate = w.percent(word)
	case "reorder":
		s.Reorder = w.percent(word)
	case "corrupt":
		s.Corrupt = w.percent(word)
	case "rate":
		s.Rate = w.rate()
	default:
		w.fail("a link has no %q: want up, down, cut, delay, jitter, loss, duplicate, reorder, corrupt or rate", word)
	}
}

// rate takes bits a second: 10kbit, 100mbit, 1gbit.
func (w *words) rate() uint64 {
	s := w.need("a rate")
	for _, unit := range []struct {
		suffix string
		bits   uint64
	}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}} {
		text, ok := strings.CutSuffix(s, unit.suffix)
		if n, err := strconv.ParseUint(text, 10, 32); ok && err == nil && n > 0 && n <= 100000 {
			return n * unit.bits
		}
	}
	w.fail("rate %q: want one like 10mbit", s)
	return 0
}

// isFailure reports whether a word is a Failure.
func isFailure(s string) bool { return slices.Contains(Failures, Failure(s)) }
