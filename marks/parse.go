package marks

import (
	"slices"
	"strings"
)

// Command is a parsed command line, ready for Ruleset.Apply.
type Command struct {
	family Family
	names  Names
	op     byte // the letter of the command
	chain  string
	num    int     // rule number; 0: none
	rules  []*rule // of -A, -C, -D, -I and -R; several if addresses were

	numeric, verbose, exact, lineNumbers bool
}

// ReadOnly reports whether the command leaves every Ruleset as it is.
func (c Command) ReadOnly() bool { return strings.IndexByte("LSC", c.op) >= 0 }

// Parser reads the command lines of one family.
type Parser struct {
	Family Family
	Names  Names // nil: NoNames
}

// parsedRule is a rule under construction. Matches are pointers here, because
// options keep arriving for them.
type parsedRule struct {
	rule
	srcText, dstText string // as given; resolved when all else is in order
	srcs, dsts       []network
	notSrc, notDst   bool
	matches          []*match
}

// parser is the state of one Parse.
type parser struct {
	family Family
	names  Names
	words  []string // not read yet
	bundle string   // letters not read yet of a word of short options
	invert bool     // a ! was read
	table  string
	used   string // letters of the generic options seen
	cmd    Command
	rule   parsedRule
}

// Parse reads the words behind the program's name. Errors are of type *Error.
func (p Parser) Parse(words []string) (Command, error) {
	q := &parser{family: p.Family, names: p.Names, words: words, table: "filter"}
	if q.names == nil {
		q.names = NoNames{}
	}
	for {
		g, ok, err := q.next()
		if err != nil {
			return Command{}, err
		}
		if !ok {
			break
		}
		if g.short == 1 && g.value == "!" {
			if q.invert {
				return Command{}, usage("multiple consecutive ! not allowed")
			}
			q.invert = true
			continue
		}
		if err := q.option(g); err != nil {
			return Command{}, err
		}
		q.invert = false
	}
	return q.finish()
}

func (q *parser) option(g given) error {
	switch {
	case g.short == 1:
		return badArgument(g.value)
	case g.target:
		return q.targetOption(g)
	case g.owner != nil:
		return q.matchOption(g)
	case strings.IndexByte("ACDIRLSFZ", g.short) >= 0:
		return q.command(g)
	}
	if q.invert && g.short == 'm' {
		return usage("unexpected ! flag before --match")
	}
	if q.invert && strings.IndexByte("sdpi", g.short) < 0 {
		return usage("cannot have ! before %s", g.name)
	}
	return q.generic(g)
}

// command takes a command letter, its chain and its rule number.
func (q *parser) command(g given) error {
	if q.invert {
		return usage("unexpected '!' flag")
	}
	if q.cmd.op != 0 {
		return usage("Cannot use -%c with -%c", g.short, q.cmd.op)
	}
	q.cmd.op, q.cmd.chain = g.short, g.value
	if g.arg == mayArg && g.value == "" {
		q.cmd.chain, _ = q.optional()
	}
	if strings.IndexByte("DIRLSZ", g.short) < 0 || g.arg == mayArg && q.cmd.chain == "" {
		return nil
	}
	number, ok := q.optional()
	if !ok {
		if g.short == 'R' {
			return usage("-R requires a rule number")
		}
		return nil
	}
	n, ok := parseUint(number, 1<<31-1)
	if !ok || n == 0 {
		return usage("Invalid rule number `%s'", number)
	}
	q.cmd.num = int(n)
	return nil
}

// optional takes the next word if it can be an argument.
func (q *parser) optional() (string, bool) {
	if q.bundle != "" || len(q.words) == 0 || strings.HasPrefix(q.words[0], "-") || q.words[0] == "!" {
		return "", false
	}
	word := q.words[0]
	q.words = q.words[1:]
	return word, true
}

// generic takes an option of iptables itself.
func (q *parser) generic(g given) error {
	if strings.IndexByte("sdpij", g.short) >= 0 && strings.IndexByte(q.used, g.short) >= 0 {
		return usage("multiple -%c flags not allowed", g.short)
	}
	if strings.IndexByte("t46wW", g.short) < 0 {
		q.used += string(rune(g.short))
	}
	switch g.short {
	case 't':
		q.table = g.value
	case 's':
		q.rule.srcText, q.rule.notSrc = g.value, q.invert
	case 'd':
		q.rule.dstText, q.rule.notDst = g.value, q.invert
	case 'p':
		return q.protocol(g.value)
	case 'i':
		return q.inInterface(g.value)
	case 'j':
		return q.jump(g.value)
	case 'm':
		return q.loadMatch(g.value)
	case 'n':
		q.cmd.numeric = true
	case 'v':
		q.cmd.verbose = true
	case 'x':
		q.cmd.exact = true
	case '0':
		q.cmd.lineNumbers = true
	case 'w', 'W':
		return q.wait(g)
	case '4', '6':
		return q.onlyFamily(g)
	case 'o':
		return usage("Can't use -o with %s", chainName)
	default:
		return usage("option %s is not supported; supported are %s and the commands %s",
			g.name, knownOptions, knownCommands)
	}
	return nil
}

