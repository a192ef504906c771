package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
	"usvs/oracle"
	"usvs/wire"
)

// textPlayer is a way to run the recorded commands.
type textPlayer struct {
	name  string
	start func(t *testing.T, ns *netnstest.Namespace) *shell
	line  func(string) string      // the command as it is run; nil: as recorded
	plays func(*oracle.Trace) bool // nil: all of them
	every int                      // of how many cases one is played
}

var textPlayers = []textPlayer{
	{name: "netlink", every: 1, start: func(t *testing.T, ns *netnstest.Namespace) *shell {
		return startShell(t, ns, systemPath, wrapped()...)
	}},
	{name: "socket options", every: 1, plays: fitsSocketOptions, start: func(t *testing.T, ns *netnstest.Namespace) *shell {
		return startShell(t, ns, systemPath, wrapped("prlimit", "--nofile=256:256")...)
	}},
	{name: "a wrapper each", every: 6, start: func(t *testing.T, ns *netnstest.Namespace) *shell {
		return startShell(t, ns, wrapperScripts(t)+":"+systemPath)
	}},
	{name: "usvs", every: 2, line: withoutFiles, start: func(t *testing.T, ns *netnstest.Namespace) *shell {
		return startShell(t, ns, ownTools(t)+":"+systemPath)
	}},
}

// tools are ipvsadm and its scripts.
var tools = []string{"ipvsadm", "ipvsadm-save", "ipvsadm-restore"}

// wrapperScripts makes commands that run Debian's tools, and what the recordings
// read files with, each in a wrapper of its own.
func wrapperScripts(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range append([]string{"cat"}, tools...) {
		text := fmt.Sprintf("#!/bin/sh\nPATH=%s exec %s exec -- %s \"$@\"\n", systemPath, program(), name)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	return dir
}

// ownTools makes links by which usvs is the tools itself.
func ownTools(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range append([]string{"usvs"}, tools...) {
		require.NoError(t, os.Symlink(program(), filepath.Join(dir, name)))
	}
	return dir
}

// withoutFiles is a command for where no file of the kernel's IPVS is.
func withoutFiles(line string) string {
	return strings.ReplaceAll(line, "cat /proc/net/", "usvs proc ")
}

// beyondSocketOptions is what they cannot carry: IPv6, engines, tunnels, and most
// of what there is to say of a synchronisation daemon.
var beyondSocketOptions = regexp.MustCompile(`\[|::|-6|--ipv6|--pe |--tun|-i\b|--ipip|daemon`)

func fitsSocketOptions(tr *oracle.Trace) bool {
	for i := range tr.Steps {
		s := &tr.Steps[i]
		if s.Kind != '$' && strings.Contains(s.Text, "[") || s.Kind == '$' && beyondSocketOptions.MatchString(s.Text) {
			return false
		}
	}
	return true
}

// Every command of the recordings prints what it did on the kernel, and ends
// as it did there: Debian's ipvsadm in the wrapper, and usvs's own.
func TestExecText(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ipvsadm", "ipvsadm-save", "ip", "nft", "prlimit")
	for i := range textPlayers {
		p := &textPlayers[i]
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { p.playAll(t, lab) })
		})
	}
}

// textRecordings are those of commands and their output.
func textRecordings(t *testing.T) []*oracle.Trace {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(recordings, "text", "*.txt"))
	require.NoError(t, err)
	require.Greater(t, len(files), 100)
	var list []*oracle.Trace
	for _, file := range files {
		f, err := os.Open(file)
		require.NoError(t, err)
		tr, err := oracle.ParseTrace(filepath.Base(file), f)
		f.Close()
		require.NoError(t, err)
		list = append(list, tr)
	}
	return list
}

