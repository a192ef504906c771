package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// Load makes the state what the rules file r says, which goes by name in
// messages. The file is first executed on a scratch Control: an error there,
// which tells file and line, leaves the running state as it is. Then only the
// differences are applied. What the file has in common with the running state
// keeps its connections, counters and scheduler state; what it lacks is
// removed, except for timeouts and settings.
func (c *Control) Load(name string, r io.Reader) error {
	commands, err := parseScript(name, r)
	if err != nil {
		return err
	}
	scratch := c.scratch()
	for _, cmd := range commands {
		note, err := scratch.execute(cmd)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, cmd.line, err)
		}
		if note != "" {
			c.cfg.Log.Info("line of the rules file ignored", "file", name, "line", cmd.line, "command", note)
		}
	}
	return c.adopt(scratch)
}

// scratch is a Control without a data plane on the same host. Its timeouts are
// 0 until they are set.
func (c *Control) scratch() *Control {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := New(Config{
		Clock:    c.cfg.Clock,
		Rand:     rand.New(rand.NewPCG(0, 0)),
		Servers:  new(ipvs.Registry),
		Conns:    new(noConnections),
		Resolver: c.cfg.Resolver,
	})
	s.routes, s.sysctls, s.held, s.isScratch = c.routes, c.sysctls, 1, true
	return s
}

// execute carries out one command of a rules file. A command that is harmless
// but means nothing here is returned as a note.
func (c *Control) execute(cmd command) (note string, err error) {
	words := unwrapped(cmd.words)
	if len(words) == 0 {
		return "", nil
	}
	if cmd.to != "" {
		return c.writeSetting(words, cmd.to)
	}
	first := words[0]
	switch name := path.Base(first); {
	case strings.HasPrefix(first, "-"):
		return "", c.ipvsadm(words)
	case name == "ipvsadm":
		return "", c.ipvsadm(words[1:])
	case name == "iptables", name == "ip6tables":
		return "", c.iptables(name == "ip6tables", words[1:])
	case name == "sysctl":
		return c.sysctl(words[1:])
	case first == "echo", first == "set" && len(words) > 1 && strings.HasPrefix(words[1], "-"):
		return strings.Join(words, " "), nil
	}
	return "", fmt.Errorf("`%s' is not supported in a rules file; "+
		"it may hold ipvsadm, iptables, ip6tables and sysctl commands, NAME=value and comments", first)
}

// unwrapped strips sudo, and the name of usvs where it stands for one of the
// commands it has.
func unwrapped(words []string) []string {
	if len(words) > 0 && path.Base(words[0]) == "sudo" {
		words = words[1:]
	}
	if len(words) > 1 && path.Base(words[0]) == "usvs" &&
		slices.Contains([]string{"ipvsadm", "iptables", "ip6tables", "sysctl"}, words[1]) {
		words = words[1:]
	}
	return words
}

func (c *Control) ipvsadm(words []string) error {
	var stderr bytes.Buffer
	status := ipvsadm.Exec(words, c, c.cfg.Resolver, io.Discard, &stderr)
	if status == 0 {
		return nil
	}
	text := strings.TrimSpace(stderr.String())
	if text == "" {
		text = fmt.Sprintf("ipvsadm failed with status %d", status)
	}
	return errors.New(text)
}

func (c *Control) iptables(v6 bool, words []string) error {
	_, err := c.Iptables(v6, words)
	if err == nil {
		return nil
	}
	text, _, _ := strings.Cut(err.Error(), "\n") // without the hint at -h
	return errors.New(text)
}