func (q *parser) protocol(name string) error {
	n, ok := protocolNumber(strings.ToLower(name))
	if !ok {
		return usage("unknown protocol \"%s\" specified", strings.ToLower(name))
	}
	if n == 0 && q.invert {
		return usage("rule would never match protocol")
	}
	q.rule.proto, q.rule.notProto = n, q.invert
	return nil
}

func (q *parser) inInterface(name string) error {
	const maxName = 15
	switch {
	case name == "":
		return usage("Empty interface is likely to be undesired")
	case len(name) > maxName:
		return usage("interface name `%s' must be shorter than IFNAMSIZ (%d)", name, maxName)
	}
	q.rule.iface, q.rule.notIface = name, q.invert
	return nil
}

// wait ignores -w: there is no lock to wait for.
func (q *parser) wait(g given) error {
	value := g.value
	if value == "" {
		value, _ = q.optional()
	}
	if _, ok := parseUint(value, 1<<31-1); value != "" && !ok {
		return usage("wait seconds not numeric")
	}
	return nil
}

func (q *parser) onlyFamily(g given) error {
	if g.short == '4' != (q.family == IPv4) {
		return usage("option %s is for the other family: use %s", g.name, (1 - q.family).Program())
	}
	return nil
}

// finish checks what only the whole command line tells.
func (q *parser) finish() (Command, error) {
	q.cmd.family, q.cmd.names = q.family, q.names
	checks := []func() error{
		q.checkMatches, q.checkTarget, q.checkCommand, q.checkAddresses, q.checkOptions, q.checkPlace,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return Command{}, err
		}
	}
	if q.takesRule() {
		q.expand()
	}
	return q.cmd, nil
}

func (q *parser) checkCommand() error {
	if q.cmd.op == 0 {
		return usage("no command specified")
	}
	if q.invert {
		return usage("nothing appropriate following !")
	}
	return nil
}

// checkAddresses resolves -s and -d.
func (q *parser) checkAddresses() (err error) {
	r := &q.rule
	if strings.IndexByte(q.used, 's') >= 0 {
		if r.srcs, err = q.parseNetworks(r.srcText); err != nil {
			return err
		}
	}
	if strings.IndexByte(q.used, 'd') >= 0 {
		if r.dsts, err = q.parseNetworks(r.dstText); err != nil {
			return err
		}
	}
	if len(r.srcs) > 1 && r.notSrc || len(r.dsts) > 1 && r.notDst {
		return usage("! not allowed with multiple source or destination IP addresses")
	}
	if q.cmd.op == 'R' && (len(r.srcs) > 1 || len(r.dsts) > 1) {
		return usage("Replacement rule does not specify a unique address")
	}
	if len(r.srcs)*len(r.dsts) > maxExpanded {
		return usage("more than %d combinations of source and destination", maxExpanded)
	}
	return nil
}

// maxExpanded bounds the rules one command makes.
const maxExpanded = 1 << 16

// checkOptions refuses options that mean nothing to the command.
func (q *parser) checkOptions() error {
	allowed := map[byte]string{'L': "nvx0", 'S': "v", 'F': "v", 'Z': "v", 'D': "v"}[q.cmd.op]
	if q.takesRule() {
		allowed = "sdpijmv"
	}
	for _, c := range []byte(q.used) {
		if strings.IndexByte(allowed, c) < 0 {
			return usage("Illegal option `-%c' with this command", c)
		}
	}
	return nil
}

// checkPlace refuses tables and chains there are not.
func (q *parser) checkPlace() error {
	switch {
	case q.table != "mangle":
		return &Error{Text: "table `" + q.table + "' is not supported; give -t mangle", Code: 3}
	case q.cmd.chain == chainName, q.cmd.chain == "" && !q.takesRule() && q.cmd.num == 0:
		return nil
	case slices.Contains(chains[:], q.cmd.chain):
		return failure("chain `" + q.cmd.chain + "' is not supported; marks are given in " + chainName + " only")
	}
	return failure("No chain/target/match by that name.")
}

// takesRule reports whether the command describes a rule.
func (q *parser) takesRule() bool {
	return strings.IndexByte("ACIR", q.cmd.op) >= 0 || q.cmd.op == 'D' && q.cmd.num == 0
}

// expand makes one rule for every pair of a source and a destination.
func (q *parser) expand() {
	r := &q.rule
	for _, m := range r.matches {
		r.rule.matches = append(r.rule.matches, *m)
	}
	for _, src := range orAny(r.srcs) {
		for _, dst := range orAny(r.dsts) {
			one := r.rule
			one.src, one.dst = src, dst
			one.src.invert, one.dst.invert = r.notSrc, r.notDst
			q.cmd.rules = append(q.cmd.rules, &one)
		}
	}
}

func orAny(list []network) []network {
	if len(list) == 0 {
		return []network{{}}
	}
	return list
}
