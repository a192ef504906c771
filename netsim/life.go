package netsim

import (
	"fmt"
	"net/netip"
	"time"

	"usvs/wire"
)

// maxLate is how many frames a machine that is paused keeps: what a network
// card's ring and the queues behind it hold. Later ones are lost.
const maxLate = 512

// life is whether a machine runs.
type life struct {
	paused, crashed bool
	era             int // counts crashes: the timers of earlier eras are dead
	pauses          int // counts pauses, so that one that was ended early is not ended twice

	frames []lateFrame // that arrived during a pause
	timers []func()    // that were due during a pause
}

// lateFrame is a frame that waits for its machine to go on.
type lateFrame struct {
	port  *Port
	frame *frame
}

// Running reports whether the machine runs: it has not crashed and is not paused.
func (h *Host) Running() bool { return !h.life.paused && !h.life.crashed }

// Crashed reports whether the machine has crashed and was not started again.
func (h *Host) Crashed() bool { return h.life.crashed }

// newTimer returns a timer of the machine's: it is late if the machine is
// paused, and never calls if it has crashed since.
func (h *Host) newTimer(call func()) *Timer {
	era := h.life.era
	return h.net.NewTimer(func() {
		switch {
		case h.life.crashed || h.life.era != era:
		case h.life.paused:
			h.life.timers = append(h.life.timers, call)
		default:
			call()
		}
	})
}

// Pause stalls the machine for d, as its hypervisor or a garbage collection
// may: no frame and no timer is handled. Frames that arrive meanwhile wait, up
// to a bound, and are handled late, before the timers that were due. A pause
// during a pause replaces it.
func (h *Host) Pause(d time.Duration) {
	if h.life.crashed {
		return
	}
	if !h.life.paused {
		h.net.logf(h.name, "is paused for %v", d)
	}
	h.life.paused = true
	h.life.pauses++
	this := h.life.pauses
	h.net.After(d, func() {
		if h.life.pauses == this {
			h.Resume()
		}
	})
}

// Resume ends a pause before its time.
func (h *Host) Resume() {
	if !h.life.paused {
		return
	}
	era := h.life.era
	h.net.logf(h.name, "goes on, %d frames late", len(h.life.frames))
	frames, timers := h.life.frames, h.life.timers
	h.life.paused, h.life.frames, h.life.timers = false, nil, nil
	h.life.pauses++
	for _, late := range frames {
		h.net.cause = late.frame.rec
		h.self.receive(late.port, late.frame)
		h.net.cause = nil
	}
	for _, call := range timers {
		if h.life.era == era {
			call()
		}
	}
}

// inEra makes the name of a stream of random numbers another one after each crash.
func (h *Host) inEra(name string) string {
	if h.life.era == 0 {
		return name
	}
	return fmt.Sprintf("%s, start %d", name, h.life.era+1)
}

// stalled keeps or releases a frame that arrives while the machine does not
// run, and reports whether it took it.
func (h *Host) stalled(p *Port, f *frame) bool {
	switch {
	case h.life.crashed:
		h.net.release(f)
	case !h.life.paused:
		return false
	case len(h.life.frames) >= maxLate:
		h.drop(f, "lost during a pause")
	default:
		h.life.frames = append(h.life.frames, lateFrame{p, f})
	}
	return true
}

// Crash ends the machine at once, as a power cut does: nothing is said to
// anybody, its interfaces are dead, and what it knew and which connections it
// had are lost. What was configured on it stays, for Restart: addresses, routes
// and settings, and its Services.
func (h *Host) Crash() {
	if h.life.crashed {
		return
	}
	h.net.logf(h.name, "has crashed")
	h.lose()
}

// lose forgets what a machine has in memory.
func (h *Host) lose() {
	for _, late := range h.life.frames {
		h.net.release(late.frame)
	}
	h.life = life{crashed: true, era: h.life.era + 1, pauses: h.life.pauses + 1}
	for _, p := range h.ports {
		p.off = true
	}
	for _, e := range h.neigh.list {
		for _, f := range e.waiting {
			h.net.release(f)
		}
	}
	h.bare()
}

// bare makes the stack that of a machine that was just switched on.
func (h *Host) bare() {
	h.neigh = neighbours{}
	h.neigh.init(h)
	h.udp.init()
	h.frags, h.answers = nil, nil
	h.pmtu, h.pings = map[netip.Addr]learnedMTU{}, map[uint16]func(PingReply){}
	h.transports = map[uint8]transport{wire.ProtoUDP: &h.udp}
}

// Restart starts a machine that has crashed; one that runs crashes first.
func (h *Host) Restart() {
	h.Crash()
	h.boot()
}

// boot switches a machine on.
func (h *Host) boot() {
	h.net.logf(h.name, "starts")
	h.life.crashed = false
	for _, p := range h.ports {
		p.off = false
	}
	for _, s := range h.services {
		_ = s.open() // the ports were its own before
	}
}