func (p *textPlayer) playAll(t *testing.T, lab *netnstest.Lab) {
	setHosts := recordedNames(t)
	shared := newRecordedMachine(t, lab, 1500)
	sh := p.start(t, shared.ns)
	cases, commands := 0, 0
	for i, tr := range textRecordings(t) {
		if !p.chosen(i, tr) {
			continue
		}
		setHosts(tr.HostsFile())
		t.Run(tr.Name, func(t *testing.T) {
			if longest(tr) > 0 {
				commands += p.playTraffic(t, lab, tr)
				return
			}
			defer shared.reset(t, tr)
			n, differs := p.play(t, shared, sh, tr)
			commands += n
			if differs != "" {
				t.Error(differs)
			}
		})
		cases++
	}
	t.Logf("%d recordings, %d commands", cases, commands)
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", sh.proc.Pid()))
	require.NoError(t, err)
	assert.Less(t, len(open), 40, "files that the wrapper has open after all that")
}

// chosen reports whether to play a recording. That of the settings is about
// files: TestExecFiles has it.
func (p *textPlayer) chosen(i int, tr *oracle.Trace) bool {
	every := p.every
	if testing.Short() || raceEnabled {
		every *= 4
	}
	return tr.Name != "sysctl-defaults.txt" && (i%every == 0 || longest(tr) > 0 && every == 1) && (p.plays == nil || p.plays(tr))
}

// longest is the length of a recording's longest frame, 0 if it has none.
func longest(tr *oracle.Trace) (n int) {
	for i := range tr.Steps {
		n = max(n, len(tr.Steps[i].Data))
	}
	return n
}

// attempts are how often a recording with traffic is played: it may list counters
// before they are summed up, which happens every two seconds of real time.
const attempts = 8

// playTraffic plays a recording with frames, on a machine of its own.
func (p *textPlayer) playTraffic(t *testing.T, lab *netnstest.Lab, tr *oracle.Trace) (commands int) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		m := newRecordedMachine(t, lab, max(1500, longest(tr)-wire.EthernetLen))
		n, differs := p.play(t, m, p.start(t, m.ns), tr)
		commands += n
		switch {
		case differs == "":
			return commands
		case attempt == attempts:
			t.Error(differs)
			return commands
		}
		t.Logf("attempt %d: %s", attempt, differs)
	}
}

// slowest is how far a busy machine may fall behind a recording's pauses.
const slowest = 20 * time.Second

// play plays a recording and returns how many commands it ran. A recording with
// a difference is given up: what follows it depends on it.
func (p *textPlayer) play(t *testing.T, m *recordedMachine, sh *shell, tr *oracle.Trace) (commands int, differs string) {
	for i := range tr.Steps {
		switch s := &tr.Steps[i]; s.Kind {
		case '$':
			line := s.Text
			if p.line != nil {
				line = p.line(line)
			}
			o := sh.run(t, line)
			commands++
			if what := s.Compare(o.Out, o.Err, o.Status, slowest); what != "" {
				return commands, fmt.Sprintf("%s:%d: %s\n%s", tr.Name, s.Line, line, what)
			}
		case '@':
			pause, err := time.ParseDuration(s.Text + "s")
			require.NoError(t, err)
			time.Sleep(pause)
		case 'm', '>':
			m.inject(t, s)
		default:
			t.Fatalf("%s:%d: a step that is not known here", tr.Name, s.Line)
		}
	}
	return commands, ""
}

// reset undoes what a recording did to the table, the timeouts and the daemons.
func (m *recordedMachine) reset(t *testing.T, after *oracle.Trace) {
	t.Helper()
	usvs(t, m.ns, "ipvsadm -C")
	if mentions(after, "--set") {
		usvs(t, m.ns, "ipvsadm --set 900 120 300")
	}
	if !mentions(after, "daemon") {
		return
	}
	for _, state := range []string{"master", "backup"} { // of which none may run
		_, _ = m.ns.Try(program(), "ipvsadm", "--stop-daemon", state)
	}
}

func mentions(tr *oracle.Trace, word string) bool {
	return slices.ContainsFunc(tr.Steps, func(s oracle.Step) bool { return strings.Contains(s.Text, word) })
}
