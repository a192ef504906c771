package marks

import (
	"strconv"
	"strings"
)

// loadMatch takes -m.
func (q *parser) loadMatch(name string) error {
	m := &match{name: name}
	switch name {
	case "tcp", "udp", "sctp":
		m.kind, m.sport, m.dport = matchPorts, anyPort, anyPort
		m.proto, _ = protocolNumber(name)
	case "multiport":
		m.kind = matchMultiport
	case "mark":
		m.kind = matchMark
	default:
		return usage("match `%s' is not supported; there are %s", name, knownMatches)
	}
	q.rule.matches = append(q.rule.matches, m)
	return nil
}

// loadProtocol loads the match that -p stands for, if it has one and that was
// not loaded yet: this is how --dport comes to be known behind -p tcp.
func (q *parser) loadProtocol() bool {
	name := protocolName(q.rule.proto)
	if name != "tcp" && name != "udp" && name != "sctp" {
		return false
	}
	for _, m := range q.rule.matches {
		if m.name == name {
			return false
		}
	}
	return q.loadMatch(name) == nil
}

// jump takes -j.
func (q *parser) jump(name string) error {
	for v := accept; v <= setMark; v++ {
		if (target{verdict: v}).name() == name {
			q.rule.target.verdict = v
			return nil
		}
	}
	return usage("target `%s' is not supported; there are %s", name, knownTargets)
}

// matchOption takes an option of a match.
func (q *parser) matchOption(g given) error {
	switch g.owner.kind {
	case matchPorts:
		return q.portsOption(g.owner, g)
	case matchMultiport:
		return q.multiportOption(g.owner, g)
	}
	return q.markOption(g.owner, g)
}

func (q *parser) portsOption(m *match, g given) error {
	long, to, done := "source-port", &m.sport, &m.sportGiven
	if g.long[0] == 'd' {
		long, to, done = "destination-port", &m.dport, &m.dportGiven
	}
	if *done {
		return usage("Only one `--%s' allowed", long)
	}
	r, err := q.parseRange(g.value, m.name)
	if err != nil {
		return err
	}
	r.invert = q.invert
	*to, *done = r, true
	return nil
}

// parseRange reads a port or a range, one end of which may be missing.
func (q *parser) parseRange(s, proto string) (ports, error) {
	low, high, isRange := strings.Cut(s, ":")
	if !isRange {
		p, err := q.parsePort(s, proto)
		return ports{low: p, high: p}, err
	}
	r := anyPort
	var err error
	if low != "" {
		if r.low, err = q.parsePort(low, proto); err != nil {
			return r, err
		}
	}
	if high != "" {
		if r.high, err = q.parsePort(high, proto); err != nil {
			return r, err
		}
	}
	if r.low > r.high {
		return r, usage("invalid portrange (min > max)")
	}
	return r, nil
}

func (q *parser) parsePort(s, proto string) (uint16, error) {
	if n, ok := parseUint(s, 65535); ok {
		return uint16(n), nil
	}
	if p, ok := q.names.Port(s, proto); ok && s != "" {
		return p, nil
	}
	return 0, usage("invalid port/service `%s' specified", s)
}

// multiportCanonical maps the first letter of an option to its name in messages.
var multiportCanonical = map[byte]string{'s': "--source-ports", 'd': "--destination-ports", 'p': "--ports"}

func (q *parser) multiportOption(m *match, g given) error {
	name := multiportCanonical[g.long[0]]
	if m.given == name {
		return usage("multiport: option \"%s\" can only be used once.", name)
	}
	if m.given != "" {
		return usage("multiport: option \"%s\" cannot be used together with \"%s\".", name, m.given)
	}
	if err := q.checkMultiport(); err != nil {
		return err
	}
	m.given, m.invert = name, q.invert
	m.side = map[byte]side{'s': sourcePorts, 'd': destinationPorts, 'p': eitherPort}[g.long[0]]
	return q.parsePortList(m, g.value)
}

