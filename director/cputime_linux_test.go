package director

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what the calling thread has had of a processor: on a busy machine
// it tells more than the time that passed.
func cpuTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
