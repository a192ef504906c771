package load

import "time"

// Pace says how many frames are due.
type Pace struct {
	PerSecond float64 // 0: as many as go
	sent      int
}

// Due is how many frames to send now, at most most, when since has passed. It
// is 0 or most, save for rates so low that a whole batch would be a burst. What
// a stalled sender is late by is not made up for at once: it would overrun who
// keeps up with the rate.
func (p *Pace) Due(since time.Duration, most int) int {
	if p.PerSecond == 0 {
		p.sent += most
		return most
	}
	due := int(since.Seconds()*p.PerSecond) - p.sent
	batch := min(most, max(1, int(p.PerSecond*maxBurst.Seconds())))
	if due < batch {
		return 0
	}
	if late := due - maxLate*batch; late > 0 {
		p.sent += late // given up
	}
	p.sent += batch
	return batch
}

const (
	// maxBurst is how much time's worth of frames is sent at once.
	maxBurst = 32 * time.Microsecond

	// maxLate is how many batches may be made up for.
	maxLate = 8
)
