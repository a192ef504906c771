package control

import (
	"usvs/marks"
)

// Iptables executes an iptables command, or an ip6tables command with v6, on
// the mark rules and returns what it prints. words is the command line without
// the program's name.
func (c *Control) Iptables(v6 bool, words []string) (output string, err error) {
	cmd, err := marks.Parse(words)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	rules := &c.marks4
	if v6 {
		rules = &c.marks6
	}
	next, output, err := (*rules).Apply(cmd)
	if err != nil {
		return "", err
	}
	if next != *rules {
		*rules = next
		c.publishLocked()
	}
	return output, nil
}

// marks applies the differences in mark rules.
func (a *adoption) marks(want *Control) {}
