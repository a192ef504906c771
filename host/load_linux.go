package host

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// ThreadTimes are how a thread has fared since it started.
type ThreadTimes struct {
	Ran    time.Duration
	Waited time.Duration // ready to run while another ran
	Turns  uint64        // how often it was its turn
}

// ThreadTimesOf are those of a thread of this process (/proc/PID/task/TID/schedstat).
func ThreadTimesOf(tid int) (t ThreadTimes, err error) {
	path := fmt.Sprintf("/proc/self/task/%d/schedstat", tid)
	text, err := os.ReadFile(path)
	if err != nil {
		return t, err
	}
	var ran, waited int64
	if _, err := fmt.Sscan(string(text), &ran, &waited, &t.Turns); err != nil {
		return ThreadTimes{}, fmt.Errorf("%s: %w", path, err)
	}
	t.Ran, t.Waited = time.Duration(ran), time.Duration(waited)
	return t, nil
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
