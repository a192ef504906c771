package conntrack

import (
	"net/netip"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// listenTimeout is how long an expected connection may be waited for (ipvs.md 5.8).
const listenTimeout = 120 * time.Second

// Expect inserts a connection that a helper has read about, in state LISTEN.
// One that is there already goes back to that state. c is the connection.
func (t *Table) Expect(now clock.Instant, n *Spec, c *Conn) Result {
	n.State, n.Timeout = TCPListen, listenTimeout
	r := t.Insert(now, n, c)
	if r == Exists {
		t.relisten(now, c)
	}
	return r
}

func (t *Table) relisten(now clock.Instant, c *Conn) {
	for {
		e, ctl := t.living(c.Ref)
		if e == nil {
			return
		}
		step("expect: listen")
		if e.ctl.CompareAndSwap(uint64(ctl), uint64(ctl.with(TCPListen))) {
			c.State, c.Timeout = TCPListen, listenTimeout
			if expires, ok := t.extend(now, c.Ref, e, listenTimeout); ok {
				c.Expires = expires
			}
			return
		}
	}
}

// lookupExpected finds the connection of a client whose port is not known yet.
func (t *Table) lookupExpected(now clock.Instant, proto ipvs.Protocol, client netip.Addr, virtual netip.AddrPort, c *Conn) bool {
	k := t.key(proto, netip.AddrPortFrom(client, 0), virtual, false)
	return t.lookup(now, &k, c) && c.Flags&FlagNoCPort != 0
}

// FillPort gives c, found by a client's first packet, that client's port. What
// an entry is found by cannot change: one with the port takes its place, and
// its counts. c becomes that one. It reports false if there is no room for it.
func (t *Table) FillPort(now clock.Instant, c *Conn, port uint16) bool {
	if port == 0 {
		return true
	}
	old := c.Ref
	n := Spec{
		Protocol: c.Protocol, Client: netip.AddrPortFrom(c.Client.Addr(), port), Virtual: c.Virtual, Real: c.Real,
		Method: c.Method, Server: c.Server, Mark: c.Mark, State: c.State, Flags: c.Flags & FlagSync,
		Timeout: c.Timeout, Control: c.Control, InSeq: c.InSeq, OutSeq: c.OutSeq, replaces: true,
	}
	if c.Flags&FlagInactive == 0 {
		n.Flags |= FlagActive
	}
	switch t.Insert(now, &n, c) {
	case Exists:
		return true
	case Inserted:
		if !t.replace(old) {
			bind(n.Server, false, n.active()) // the old one took its count with it
		}
		return true
	}
	return false
}

// replace removes an entry whose count on its real server another one has now.
func (t *Table) replace(r Ref) bool {
	for {
		e, ctl := t.living(r)
		if e == nil || ctl.controls() {
			return false
		}
		if t.remove(r.index(), e, ctl, true, nil) {
			return true
		}
	}
}
