package conntrack

import (
	"net/netip"

	"usvs/clock"
	"usvs/ipvs"
)

// Walk calls yield with a copy of every connection and template, until it
// returns false. Those that come or go meanwhile may be seen or not.
func (t *Table) Walk(now clock.Instant, yield func(*Conn) bool) {
	var c Conn
	for i, last := uint32(1), t.entries.highest(); i <= last; i++ {
		if t.visit(now, i, &c) && !yield(&c) {
			return
		}
	}
}

// visit copies the entry in slot i to c, and reports whether there is one.
func (t *Table) visit(now clock.Instant, i uint32, c *Conn) bool {
	e := t.entries.at(i)
	if e == nil {
		return false
	}
	ctl := control(e.ctl.Load())
	if ctl.life() != alive || !t.read(i, e, ctl.gen(), c) || !c.outlast(now, ctl.controls()) {
		return false
	}
	if ctl.has(ctlInvalid) {
		c.hide()
	}
	return true
}

// outlast reports whether c is still there at now: an expired entry is not,
// though no Tick may have removed it yet, unless it controls others.
func (c *Conn) outlast(now clock.Instant, controls bool) bool {
	if c.Expires > now {
		return true
	}
	if controls {
		c.Timeout = laterTimeout
		c.Expires = c.Expires.Add((now.Sub(c.Expires)/laterTimeout + 1) * laterTimeout)
	}
	return controls
}

// hide gives a template that was invalidated the ports under which the kernel
// lists it (ipvs.md 2.5).
func (c *Conn) hide() {
	const nowhere = 0xffff
	c.Virtual = netip.AddrPortFrom(c.Virtual.Addr(), nowhere)
	c.Real = netip.AddrPortFrom(c.Real.Addr(), nowhere)
}

// List calls yield with every connection and template as `ipvsadm -Lc` shows
// them, until it returns false. The entry is reused.
func (t *Table) List(now clock.Instant, yield func(*ipvs.ConnEntry) bool) {
	var entry ipvs.ConnEntry
	t.Walk(now, func(c *Conn) bool {
		entry = c.entry(now)
		return yield(&entry)
	})
}

func (c *Conn) entry(now clock.Instant) ipvs.ConnEntry {
	return ipvs.ConnEntry{
		Protocol:  c.Protocol,
		Client:    c.Client,
		Virtual:   c.Virtual,
		Real:      c.Real,
		State:     stateName(c),
		Expires:   int64(c.Expires.Sub(now) / 1e9),
		Template:  c.Template(),
		Synced:    c.Flags&FlagSync != 0,
		Method:    c.Method,
		InPackets: uint64(c.InPackets),
		PEName:    c.PEName,
		PEData:    string(c.PEData),
	}
}
