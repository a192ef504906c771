package host

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// ThreadDemand is how long a thread of this process has run, or waited for a CPU,
// since it started (/proc/PID/task/TID/schedstat).
func ThreadDemand(tid int) (time.Duration, error) {
	path := fmt.Sprintf("/proc/self/task/%d/schedstat", tid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var ran, waited int64
	if _, err := fmt.Sscan(string(text), &ran, &waited); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return time.Duration(ran + waited), nil
}

// IdleTime is how long some CPUs, all together, have had nothing to do since the
// machine started (proc_stat(5)).
func IdleTime(cpus []int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return idleOf(string(text), cpus)
}

// tick is the unit of /proc/stat (USER_HZ), on every architecture Go runs on.
const tick = 10 * time.Millisecond

func idleOf(text string, cpus []int) (sum time.Duration, err error) {
	found := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "cpu") {
			break // the CPUs come first
		}
		var cpu int
		var user, nice, system, idle, wait int64
		_, err := fmt.Sscanf(line, "cpu%d %d %d %d %d %d", &cpu, &user, &nice, &system, &idle, &wait)
		if err == nil && slices.Contains(cpus, cpu) {
			sum += time.Duration(idle+wait) * tick
			found++
		}
	}
	if found < len(cpus) {
		return 0, fmt.Errorf("/proc/stat tells of %d of %d CPUs", found, len(cpus))
	}
	return sum, nil
}
