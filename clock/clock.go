// Package clock is the only place where usvs reads the time. Everything else
// is handed an Instant, so that a simulation can hand it any time it likes.
package clock

import (
	"math"
	"time"
)

// Instant is a point on a monotonic time line, in nanoseconds since an origin
// that only the Clock knows. Instants of different clocks do not compare.
type Instant int64

// Never is later than every other Instant: a deadline that does not come.
const Never Instant = math.MaxInt64

// Add returns t+d, saturating at Never.
func (t Instant) Add(d time.Duration) Instant {
	s := t + Instant(d)
	if d > 0 && s < t {
		return Never
	}
	return s
}

// Sub returns the duration t-u.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// Before reports whether t is earlier than u.
func (t Instant) Before(u Instant) bool { return t < u }

// After reports whether t is later than u.
func (t Instant) After(u Instant) bool { return t > u }

// Min returns the earlier of t and u.
func (t Instant) Min(u Instant) Instant { return min(t, u) }

// Clock tells the time.
type Clock interface {
	Now() Instant
}

// System is the clock of the machine. Its Instants start near one second, so
// that the zero Instant stays usable as "long ago".
type System struct{ origin time.Time }

// NewSystem returns a System clock that starts now.
func NewSystem() System { return System{origin: time.Now().Add(-time.Second)} }

// Now returns the monotonic time since the clock's origin.
func (s System) Now() Instant { return Instant(time.Since(s.origin)) }
