package conntrack

import (
	"usvs/clock"
	"usvs/ipvs"
)

// Packet advances c's connection by one packet: state, timer, counts on the
// real server, and the mark on its template (ipvs.md 2.4, 3). It brings c up to
// date. It reports false, and does nothing, if that incarnation has ended.
func (t *Table) Packet(now clock.Instant, c *Conn, dir Dir, ev Event) bool {
	e, _ := t.living(c.Ref)
	if e == nil {
		return false
	}
	timeout := t.timeoutOf(c.Ref.index(), expiry(e.ends.Load()))
	if ev != EventNone {
		was, is, ok := t.transit(now, c, e, dir, ev)
		if !ok {
			return false
		}
		t.follow(c, was, is, dir, ev)
		timeout = t.timeout(c.Protocol, is.state(), timeout)
		c.State, c.Flags = is.state(), c.Flags&^(FlagInactive|FlagNoOutput)|is.flags()
	}
	expires, ok := t.extend(now, c.Ref, e, timeout)
	if !ok {
		return false
	}
	c.Timeout, c.Expires = timeout, expires
	if dir == DirIn {
		c.InPackets = e.countPacket(c.Ref.gen())
	}
	return true
}

// transit moves the connection's control word on.
func (t *Table) transit(now clock.Instant, c *Conn, e *entry, dir Dir, ev Event) (was, is control, ok bool) {
	secure := t.secure.Load()
	for {
		was = control(e.ctl.Load())
		if !was.is(c.Ref.gen()) || e.over(now, was) {
			return 0, 0, false
		}
		is = was.transition(c.Protocol, dir, ev, secure)
		if is == was {
			return was, is, true
		}
		step("packet: state")
		if e.ctl.CompareAndSwap(uint64(was), uint64(is)) {
			return was, is, true
		}
	}
}

// follow does what a transition entails elsewhere. Its caller made it, alone.
func (t *Table) follow(c *Conn, was, is control, dir Dir, ev Event) {
	step("packet: follow")
	recount(c.Server, was, is)
	if is.state() != was.state() && established(c.Protocol, is.state()) || ev == EventUDP && dir == DirOut {
		t.assure(c.Control)
	}
}

// recount moves a connection between its real server's counts.
func recount(rs *ipvs.RealServer, was, is control) {
	switch {
	case rs == nil:
	case was.has(ctlInactive) && !is.has(ctlInactive):
		rs.Promote()
	case !was.has(ctlInactive) && is.has(ctlInactive):
		rs.Demote()
	}
}

// countPacket counts a packet from the client.
func (e *entry) countPacket(gen uint64) uint32 {
	for {
		u := usage(e.usage.Load())
		n := u.packets() + 1
		step("packet: count")
		if !u.of(gen) || e.usage.CompareAndSwap(uint64(u), uint64(u.with(n))) {
			return n
		}
	}
}

// setPackets makes what was counted another number.
func (e *entry) setPackets(gen uint64, n uint32) {
	for {
		u := usage(e.usage.Load())
		step("packet: set")
		if !u.of(gen) || e.usage.CompareAndSwap(uint64(u), uint64(u.with(n))) {
			return
		}
	}
}

// machineOf is a protocol's state machine, or nil if it has none.
func machineOf(proto ipvs.Protocol, secure bool) *machine {
	switch {
	case proto == ipvs.TCP && secure:
		return &tcpSecure
	case proto == ipvs.TCP:
		return &tcpNormal
	case proto == ipvs.SCTP:
		return &sctpMachine
	}
	return nil
}

// via is the column that tells what packets of a direction do.
func (c control) via(dir Dir) int {
	switch {
	case dir == DirOut:
		return viaOutput
	case c.has(ctlNoOutput):
		return viaInputOnly
	}
	return viaInput
}

// transition is the control word after an event. Without the server's packets
// a connection follows the client's alone (ipvs.md 3.1).
func (c control) transition(proto ipvs.Protocol, dir Dir, ev Event, secure bool) control {
	m := machineOf(proto, secure)
	if m == nil {
		return c
	}
	via := c.via(dir)
	if dir == DirOut {
		c &^= ctlNoOutput
	}
	to, ok := m.next(via, ev, c.state())
	if !ok {
		return c
	}
	c = c.with(to) | ctlInactive
	if m.active[to%maxStates] {
		c &^= ctlInactive
	}
	return c
}
