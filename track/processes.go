package track

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// commLimit is how much of its name a process shows, in bytes; see proc(5).
const commLimit = 15

// cmdlineLimit is how much of a command line is compared, in bytes.
const cmdlineLimit = 64 << 10

// ParamMatch says how arguments are compared.
type ParamMatch int

// The ways to compare arguments.
const (
	Exact   ParamMatch = iota // all of them
	Partial                   // the first ones, as many as are given
	Initial                   // like Partial, and the last may go on
)

// Process is a vrrp_track_process: which processes count.
type Process struct {
	// Command is the name and, if they matter, the arguments.
	Command []string
	// Match is param_match; MatchSet whether there is one: then a process
	// without arguments in Command has to have none.
	Match    ParamMatch
	MatchSet bool
	// FullCommand is full_command: the command line counts, not the name.
	FullCommand bool
}

// Processes counts processes. It is safe for concurrent use.
type Processes struct {
	proc   string
	report func(name string, count int)
	wake   chan struct{}
	quit   chan struct{}
	all    sync.WaitGroup

	mu     sync.Mutex
	wanted map[string]Process // guarded by mu
	counts map[string]int     // guarded by mu; what was reported
}

// NewProcesses returns a counter of processes. report gets each count soon
// after Set, and again whenever it changes.
func NewProcesses(report func(name string, count int)) *Processes {
	return newProcesses("/proc", report)
}

func newProcesses(proc string, report func(name string, count int)) *Processes {
	p := &Processes{proc: proc, report: report, wake: make(chan struct{}, 1), quit: make(chan struct{}), counts: map[string]int{}}
	p.all.Go(p.run)
	return p
}

// Set replaces what is counted, and reports all counts anew.
func (p *Processes) Set(wanted map[string]Process) {
	p.mu.Lock()
	p.wanted, p.counts = wanted, map[string]int{}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Close ends the counting.
func (p *Processes) Close() {
	close(p.quit)
	p.all.Wait()
}

func (p *Processes) run() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-p.wake:
		case <-tick.C:
		}
		p.look()
	}
}

// look counts and reports what changed.
func (p *Processes) look() {
	p.mu.Lock()
	wanted, counts := p.wanted, p.counts
	p.mu.Unlock()
	if len(wanted) == 0 {
		return
	}
	for name, count := range countProcesses(p.proc, wanted) {
		p.mu.Lock()
		last, told := counts[name]
		counts[name] = count // of no consequence if Set came meanwhile
		p.mu.Unlock()
		if !told || last != count {
			p.report(name, count)
		}
	}
}

// countProcesses counts the processes of each kind.
func countProcesses(proc string, wanted map[string]Process) map[string]int {
	counts := make(map[string]int, len(wanted))
	full := false
	for name, w := range wanted {
		counts[name] = 0
		full = full || w.byCommandLine()
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return counts
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		comm, alive := readComm(filepath.Join(proc, e.Name(), "stat"))
		if !alive {
			continue
		}
		var cmdline []string
		if full {
			cmdline = readCommandLine(filepath.Join(proc, e.Name(), "cmdline"))
		}
		for name, w := range wanted {
			if w.matches(comm, cmdline) {
				counts[name]++
			}
		}
	}
	return counts
}

// byCommandLine reports whether the process's name is not enough.
func (w Process) byCommandLine() bool {
	return w.FullCommand || w.MatchSet || len(w.Command) > 1 || len(w.Command) == 1 && strings.Contains(w.Command[0], "/")
}

func (w Process) matches(comm string, cmdline []string) bool {
	if len(w.Command) == 0 {
		return false
	}
	if !w.byCommandLine() {
		return comm == w.Command[0][:min(len(w.Command[0]), commLimit)]
	}
	if len(cmdline) == 0 || cmdline[0] != w.Command[0] {
		return false
	}
	want, have := w.Command[1:], cmdline[1:]
	if len(want) == 0 {
		return !w.MatchSet || len(have) == 0
	}
	return sameArguments(want, have, w.Match)
}

func sameArguments(want, have []string, m ParamMatch) bool {
	if len(have) < len(want) || m == Exact && len(have) != len(want) {
		return false
	}
	for i, arg := range want {
		last := m == Initial && i == len(want)-1
		if have[i] != arg && !(last && strings.HasPrefix(have[i], arg)) {
			return false
		}
	}
	return true
}

// readComm is the name of a process; zombies are not alive.
func readComm(path string) (comm string, alive bool) {
	stat, err := readSome(path, 512)
	if err != nil {
		return "", false
	}
	return parseStat(string(stat))
}

// parseStat reads name and state from the text of /proc/PID/stat. The name is
// in parentheses and may hold any bytes, so its end is the last one.
func parseStat(stat string) (comm string, alive bool) {
	_, rest, ok := strings.Cut(stat, "(")
	end := strings.LastIndexByte(rest, ')')
	if !ok || end < 0 || len(rest) < end+3 {
		return "", false
	}
	state := rest[end+2]
	return rest[:end], state != 'Z' && state != 'X'
}

// readCommandLine is a process's arguments; a thread of the kernel has none.
func readCommandLine(path string) []string {
	line, err := readSome(path, cmdlineLimit)
	line = bytes.TrimRight(line, "\x00")
	if err != nil || len(line) == 0 {
		return nil
	}
	return strings.Split(string(line), "\x00")
}

func readSome(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
