//go:build !linux

package bench

import "time"

var began = time.Now()

// ThreadTime is the time of day where threads' times are not known.
func ThreadTime() time.Duration { return time.Since(began) }
