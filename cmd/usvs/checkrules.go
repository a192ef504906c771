package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"usvs/clock"
	"usvs/control"
	"usvs/ipvs"
	"usvs/keepalived"
)

var (
	assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	saved      = []string{"-A", "-a", "-C", "-E", "-e", "-D", "-d", "--add-service", "--add-server"}
	commands   = []string{"sudo", "ipvsadm", "iptables", "ip6tables", "sysctl", "usvs", "echo", "set"}
)

// looksLikeRules reports whether a file is for usvs run --rules: its first line
// with content is a command, an option of ipvsadm or an assignment.
func looksLikeRules(text string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#!") {
			return true
		}
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		return assignment.MatchString(words[0]) || slices.Contains(saved, words[0]) || slices.Contains(commands, path.Base(words[0]))
	}
	return false
}

// checkRules executes a file of rules on a Control without a data plane.
func checkRules(name string, disk *diskFiles) checked {
	c := checked{File: name, Kind: "rules"}
	text, err := readRules(name, disk)
	if err != nil {
		c.reject(finding{Pos: keepalived.Pos{File: name}, Found: err.Error()})
		return c
	}
	ctl := control.New(control.Config{
		Clock:   clock.System{},
		Rand:    rand.New(rand.NewPCG(0, 0)),
		Servers: new(ipvs.Registry),
		Log:     slog.New(ignoredLines{&c}),
	})
	if err := ctl.Load(name, bytes.NewReader(text)); err != nil {
		c.reject(placed(name, err.Error()))
		return c
	}
	services, _ := ctl.Services()
	servers := 0
	for _, s := range services {
		servers += len(s.Servers)
	}
	c.summary = fmt.Sprintf("%s, %s", count(len(services), "service"), count(servers, "server"))
	return c
}

// readRules reads any file: a script may be executable.
func readRules(name string, disk *diskFiles) ([]byte, error) {
	if name == "-" {
		return disk.Read(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func (c *checked) reject(f finding) {
	f.Severity = "error"
	f.text = fmt.Sprintf("%s: error: %s", f.Pos, f.Found)
	c.Status = 1
	c.Errors++
	c.Findings = append(c.Findings, f)
}

// placed takes the place off the front of an error: FILE:LINE: TEXT.
func placed(name, text string) finding {
	rest, ok := strings.CutPrefix(text, name+":")
	number, found, cut := strings.Cut(rest, ": ")
	line, err := strconv.Atoi(number)
	if !ok || !cut || err != nil {
		return finding{Pos: keepalived.Pos{File: name}, Found: text}
	}
	return finding{Pos: keepalived.Pos{File: name, Line: line}, Found: found}
}

// ignoredLines turns what control logs about lines without effect into
// warnings.
type ignoredLines struct{ c *checked }

// Enabled implements slog.Handler.
func (ignoredLines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (h ignoredLines) Handle(_ context.Context, r slog.Record) error {
	f := finding{Pos: keepalived.Pos{File: h.c.File}, Severity: "warning"}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "line":
			f.Line = int(a.Value.Int64())
		case "command":
			f.Found = "ignored: " + a.Value.String()
		}
		return true
	})
	if f.Line == 0 {
		return nil // about a change, not about the file
	}
	f.text = fmt.Sprintf("%s: warning: %s", f.Pos, f.Found)
	h.c.Warnings++
	h.c.Findings = append(h.c.Findings, f)
	return nil
}

// WithAttrs implements slog.Handler.
func (h ignoredLines) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler.
func (h ignoredLines) WithGroup(string) slog.Handler { return h }
