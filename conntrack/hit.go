package conntrack

import (
	"usvs/clock"
	"usvs/ipvs"
)

// Hot is what forwarding a packet of an established connection takes.
type Hot struct {
	Ref    Ref
	Server *ipvs.RealServer // never nil, and available when looked at
	Mark   uint32

	// The entry's words, taken apart only as far as somebody wants to know, and its
	// addresses if one is of IPv6.
	meta          meta
	pair          uint64
	place         place
	virtual, real Words

	lease lease // kept from packet to packet
}

// Method is the forwarding method.
func (h *Hot) Method() ipvs.ForwardMethod { return h.meta.method() }

// VirtualPort and RealPort are the virtual service's and the real server's.
func (h *Hot) VirtualPort() uint16 { return h.meta.virtualPort() }
func (h *Hot) RealPort() uint16    { return h.meta.realPort() }

// Virtual is the virtual address, and whether it is one of IPv6.
func (h *Hot) Virtual() (a Words, v6 bool) {
	if h.meta.has(metaWide) {
		return h.virtual, h.meta.has(metaVirtV6)
	}
	return Words{Lo: h.pair >> 32}, false
}

// Real is the real server's address, and whether it is one of IPv6.
func (h *Hot) Real() (a Words, v6 bool) {
	if h.meta.has(metaWide) {
		return h.real, h.meta.has(metaRealV6)
	}
	return Words{Lo: uint64(h.place.real())}, false
}

// Set makes h say what c does.
func (h *Hot) Set(c *Conn) {
	virtual, real := pack(c.Virtual.Addr()), pack(c.Real.Addr())
	h.Ref, h.Server, h.Mark = c.Ref, c.Server, c.Mark
	h.meta = meta(c.Virtual.Port())<<32 | meta(c.Method&7)<<17 | meta(c.Real.Port())
	if !virtual.v6 && !real.v6 {
		h.pair, h.place = virtual.lo<<32, makePlace(uint32(real.lo))
		return
	}
	if virtual.v6 {
		h.meta |= metaVirtV6
	}
	if real.v6 {
		h.meta |= metaRealV6
	}
	h.virtual, h.real = Words{virtual.hi, virtual.lo}, Words{real.hi, real.lo}
}

// Hit counts a packet of an established connection, gives the connection its
// timeout again and says in h where the packet goes. It reports false, having
// changed nothing, if there is no such connection or anything unusual about it
// or the packet: its state changes, its real server is gone or unknown, it
// controls others, has a helper, or its client's port is not known yet. The event
// is one of the packet's protocol.
//
// Nearly all it reads is in one cache line. That the control word is the same when
// all was read and compared proves that it belonged together.
func (t *Table) Hit(now clock.Instant, p *Probe, ev Event, h *Hot) bool {
	i, e, ctl, m := p.number, p.entry, control(0), meta(0)
	if e != nil {
		ctl, m = control(e.ctl.Load()), meta(e.meta.Load())
	}
	if e == nil || p.dir != DirIn || uint64((m^p.meta)&^metaLoose|m&metaWide)|(e.pair.Load()^p.pair) != 0 {
		if i, e, ctl = t.find(p); e == nil {
			return false
		}
		m = meta(e.meta.Load())
	}
	if (ctl^alive)&ctlUnusual != 0 || m.has(metaSide) {
		return false
	}
	u, at, x := usage(e.usage.Load()), place(e.place.Load()), expiry(e.ends.Load())
	rs := t.servers.Get(u.server())
	if rs == nil || !rs.Available() {
		return false
	}
	code := x & expiryTimeout
	if r := t.rules.Load().of(ev, p.dir, ctl); (r != rule(code) || r == ruleOdd) && !t.lasts(r, i, ev, ctl, x) {
		return false
	}
	h.Ref, h.Server, h.Mark = makeRef(i, ctl.gen()), rs, 0
	h.meta, h.pair, h.place = m, e.pair.Load(), at
	if m.has(metaWide) {
		h.widen(t, e)
	}
	var controller Ref
	if at&placeKin != 0 {
		h.Mark, controller = t.markOf(i, at), t.controllerOf(i, at)
	}
	l := &h.lease
	if l.now != now || l.code != code {
		*l = t.lease(now, i, x)
	}
	step("probe: prolong")
	if control(e.ctl.Load()) != ctl || !x.open(ctl.gen()) || x.tick() <= l.tick {
		return false
	}
	to := x&^(1<<expiryGenShift-1) | l.ends
	if x != to && !e.ends.CompareAndSwap(uint64(x), uint64(to)) {
		return false
	}
	if timerWord(e.timer.Load()).at() > l.until {
		t.arm(now, i)
	}
	if p.dir == DirIn {
		e.countPacket(ctl.gen())
	} else if ev == EventUDP {
		t.assure(controller)
	}
	return true
}

// widen reads addresses of which some are of IPv6.
func (h *Hot) widen(t *Table, e *entry) {
	_, virtual, real := t.addrs(e, h.meta)
	h.virtual, h.real = Words{virtual.hi, virtual.lo}, Words{real.hi, real.lo}
}

const (
	// metaLoose is what an entry's meta word says that a packet does not.
	metaLoose = 7<<17 | 1<<16 - 1
	// ctlUnusual is what differs of a control word from alive alone where there is
	// no such connection, or an unusual one.
	ctlUnusual = lifeMask | childrenMask | ctlNoCPort
)

// lease is when a timeout that begins now is over. The packets of a batch have
// the moment in common and, mostly, the timeout.
type lease struct {
	now   clock.Instant
	tick  uint64 // now's
	until uint64 // the last one
	code  expiry // the timeout, as it stands beside an expiry
	ends  expiry // of no generation
}

// lease is that of entry i, whose expiry is x. An odd timeout is of that entry
// only, so that no code is to be found for it again.
func (t *Table) lease(now clock.Instant, i uint32, x expiry) lease {
	code := x & expiryTimeout
	ends := makeExpiry(0, now.Add(t.timeoutOf(i, x)), code)
	if code == oddTimeout {
		code = expiryClosed
	}
	return lease{now, nowTick(now), ends.tick(), code, ends}
}
