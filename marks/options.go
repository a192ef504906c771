package marks

import "strings"

// argument says whether an option takes one.
type argument uint8

const (
	noArg argument = iota
	needsArg
	mayArg // only attached to it
)

// option is one that a command line may contain.
type option struct {
	long  string
	short byte // identifies generic options; 0 for those of matches and targets
	arg   argument
}

// genericOptions are those iptables itself knows, supported here or not.
var genericOptions = []option{
	{"append", 'A', needsArg}, {"check", 'C', needsArg}, {"delete", 'D', needsArg},
	{"insert", 'I', needsArg}, {"replace", 'R', needsArg}, {"list", 'L', mayArg},
	{"list-rules", 'S', mayArg}, {"flush", 'F', mayArg}, {"zero", 'Z', mayArg},
	{"new-chain", 'N', needsArg}, {"delete-chain", 'X', mayArg}, {"rename-chain", 'E', needsArg},
	{"policy", 'P', needsArg}, {"source", 's', needsArg}, {"src", 's', needsArg},
	{"destination", 'd', needsArg}, {"dst", 'd', needsArg}, {"protocol", 'p', needsArg},
	{"proto", 'p', needsArg}, {"in-interface", 'i', needsArg}, {"out-interface", 'o', needsArg},
	{"jump", 'j', needsArg}, {"goto", 'g', needsArg}, {"table", 't', needsArg},
	{"match", 'm', needsArg}, {"numeric", 'n', noArg}, {"verbose", 'v', noArg},
	{"exact", 'x', noArg}, {"line-numbers", '0', noArg}, {"wait", 'w', mayArg},
	{"wait-interval", 'W', mayArg}, {"fragments", 'f', noArg}, {"set-counters", 'c', needsArg},
	{"modprobe", 'M', needsArg}, {"version", 'V', noArg}, {"help", 'h', noArg},
	{"ipv4", '4', noArg}, {"ipv6", '6', noArg},
}

// Options of the matches and of MARK. The first of several names for the same
// is the one messages use.
var (
	portsOptions = []option{
		{"source-port", 0, needsArg}, {"sport", 0, needsArg},
		{"destination-port", 0, needsArg}, {"dport", 0, needsArg},
	}
	multiportOptions = []option{
		{"source-ports", 0, needsArg}, {"sports", 0, needsArg},
		{"destination-ports", 0, needsArg}, {"dports", 0, needsArg}, {"ports", 0, needsArg},
	}
	markOptions   = []option{{"mark", 0, needsArg}}
	targetOptions = []option{
		{"set-xmark", 0, needsArg}, {"set-mark", 0, needsArg},
		{"and-mark", 0, needsArg}, {"or-mark", 0, needsArg}, {"xor-mark", 0, needsArg},
	}
)

// options lists those of the match.
func (m *match) options() []option {
	switch m.kind {
	case matchPorts:
		return portsOptions
	case matchMultiport:
		return multiportOptions
	}
	return markOptions
}

// given is an option as it stood on the command line.
type given struct {
	option
	name   string // as messages quote it: -x or --word
	value  string
	owner  *match // nil: generic, or of the target
	target bool
}

// next reads the next option, or word that is none (then short is 1). It
// reports false at the end.
func (q *parser) next() (given, bool, error) {
	if q.bundle != "" {
		g, err := q.nextShort()
		return g, true, err
	}
	if len(q.words) == 0 {
		return given{}, false, nil
	}
	word := q.words[0]
	q.words = q.words[1:]
	switch {
	case strings.HasPrefix(word, "--") && len(word) > 2:
		g, err := q.nextLong(word)
		return g, true, err
	case strings.HasPrefix(word, "-") && len(word) > 1 && word != "--":
		q.bundle = word[1:]
		g, err := q.nextShort()
		return g, true, err
	}
	return given{option: option{short: 1}, value: word}, true, nil
}

// nextShort reads an option from the letters behind a dash.
func (q *parser) nextShort() (given, error) {
	c := q.bundle[0]
	q.bundle = q.bundle[1:]
	for _, o := range genericOptions {
		if o.short != c || c == '0' {
			continue
		}
		g := given{option: o, name: "-" + string(rune(c))}
		if o.arg != noArg {
			g.value, q.bundle = q.bundle, ""
		}
		if o.arg == needsArg && g.value == "" {
			return g, q.argument(&g)
		}
		return g, nil
	}
	return given{}, unknownOption("-" + string(rune(c)))
}

// argument takes the next word as the option's argument.
func (q *parser) argument(g *given) error {
	if len(q.words) == 0 {
		return usage("option \"%s\" requires an argument", g.name)
	}
	g.value, q.words = q.words[0], q.words[1:]
	return nil
}

// nextLong reads --name, --name=value or an unambiguous beginning of a name.
func (q *parser) nextLong(word string) (given, error) {
	name, value, attached := strings.Cut(word[2:], "=")
	g, ok := q.lookup(name)
	if !ok && q.loadProtocol() {
		g, ok = q.lookup(name)
	}
	if !ok || attached && g.arg == noArg {
		return g, unknownOption("--" + name)
	}
	g.name, g.value = "--"+name, value
	if g.arg == needsArg && !attached {
		return g, q.argument(&g)
	}
	return g, nil
}

// loadedBy says what has to stand in front of an option for it to be known.
var loadedBy = map[string]string{
	"--dport": "-p tcp, udp or sctp", "--destination-port": "-p tcp, udp or sctp",
	"--sport": "-p tcp, udp or sctp", "--source-port": "-p tcp, udp or sctp",
	"--dports": "-m multiport", "--sports": "-m multiport", "--ports": "-m multiport",
	"--mark": "-m mark", "--set-mark": "-j MARK", "--set-xmark": "-j MARK",
	"--and-mark": "-j MARK", "--or-mark": "-j MARK", "--xor-mark": "-j MARK",
}

func unknownOption(name string) error {
	if first, ok := loadedBy[name]; ok {
		return usage("unknown option \"%s\"; supported are such options behind %s", name, first)
	}
	return usage("unknown option \"%s\"; supported are %s and the commands %s", name, knownOptions, knownCommands)
}

// lookup finds a long option: by its whole name, the latest match's first, or
// by a beginning that only one option has.
func (q *parser) lookup(name string) (given, bool) {
	var found given
	hits := 0
	try := func(list []option, owner *match, target bool) bool {
		for _, o := range list {
			if o.long == name {
				found, hits = given{option: o, owner: owner, target: target}, 1
				return true
			}
			if strings.HasPrefix(o.long, name) && !(hits > 0 && found.short != 0 && found.short == o.short) {
				found, hits = given{option: o, owner: owner, target: target}, hits+1
			}
		}
		return false
	}
	if q.rule.target.verdict == setMark && try(targetOptions, nil, true) {
		return found, true
	}
	seen := map[string]bool{}
	for i := len(q.rule.matches) - 1; i >= 0; i-- {
		m := q.rule.matches[i]
		if seen[m.name] {
			continue
		}
		seen[m.name] = true
		if try(m.options(), m, false) {
			return found, true
		}
	}
	if try(genericOptions, nil, false) {
		return found, true
	}
	return found, hits == 1
}
