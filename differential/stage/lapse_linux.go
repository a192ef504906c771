package stage

import (
	"time"

	"usvs/wire"
)

// How long the kernel waits for the rest of a datagram.
const (
	lapse4 = 30 * time.Second
	lapse6 = 60 * time.Second
)

// lapses are when the kernel is to drop what it has of datagrams in fragments.
type lapses []time.Duration

// sent notes a frame that was sent at a time, if it is a fragment.
func (l *lapses) sent(frame []byte, at time.Duration) {
	var p wire.Packet
	switch {
	case p.Parse(frame, wire.Ethernet) != wire.None || !p.Fragment:
	case p.Version == 4:
		*l = append(*l, at+lapse4)
	default:
		*l = append(*l, at+lapse6)
	}
}

// near reports whether one is at hand, or may be late: by an eighth, as the
// kernel's timers are.
func (l lapses) near(now time.Duration) bool {
	for _, at := range l {
		if now > at-time.Second && now < at+lapse6/8+time.Second {
			return true
		}
	}
	return false
}
