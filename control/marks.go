package control

import (
	"errors"
	"net/netip"
	"slices"

	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/marks"
)

// IptablesError is a refused iptables command.
type IptablesError struct {
	text   string
	status int
}

// Error is what iptables writes to its standard error, without the last newline.
func (e *IptablesError) Error() string { return e.text }

// ExitStatus is the status iptables ends with.
func (e *IptablesError) ExitStatus() int { return e.status }

// Iptables executes an iptables command, or an ip6tables command with v6, on
// the mark rules and returns what it prints. words is the command line without
// the program's name. Errors are of type *IptablesError.
func (c *Control) Iptables(v6 bool, words []string) (output string, err error) {
	family := marks.IPv4
	if v6 {
		family = marks.IPv6
	}
	cmd, err := marks.Parser{Family: family, Names: portNames{c.cfg.Resolver}}.Parse(words)
	if err == nil {
		output, err = c.applyMarks(family, cmd)
	}
	return output, iptablesError(family, err)
}

func (c *Control) applyMarks(family marks.Family, cmd marks.Command) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rules := c.rulesLocked(family)
	next, output, err := (*rules).Apply(cmd)
	if err != nil || next == *rules {
		return output, err
	}
	*rules = next
	c.publishLocked()
	return output, nil
}

func (c *Control) rulesLocked(f marks.Family) **marks.Ruleset {
	if f == marks.IPv6 {
		return &c.marks6
	}
	return &c.marks4
}

func iptablesError(f marks.Family, err error) error {
	if err == nil {
		return nil
	}
	var refused *marks.Error
	if !errors.As(err, &refused) {
		return err
	}
	text := refused.Message(f.Program())
	return &IptablesError{text[:len(text)-1], refused.Code}
}

// marks applies the differences in mark rules. Rules that stay keep their
// counters only if all of a family's rules stay.
func (a *adoption) marks(want *Control) {
	for _, f := range [2]marks.Family{marks.IPv4, marks.IPv6} {
		have, wanted := a.rulesLocked(f), *want.rulesLocked(f)
		old, now := (*have).Commands(), wanted.Commands()
		if slices.Equal(old, now) {
			continue
		}
		a.logRules("mark rule removed", f, old, now)
		a.logRules("mark rule added", f, now, old)
		*have = wanted
	}
}

// logRules logs the rules that are in one list and not in the other, as often
// as they are.
func (a *adoption) logRules(what string, f marks.Family, in, out []string) {
	left := map[string]int{}
	for _, r := range out {
		left[r]++
	}
	for _, r := range in {
		if left[r]--; left[r] < 0 {
			a.cfg.Log.Info(what, "rule", f.Program()+" "+r)
		}
	}
}

// portNames makes ipvsadm's resolver answer what iptables asks.
type portNames struct{ ipvsadm.Resolver }

func (n portNames) Addrs(host string) []netip.Addr {
	if a, ok := n.LookupHost(host); ok {
		return []netip.Addr{a}
	}
	return nil
}

func (n portNames) Port(service, protocol string) (uint16, bool) {
	return n.ServicePort(service, balanced(protocol))
}

func (n portNames) Service(port uint16, protocol string) string {
	name, _ := n.ServiceName(port, balanced(protocol))
	return name
}

// balanced is the protocol of that name; TCP for any that is not balanced.
func balanced(name string) ipvs.Protocol {
	switch name {
	case "udp":
		return ipvs.UDP
	case "sctp":
		return ipvs.SCTP
	}
	return ipvs.TCP
}
