//go:build !linux

package director

import "time"

var start = time.Now()

// cpuTime is, where nothing better is known, the time that passed.
func cpuTime() time.Duration { return time.Since(start) }
