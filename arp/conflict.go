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
type suspicion struct{}

// conflict counts and, not too often, reports or suspects a claim to an address of
// ours.
func (c *Cache) conflict(now clock.Instant, port int, addr netip.Addr, mac wire.MAC, out Sink) {
	c.count(Conflicts)
	elected := c.local.Elected(addr)
	switch {
	case elected && c.answers(now, port, addr), !elected && c.spaced(&c.conflicts, now, port, addr, conflictPeriod):
		out.Conflict(Conflict{Port: port, Addr: addr, MAC: mac})
	case elected && c.spaced(&c.conflicts, now, port, addr, conflictPeriod):
		c.wakeAt(c.suspects.add(&item[suspicion]{member: member{port, addr}, due: now.Add(conflictGrace)}))
	}
}

// answers reports whether we have just asked who has the address: once for each
// time we did.
func (c *Cache) answers(now clock.Instant, port int, addr netip.Addr) bool {
	until := c.opening(&c.asked, port, addr)
	at := until.Load()
	return int64(now) < at && until.CompareAndSwap(at, 0)
}

// verify asks who has the addresses whose elections should be over.
func (c *Cache) verify(now clock.Instant, out Sink) {
	for next := c.suspects.take(); next != nil; {
		s := next
		next = s.below
		switch {
		case now.Before(s.due):
			c.wakeAt(c.suspects.add(s))
		case c.local.Claims(s.port, s.addr):
			c.opening(&c.asked, s.port, s.addr).Store(int64(now.Add(retransTime)))
			c.solicit(s.port, s.addr, wire.MAC{}, out)
		}
	}
}
