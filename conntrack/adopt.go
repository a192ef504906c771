package conntrack

import (
	"usvs/clock"
)

// Adopt inserts a connection or template as it was in another table, with its
// state, timer and count. c.Server is in this table's registry and c.Control
// this table's. Nobody else may use the table yet. It reports whether there was
// room, and makes c the copy.
func (t *Table) Adopt(now clock.Instant, c *Conn) bool {
	n := Spec{
		Protocol: c.Protocol, Client: c.Client, Virtual: c.Virtual, Real: c.Real, Method: c.Method,
		Server: c.Server, Mark: c.Mark, Template: c.Template(), Timeout: c.Timeout, Control: c.Control,
		Flags: c.Flags & (FlagSync | FlagNoCPort), PEName: c.PEName, PEData: c.PEData, InSeq: c.InSeq, OutSeq: c.OutSeq,
	}
	was := *c
	if t.Insert(now, &n, c) != Inserted {
		return false
	}
	e, ctl := t.living(c.Ref)
	gen := c.Ref.gen()
	ctl = ctl.with(was.State) &^ (ctlInactive | ctlNoOutput)
	if was.Flags&FlagInactive != 0 {
		ctl |= ctlInactive
	} else if was.Server != nil && !was.Template() {
		was.Server.Promote()
	}
	if was.Flags&FlagNoOutput != 0 {
		ctl |= ctlNoOutput
	}
	e.ctl.Store(uint64(ctl))
	e.setPackets(gen, was.InPackets)
	x := t.expiryAfter(c.Ref.index(), gen, now, was.Timeout)
	e.ends.Store(uint64(makeExpiry(gen, was.Expires, x&expiryTimeout)))
	t.arm(now, c.Ref.index())
	return t.read(c.Ref.index(), e, gen, c)
}

// AdoptTimeouts makes the timeouts those of another table.
func (t *Table) AdoptTimeouts(from *Table) {
	for i := range t.timeouts {
		t.timeouts[i].Store(from.timeouts[i].Load())
	}
	t.secure.Store(from.secure.Load())
	t.renewRules()
}

// StateName is the state as /proc/net/ip_vs_conn prints it.
func (c *Conn) StateName() string { return stateName(c) }
