package conntrack

import (
	"time"

	"usvs/clock"
)

// What connection synchronisation needs of the table: what a master last told
// of an entry, and entries becoming what another director says they are.

// Advert is what a synchronisation master last told of an entry: when it would
// end, how often that was repeated, and its state (ipvs.md 6.5). The zero Advert
// is that of an entry nobody was told of.
type Advert uint64

// An Advert has 36 bits: state 4, retries 2, ticks 30. Ticks wrap after 124
// days, four times what an entry may last.
const (
	AdvertTick      = 10 * time.Millisecond
	advertTicks     = 1<<30 - 1
	advertRetryBits = 30
	advertStateBits = 32
)

// NewAdvert is the advert of an entry that ends at expires.
func NewAdvert(state, retries uint8, expires clock.Instant) Advert {
	ticks := max(uint64(max(expires, 0))/uint64(AdvertTick)&advertTicks, 1) // 0 is none
	return Advert(uint64(state&15)<<advertStateBits | uint64(retries&3)<<advertRetryBits | ticks)
}

// State is the state that was told.
func (a Advert) State() uint8 { return uint8(a >> advertStateBits) }

// Retries is how often the same end was told again.
func (a Advert) Retries() uint8 { return uint8(a >> advertRetryBits & 3) }

// Told reports whether an end was told at all.
func (a Advert) Told() bool { return a&advertTicks != 0 }

// With is a with another state.
func (a Advert) With(state uint8) Advert {
	return a&^(15<<advertStateBits) | Advert(state&15)<<advertStateBits
}

// Until is how long after now the end that was told is, negative if before.
func (a Advert) Until(now clock.Instant) time.Duration {
	ticks := (uint64(a) - uint64(max(now, 0))/uint64(AdvertTick)) & advertTicks
	if ticks > advertTicks/2 {
		return -time.Duration(advertTicks+1-ticks) * AdvertTick
	}
	return time.Duration(ticks) * AdvertTick
}

// Advert is what was last told of r.
func (t *Table) Advert(r Ref) Advert {
	p := t.adverts.peek(r.index())
	if p == nil {
		return 0
	}
	if w := p.Load(); stampOf(w) == r.gen() {
		return Advert(unstamp(w))
	}
	return 0
}

// Advertise changes what was told of r from one advert to another. It reports
// false if it was not the former any more: somebody else told of the entry.
func (t *Table) Advertise(r Ref, from, to Advert) bool {
	w := t.adverts.at(r.index())
	old := w.Load()
	if stampOf(old) != r.gen() {
		if from != 0 || !newer(r.gen(), stampOf(old)) {
			return false
		}
	} else if Advert(unstamp(old)) != from {
		return false
	}
	step("advert: change")
	return w.CompareAndSwap(old, stamped(r.gen(), uint64(to)))
}

// newer compares generations, which wrap.
func newer(gen, than uint64) bool { return (gen-than)&genMask < genMask/2 }

// Get copies the entry r to c. It reports false if that incarnation has ended.
// A template that was invalidated has the ports it is listed with.
func (t *Table) Get(r Ref, c *Conn) bool {
	e, ctl := t.living(r)
	if e == nil || !t.read(r.index(), e, r.gen(), c) {
		return false
	}
	if ctl.has(ctlInvalid) {
		c.hide()
	}
	return true
}

// Controller returns what controls r, and whether r itself is a template. It
// reports false if r names no entry any more.
func (t *Table) Controller(r Ref) (controller Ref, template, ok bool) {
	e, ctl := t.living(r)
	if e == nil {
		return Ref{}, false, false
	}
	controller = t.controllerOf(r.index(), place(e.place.Load()))
	return controller, ctl.has(ctlTemplate), control(e.ctl.Load()).is(r.gen())
}

// Count counts a packet of a connection that the template r controls, and
// returns how many there were.
func (t *Table) Count(r Ref) uint32 {
	e, _ := t.living(r)
	if e == nil {
		return 0
	}
	return e.countPacket(r.gen())
}

// Update is what another director says of an entry (ipvs.md 6.6).
type Update struct {
	State     uint8
	Inactive  bool // of connections
	Timeout   time.Duration
	InPackets uint32
}

// Update makes an entry what another director says of it, and restarts its
// timer. It reports false, and does nothing, if the entry has ended.
func (t *Table) Update(now clock.Instant, r Ref, u *Update) bool {
	e, _ := t.living(r)
	if e == nil {
		return false
	}
	for {
		was := control(e.ctl.Load())
		if !was.is(r.gen()) || e.over(now, was) {
			return false
		}
		is := was.with(u.State)
		if !was.has(ctlTemplate) {
			is &^= ctlInactive
			if u.Inactive {
				is |= ctlInactive
			}
		}
		server := t.servers.Get(usage(e.usage.Load()).server())
		step("sync: update")
		if is == was || e.ctl.CompareAndSwap(uint64(was), uint64(is)) {
			recount(server, was, is)
			break
		}
	}
	e.setPackets(r.gen(), u.InPackets)
	_, ok := t.extend(now, r, e, clampTimeout(u.Timeout))
	if was := t.Advert(r); ok {
		t.Advertise(r, was, was.With(u.State)) // told by the other, so not to be told by us
	}
	return ok
}

// OnLater makes hear listen to every entry whose timer was put off because it
// still controls others; nil: nobody listens. It may be called by anyone who
// uses the table, and must not use it but to read and to change adverts.
func (t *Table) OnLater(hear func(clock.Instant, Ref)) {
	if hear == nil {
		t.later.Store(nil)
		return
	}
	t.later.Store(&hear)
}

// putOff tells who listens that entry i was put off.
func (t *Table) putOff(now clock.Instant, r Ref) {
	if hear := t.later.Load(); hear != nil {
		(*hear)(now, r)
	}
}

// StateTimeout is how long a connection of that protocol lasts in a state, if
// another director does not say; 0 if that depends on the entry.
func (t *Table) StateTimeout(c *Conn) time.Duration { return t.timeout(c.Protocol, c.State, 0) }
