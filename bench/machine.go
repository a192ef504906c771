package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Machine is what figures depend on besides usvs.
type Machine struct {
	CPU       string `json:"cpu"`    // its model
	Cores     int    `json:"cores"`  // that the program may use
	Memory    uint64 `json:"memory"` // bytes; 0: unknown
	System    string `json:"system"` // the operating system's name
	Kernel    string `json:"kernel,omitempty"`
	Arch      string `json:"arch"`
	GoVersion string `json:"go"`
}

// ThisMachine describes the machine the program runs on.
func ThisMachine() Machine {
	m := Machine{
		Cores: runtime.NumCPU(), System: runtime.GOOS, Arch: runtime.GOARCH, GoVersion: runtime.Version(),
	}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		m.CPU = procField(f, "model name")
		f.Close()
	}
	if f, err := os.Open("/proc/meminfo"); err == nil {
		m.Memory = kibibytes(procField(f, "MemTotal"))
		f.Close()
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	return m
}

// procField is the value of the first line "name : value".
func procField(r io.Reader, name string) string {
	for s := bufio.NewScanner(r); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// kibibytes reads "24000000 kB"; 0 if it is anything else.
func kibibytes(s string) uint64 {
	number, unit, _ := strings.Cut(s, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || unit != "kB" {
		return 0
	}
	return n << 10
}

// String describes the machine in a line.
func (m Machine) String() string {
	s := fmt.Sprintf("%s, %d cores (%s)", m.cpu(), m.Cores, m.Arch)
	if m.Memory > 0 {
		s += fmt.Sprintf(", %.0f GiB", float64(m.Memory)/(1<<30))
	}
	return s + fmt.Sprintf(", %s, %s", strings.TrimSpace(m.System+" "+m.Kernel), m.GoVersion)
}

func (m Machine) cpu() string {
	if m.CPU == "" {
		return "processor of unknown model"
	}
	return m.CPU
}

// Commit is the version of the sources that the running program was built
// from, as the go command recorded it.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return commitOf(info.Settings)
}

func commitOf(settings []debug.BuildSetting) string {
	values := map[string]string{}
	for _, s := range settings {
		values[s.Key] = s.Value
	}
	commit := values["vcs.revision"]
	if commit == "" {
		return "unknown"
	}
	commit = commit[:min(12, len(commit))]
	if values["vcs.modified"] == "true" {
		commit += " with changes"
	}
	return commit
}
