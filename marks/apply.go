package marks

import (
	"fmt"
	"slices"
)

// Apply carries the command out. It returns the Ruleset that results, which is
// rs itself if nothing changed, and what iptables would print. Errors are of
// type *Error; rs stays in force.
func (rs *Ruleset) Apply(c Command) (*Ruleset, string, error) {
	if c.family != rs.family {
		return rs, "", fmt.Errorf("command of %s for rules of %s", c.family.Program(), rs.family.Program())
	}
	switch c.op {
	case 'L':
		return rs, rs.printList(c), nil
	case 'S':
		return rs, rs.printRules(c), nil
	case 'C':
		return rs, "", rs.check(c)
	}
	rules, err := rs.changed(c)
	if err != nil {
		return rs, "", err
	}
	return build(rs.family, rules), "", nil
}

// changed returns the rules as the command leaves them.
func (rs *Ruleset) changed(c Command) ([]*rule, error) {
	rules := slices.Clone(rs.rules)
	switch c.op {
	case 'A':
		return append(rules, counted(c.rules)...), nil
	case 'I':
		return rs.inserted(c)
	case 'D':
		if c.num == 0 {
			return rs.deleted(c)
		}
		if c.num > len(rules) {
			return nil, failure("Index of deletion too big.")
		}
		return slices.Delete(rules, c.num-1, c.num), nil
	case 'R':
		if c.num > len(rules) {
			return nil, failure("Index of replacement too big.")
		}
		rules[c.num-1] = counted(c.rules)[0]
		return rules, nil
	case 'F':
		return nil, nil
	case 'Z':
		return rs.zeroed(c), nil
	}
	return nil, usage("no command specified")
}

// counted gives copies of the rules counters of their own: a Command may be
// applied more than once.
func counted(rules []*rule) []*rule {
	list := make([]*rule, len(rules))
	for i, r := range rules {
		one := *r
		one.counter = new(counter)
		list[i] = &one
	}
	return list
}

// inserted puts every rule at the same place, the later ones in front of the
// earlier ones, as iptables does.
func (rs *Ruleset) inserted(c Command) ([]*rule, error) {
	at := max(c.num-1, 0)
	if at > len(rs.rules) {
		return nil, failure("Index of insertion too big.")
	}
	added := counted(c.rules)
	slices.Reverse(added)
	return slices.Insert(slices.Clone(rs.rules), at, added...), nil
}

// deleted removes, for each rule of the command, the first that says the same.
func (rs *Ruleset) deleted(c Command) ([]*rule, error) {
	left := &Ruleset{family: rs.family, rules: slices.Clone(rs.rules)}
	for _, r := range c.rules {
		i := left.find(r)
		if i < 0 {
			return nil, failure("Bad rule (does a matching rule exist in that chain?).")
		}
		left.rules = slices.Delete(left.rules, i, i+1)
	}
	return left.rules, nil
}

func (rs *Ruleset) check(c Command) error {
	for _, r := range c.rules {
		if rs.find(r) < 0 {
			return failure("Bad rule (does a matching rule exist in that chain?).")
		}
	}
	return nil
}

// zeroed gives one rule, or all, new counters.
func (rs *Ruleset) zeroed(c Command) []*rule {
	rules := slices.Clone(rs.rules)
	for i := range rules {
		if c.num == 0 || c.num == i+1 {
			rules[i] = counted(rules[i : i+1])[0]
		}
	}
	return rules
}
