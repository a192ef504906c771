package netconn

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
)

// kind orders what is done to one connection in one instant.
type kind uint8

const (
	kindDeadline kind = iota
	kindDial
	kindWrite
	kindRead
	kindAccept
	kindListen
	kindCloseWrite
	kindClose
)

// call is something a goroutine wants of the network.
type call struct {
	host          string
	local, remote netip.AddrPort
	kind          kind
	at            time.Time // when it was handed over
	arrival       uint64

	// try carries the call out, as far as that can be done now, and reports
	// whether it is done. It is called again when its source stirs.
	try    func(now clock.Instant) bool
	source *source        // what it may have to wait for
	until  *clock.Instant // the deadline that applies to it, which may change
	tried  bool
	seen   uint64 // what the source had been through at the last try
	err    error
	done   chan struct{}
}

// source is what calls wait for: a connection or a listener.
type source struct{ changes uint64 }

// stir notes that calls which wait for the source may go on.
func (s *source) stir() { s.changes++ }

// again reports whether it is worth trying a call that waits.
func (c *call) again(now clock.Instant) bool {
	return !c.tried || c.source != nil && c.source.changes != c.seen || c.deadline() <= now
}

// attempt tries the call and reports whether it is done.
func (c *call) attempt(now clock.Instant) bool {
	c.tried = true
	if c.source != nil {
		c.seen = c.source.changes
	}
	return c.try(now)
}

func (c *call) deadline() clock.Instant {
	if c.until == nil {
		return clock.Never
	}
	return *c.until
}

// sortCalls puts the calls of one instant into an order that does not depend
// on how the goroutines were scheduled, as far as the calls differ.
func sortCalls(calls []*call) {
	slices.SortFunc(calls, func(a, b *call) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.host, b.host), a.local.Compare(b.local),
			a.remote.Compare(b.remote), cmp.Compare(a.kind, b.kind), cmp.Compare(a.arrival, b.arrival))
	})
}
