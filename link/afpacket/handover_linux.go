package afpacket

import "time"

const (
	// holdPause is how often a device that is held looks whether it still is.
	holdPause = time.Millisecond

	// landing is how long the kernel may take to deliver a frame for which it had
	// read the steering's tables before they changed.
	landing = time.Millisecond

	// drainPause is how often Handover looks.
	drainPause = 200 * time.Microsecond
)

// handoverPatience bounds how long a device is held for the sake of order. Tests
// have more of it.
var handoverPatience = 10 * time.Millisecond

// Handover makes after instead of before devices of every group get frames, by
// deal, which tells the steering.
//
// Flows keep their order: who gets flows takes no frames until those who had them
// have found their queues empty, which means that all they had has been sent; but
// no longer than 10 ms. Neighbour discovery goes on meanwhile.
func Handover(groups []*Group, before, after int, deal func(active int) error) error {
	var lose, gain []*Device
	for _, g := range groups {
		if after > before {
			lose, gain = append(lose, g.devices[:before]...), append(gain, g.devices[before:after]...)
		} else {
			lose, gain = append(lose, g.devices[after:before]...), append(gain, g.devices[:after]...)
		}
	}
	for _, d := range gain {
		d.held.Store(true)
	}
	err := deal(after)
	if err == nil {
		time.Sleep(landing)
		awaitEmpty(lose)
	}
	for _, d := range gain {
		d.held.Store(false)
		d.Wake()
	}
	return err
}

// awaitEmpty waits until every device has seen from now that it has nothing. What
// one counts first it may have seen before.
func awaitEmpty(list []*Device) {
	seen := make([]uint64, len(list))
	for i, d := range list {
		seen[i] = d.emptied.Load() + 2
	}
	deadline := time.Now().Add(handoverPatience)
	for i, d := range list {
		for d.emptied.Load() < seen[i] && time.Now().Before(deadline) {
			d.Wake() // or one that waits would not look
			time.Sleep(drainPause)
		}
	}
}
