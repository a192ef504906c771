package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ, the unit of /proc/stat, on every architecture Go
// runs on.
const ticksPerSecond = 100

// Busy is how long a core has not been idle since the machine started.
func Busy(core int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, fmt.Sprintf("cpu%d ", core)); ok {
			return busyOf(rest)
		}
	}
	return 0, fmt.Errorf("/proc/stat does not tell of core %d", core)
}

// busyOf reads proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
func busyOf(line string) (time.Duration, error) {
	var n [8]int64
	if _, err := fmt.Sscan(line, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]); err != nil {
		return 0, fmt.Errorf("/proc/stat: %w", err)
	}
	ticks := n[0] + n[1] + n[2] + n[5] + n[6]
	return time.Duration(ticks) * (time.Second / ticksPerSecond), nil
}

// processCPU is how much processor time a process has had, all of its threads
// together (/proc/PID/task/TID/schedstat counts nanoseconds).
func processCPU(pid int) (total time.Duration, err error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(paths) == 0 {
		return 0, fmt.Errorf("process %d: no schedstat in /proc", pid)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // that thread has ended
		}
		var ns int64
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		total += time.Duration(ns)
	}
	return total, nil
}
