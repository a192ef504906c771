package marks

import (
	"fmt"
	"strconv"
	"strings"
)

// chainName is the chain marks are given in.
const chainName = "PREROUTING"

// chains are the built-in chains of the mangle table. All but the first are
// always empty; listings show them because iptables does.
var chains = [...]string{chainName, "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// spec is the rule as -S prints it behind the chain, with a space in front of
// every word. Two rules are the same if their specs are.
func (r *rule) spec(f Family) string { return r.conditions(f) + r.jump() }

func (r *rule) conditions(f Family) string {
	var b strings.Builder
	address := func(option string, n network) {
		if n.mask != (bits128{}) || n.invert {
			b.WriteString(bang(n.invert) + option + n.text(f))
		}
	}
	address(" -s ", r.src)
	address(" -d ", r.dst)
	if r.iface != "" {
		b.WriteString(bang(r.notIface) + " -i " + r.iface)
	}
	if r.proto != 0 {
		b.WriteString(bang(r.notProto) + " -p " + protocolName(r.proto))
	}
	for i := range r.matches {
		b.WriteString(" -m " + r.matches[i].name + r.matches[i].spec())
	}
	return b.String()
}

func (r *rule) jump() string {
	if r.target.verdict == goOn {
		return ""
	}
	s := " -j " + r.target.name()
	if r.target.verdict == setMark {
		s += fmt.Sprintf(" --set-xmark 0x%x/0x%x", r.target.value, r.target.mask)
	}
	return s
}

func bang(invert bool) string {
	if invert {
		return " !"
	}
	return ""
}

func (m *match) spec() string {
	switch m.kind {
	case matchPorts:
		return m.sport.spec(" --sport ") + m.dport.spec(" --dport ")
	case matchMultiport:
		option := [...]string{" --sports ", " --dports ", " --ports "}[m.side]
		return bang(m.invert) + option + portList(m.list, noServices)
	}
	return bang(m.invert) + " --mark " + m.markText()
}

// markText leaves out a mask that masks nothing.
func (m *match) markText() string {
	if m.mask == 1<<32-1 {
		return fmt.Sprintf("0x%x", m.value)
	}
	return fmt.Sprintf("0x%x/0x%x", m.value, m.mask)
}

func (r ports) spec(option string) string {
	if r == anyPort {
		return ""
	}
	return bang(r.invert) + option + r.text(noServices)
}

// namer names a port, or writes it as a number.
type namer func(port uint16) string

func noServices(port uint16) string { return strconv.Itoa(int(port)) }

func (r ports) text(name namer) string {
	if r.low == r.high {
		return name(r.low)
	}
	return name(r.low) + ":" + name(r.high)
}

func portList(list []ports, name namer) string {
	parts := make([]string, len(list))
	for i, r := range list {
		parts[i] = r.text(name)
	}
	return strings.Join(parts, ",")
}

// printRules writes what -S prints of one rule, or of all.
func (rs *Ruleset) printRules(c Command) string {
	var b strings.Builder
	counters := func(packets, bytes uint64) string {
		if !c.verbose {
			return ""
		}
		return fmt.Sprintf(" -c %d %d", packets, bytes)
	}
	for _, chain := range c.shown() {
		if c.num == 0 {
			b.WriteString("-P " + chain + " ACCEPT" + counters(0, 0) + "\n")
		}
	}
	for i, r := range rs.rules {
		if c.num == 0 || c.num == i+1 {
			count := counters(r.counter.packets.Load(), r.counter.bytes.Load())
			b.WriteString("-A " + chainName + r.conditions(rs.family) + count + r.jump() + "\n")
		}
	}
	return b.String()
}

// shown lists the chains the command is about.
func (c Command) shown() []string {
	if c.chain != "" {
		return []string{c.chain}
	}
	return chains[:]
}

// printList writes what -L prints of one rule, or of all.
func (rs *Ruleset) printList(c Command) string {
	var b strings.Builder
	for i, chain := range c.shown() {
		if i > 0 {
			b.WriteString("\n")
		}
		if c.num == 0 {
			b.WriteString(c.listHeader(chain))
		}
		if chain != chainName {
			continue
		}
		for i, r := range rs.rules {
			if c.num == 0 || c.num == i+1 {
				b.WriteString(c.listLine(i+1, r))
			}
		}
	}
	return b.String()
}

func (c Command) listHeader(chain string) string {
	s := "Chain " + chain + " (policy ACCEPT"
	if c.verbose {
		s += " 0 packets, 0 bytes"
	}
	s += ")\n"
	if c.lineNumbers {
		s += "num  "
	}
	if c.verbose && c.exact {
		s += "    pkts      bytes "
	} else if c.verbose {
		s += " pkts bytes "
	}
	s += "target     prot opt "
	if c.verbose {
		s += "in     out     "
	}
	return s + "source               destination         \n"
}

func (c Command) listLine(num int, r *rule) string {
	var b strings.Builder
	if c.lineNumbers {
		fmt.Fprintf(&b, "%-4d ", num)
	}
	if c.verbose {
		b.WriteString(c.countText(r.counter.packets.Load()) + c.countText(r.counter.bytes.Load()))
	}
	proto := strconv.Itoa(int(r.proto))
	if !c.numeric {
		proto = protocolName(r.proto)
	}
	fmt.Fprintf(&b, "%-9s %s%-4s -- ", r.target.name(), mark(r.notProto), proto)
	if c.verbose {
		in := "*"
		if r.iface != "" {
			in = strings.TrimSpace(mark(r.notIface) + r.iface)
		}
		fmt.Fprintf(&b, " %-6s %-6s ", in, "*")
	}
	fmt.Fprintf(&b, "%s%-19s ", mark(r.src.invert), r.src.listText(c.family, c.numeric))
	fmt.Fprintf(&b, "%s%-19s ", mark(r.dst.invert), r.dst.listText(c.family, c.numeric))
	for i := range r.matches {
		b.WriteString(r.matches[i].listText(c, r))
	}
	b.WriteString(r.target.listText())
	return b.String() + "\n"
}

func mark(invert bool) string {
	if invert {
		return "!"
	}
	return " "
}

// countText is a counter, shortened above 99999 unless -x was given.
func (c Command) countText(n uint64) string {
	if c.exact {
		return fmt.Sprintf("%8d ", n)
	}
	if n <= 99999 {
		return fmt.Sprintf("%5d ", n)
	}
	for _, unit := range "KMG" {
		if n = (n + 500) / 1000; n <= 9999 {
			return fmt.Sprintf("%4d%c ", n, unit)
		}
	}
	return fmt.Sprintf("%4dT ", (n+500)/1000)
}

func (m *match) listText(c Command, r *rule) string {
	name := noServices
	if !c.numeric {
		name = func(port uint16) string {
			if s := c.names.Service(port, protocolName(r.proto)); s != "" {
				return s
			}
			return noServices(port)
		}
	}
	switch m.kind {
	case matchPorts:
		return " " + m.name + m.sport.listText(" spt", name) + m.dport.listText(" dpt", name)
	case matchMultiport:
		kind := [...]string{"sports", "dports", "ports"}[m.side]
		not := ""
		if m.invert {
			not = " !"
		}
		return " multiport " + kind + " " + not + portList(m.list, name)
	}
	not := ""
	if m.invert {
		not = " !"
	}
	return " mark match" + not + " " + m.markText()
}

func (r ports) listText(kind string, name namer) string {
	if r == anyPort {
		return ""
	}
	if r.low != r.high {
		kind += "s"
	}
	if r.invert {
		kind += ":!"
	} else {
		kind += ":"
	}
	return kind + r.text(name)
}

func (t target) listText() string {
	switch {
	case t.verdict != setMark:
		return ""
	case t.value == 0:
		return fmt.Sprintf(" MARK and 0x%x", ^t.mask)
	case t.value == t.mask:
		return fmt.Sprintf(" MARK or 0x%x", t.value)
	case t.mask == 0:
		return fmt.Sprintf(" MARK xor 0x%x", t.value)
	case t.mask == 1<<32-1:
		return fmt.Sprintf(" MARK set 0x%x", t.value)
	}
	return fmt.Sprintf(" MARK xset 0x%x/0x%x", t.value, t.mask)
}