// parsePortList reads up to 15 ports; a range counts for two.
func (q *parser) parsePortList(m *match, s string) error {
	const maxPorts = 15
	proto := protocolName(q.rule.proto)
	n := 0
	for _, part := range strings.Split(s, ",") {
		low, high, isRange := strings.Cut(part, ":")
		if n++; isRange {
			n++
		}
		if n > maxPorts {
			return usage("too many ports specified")
		}
		r := ports{}
		var err error
		if r.low, err = q.parsePort(low, proto); err != nil {
			return err
		}
		if r.high = r.low; isRange {
			if r.high, err = q.parsePort(high, proto); err != nil {
				return err
			}
			if r.low >= r.high {
				return usage("invalid portrange specified")
			}
		}
		m.list = append(m.list, r)
	}
	return nil
}

func (q *parser) checkMultiport() error {
	if q.rule.proto == 0 {
		return usage("multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'")
	}
	switch protocolName(q.rule.proto) {
	case "tcp", "udp", "udplite", "sctp", "dccp":
		if !q.rule.notProto {
			return nil
		}
	}
	return usage("multiport only works with TCP, UDP, UDPLITE, SCTP and DCCP")
}

func (q *parser) markOption(m *match, g given) error {
	if m.given != "" {
		return usage("mark: option \"--mark\" can only be used once.")
	}
	var ok bool
	if m.value, m.mask, ok = parseMark(g.value); !ok {
		return usage("mark: bad integer value for option \"--mark\", or out of range.")
	}
	m.given, m.invert = "--mark", q.invert
	return nil
}

// targetOption takes an option of -j MARK.
func (q *parser) targetOption(g given) error {
	t, name := &q.rule.target, "--"+g.long
	switch {
	case q.invert:
		return usage("MARK: option \"%s\" cannot be inverted.", name)
	case t.given == name:
		return usage("MARK: option \"%s\" can only be used once.", name)
	case t.given != "":
		return usage("MARK: option \"%s\" cannot be used together with \"%s\".", t.given, name)
	}
	t.given = name
	if g.long == "set-xmark" || g.long == "set-mark" {
		var ok bool
		if t.value, t.mask, ok = parseMark(g.value); !ok {
			return usage("MARK: bad integer value for option \"%s\", or out of range.", name)
		}
		if g.long == "set-mark" {
			t.mask |= t.value
		}
		return nil
	}
	v, ok := parseUint(g.value, 1<<32-1)
	if !ok {
		return usage("MARK: bad value for option \"%s\", or out of range (0-4294967295).", name)
	}
	switch g.long {
	case "and-mark":
		t.value, t.mask = 0, ^uint32(v)
	case "or-mark":
		t.value, t.mask = uint32(v), uint32(v)
	case "xor-mark":
		t.value, t.mask = uint32(v), 0
	}
	return nil
}

// checkMatches checks what the matches need, now that -p is known.
func (q *parser) checkMatches() error {
	for _, m := range q.rule.matches {
		switch {
		case m.kind == matchPorts && (q.rule.proto != m.proto || q.rule.notProto):
			return failure("match `" + m.name + "' needs -p " + m.name)
		case m.kind == matchMultiport && m.given == "":
			return usage("multiport expection an option")
		case m.kind == matchMark && m.given == "":
			return usage("mark: option \"--mark\" must be specified")
		}
	}
	return nil
}

func (q *parser) checkTarget() error {
	if q.rule.target.verdict == setMark && q.rule.target.given == "" {
		return usage("MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is required")
	}
	return nil
}

// parseMark reads value or value/mask.
func parseMark(s string) (value, mask uint32, ok bool) {
	first, second, masked := strings.Cut(s, "/")
	v, ok := parseUint(first, 1<<32-1)
	if !ok || !masked {
		return uint32(v), 1<<32 - 1, ok
	}
	m, ok := parseUint(second, 1<<32-1)
	return uint32(v), uint32(m), ok
}

// parseUint reads a number as strtoul(3) of base 0: decimal, 0x and octal.
func parseUint(s string, most uint64) (uint64, bool) {
	base := 10
	s = strings.TrimLeft(s, " \t")
	switch {
	case len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X"):
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil && n <= most
}
