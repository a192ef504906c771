package arp

import (
	"net/netip"

	"usvs/clock"
	"usvs/wire"
)

// suspicion is another host's claim to an address of ours, the owner of which is
// elected. Whenever another director takes over, one of the two hears such a claim.
// So it is reported only if we still have the address a while later, and somebody
// then answers our question who has it.
type suspicion struct {
	below *suspicion // in the stack
	member
	due clock.Instant
}

// conflict counts and, not too often, reports or suspects a claim to an address of
// ours.
func (c *Cache) conflict(now clock.Instant, port int, addr netip.Addr, mac wire.MAC, out Sink) {
	c.count(Conflicts)
	elected := c.local.Elected(addr)
	switch {
	case elected && c.answers(now, port, addr), !elected && c.spaced(&c.conflicts, now, port, addr, conflictPeriod):
		out.Conflict(Conflict{Port: port, Addr: addr, MAC: mac})
	case elected && c.spaced(&c.conflicts, now, port, addr, conflictPeriod):
		c.suspect(&suspicion{member: member{port, addr}, due: now.Add(conflictGrace)})
	}
}

// answers reports whether we have just asked who has the address: once for each
// time we did.
func (c *Cache) answers(now clock.Instant, port int, addr netip.Addr) bool {
	until := c.opening(&c.asked, port, addr)
	at := until.Load()
	return int64(now) < at && until.CompareAndSwap(at, 0)
}

// suspect puts s on the stack. From then on s belongs to whoever takes it off.
func (c *Cache) suspect(s *suspicion) {
	due := s.due
	for {
		s.below = c.suspects.Load()
		if c.suspects.CompareAndSwap(s.below, s) {
			c.wakeAt(due)
			return
		}
	}
}

// verify asks who has the addresses whose elections should be over.
func (c *Cache) verify(now clock.Instant, out Sink) {
	for next := c.suspects.Swap(nil); next != nil; {
		s := next
		next = s.below
		switch {
		case now.Before(s.due):
			c.suspect(s)
		case c.local.Claims(s.port, s.addr):
			c.opening(&c.asked, s.port, s.addr).Store(int64(now.Add(retransTime)))
			c.solicit(s.port, s.addr, wire.MAC{}, out)
		}
	}
}
