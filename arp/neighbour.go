package arp

import (
	"net/netip"
	"sync/atomic"

	"usvs/clock"
	"usvs/wire"
)

// State is what the cache knows of a neighbour.
type State uint8

// The states of a neighbour (RFC 4861 section 7.3.2, and Linux's names).
const (
	None       State = iota // just created
	Incomplete              // asked for, no answer yet
	Reachable               // confirmed lately
	Stale                   // not confirmed lately; used all the same
	Delay                   // stale and in use; will be probed soon
	Probe                   // being probed by unicast; used all the same
	Failed                  // does not answer
	Static                  // set by the operator
)

var stateNames = [...]string{"NONE", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT"}

// String is the state as ip-neighbour(8) prints it.
func (s State) String() string { return stateNames[s] }

// word packs MAC (48 bits), state (8) and tries (8), to change as one.
type word uint64

// macMask is where a word has the MAC, as wire.MAC's Word.
const macMask = 1<<48 - 1

func makeWord(mac wire.MAC, s State, tries int) word {
	return word(mac.Word()) | word(s)<<48 | word(tries)<<56
}

func (w word) state() State { return State(w >> 48) }
func (w word) tries() int   { return int(w >> 56) }

func (w word) mac() wire.MAC {
	return wire.MAC{byte(w), byte(w >> 8), byte(w >> 16), byte(w >> 24), byte(w >> 32), byte(w >> 40)}
}

func (w word) with(s State, tries int) word {
	return w&macMask | word(s)<<48 | word(tries)<<56
}

// usable reports whether frames may be sent to the MAC.
func (w word) usable() bool {
	switch w.state() {
	case Reachable, Stale, Delay, Probe, Static:
		return true
	}
	return false
}

// Neighbour is one next hop. Its identity is fixed; all else is atomic.
type Neighbour struct {
	addr netip.Addr
	port int

	w         atomic.Uint64 // a word
	confirmed atomic.Int64  // when it last proved to be there
	used      atomic.Int64  // when it was last looked up, give or take a second; 0: never
	updated   atomic.Int64  // when its MAC was last set
	timer     atomic.Int64  // Incomplete, Delay, Probe: when to act
	queue     atomic.Pointer[queue]
}

// Gone reports whether the neighbour has left the table, for good.
func (n *Neighbour) Gone() bool { return n.queue.Load() == closed }

func (n *Neighbour) word() word { return word(n.w.Load()) }

func (n *Neighbour) swap(from, to word) bool {
	return n.w.CompareAndSwap(uint64(from), uint64(to))
}

// touch notes a use, but writes the shared line at most once a second.
func (n *Neighbour) touch(now clock.Instant) {
	if int64(now)-n.used.Load() > int64(usedGrain) {
		n.used.Store(int64(now))
	}
}

// lastSeen is the latest time the neighbour mattered.
func (n *Neighbour) lastSeen() clock.Instant {
	return clock.Instant(max(n.used.Load(), n.confirmed.Load(), n.updated.Load()))
}

// fresh reports whether a Reachable neighbour still is.
func (n *Neighbour) fresh(now clock.Instant) bool {
	return now.Sub(clock.Instant(n.confirmed.Load())) < reachableTime
}

// rank orders neighbours by how much would be lost without them.
func (n *Neighbour) rank(now clock.Instant) int {
	switch n.word().state() {
	case None, Failed:
		return 0
	case Incomplete:
		return 2
	case Delay, Probe:
		return 4
	case Reachable:
		if n.fresh(now) {
			return rankReachable
		}
	case Static:
		return rankStatic
	}
	if n.used.Load() == 0 {
		return rankLearned
	}
	return 3
}

const (
	rankLearned   = 1 // it asked for us, nobody asked for it
	rankReachable = 5
	rankStatic    = 6
)
