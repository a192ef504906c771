package conntrack

import (
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// hold makes an entry control one more, unless it is dead or its time is over.
func (t *Table) hold(now clock.Instant, r Ref) Result {
	if r.IsZero() {
		return Inserted
	}
	for {
		e, ctl := t.living(r)
		if e == nil || e.over(now, ctl) {
			return ControlGone
		}
		if ctl&childrenMask == childrenMask {
			return Full
		}
		step("control: hold")
		if e.ctl.CompareAndSwap(uint64(ctl), uint64(ctl+oneChild)) {
			return Inserted
		}
	}
}

// release takes a hold back. The entry cannot have died meanwhile.
func (t *Table) release(r Ref) {
	if r.IsZero() {
		return
	}
	e := t.entries.at(r.index())
	for {
		ctl := control(e.ctl.Load())
		step("control: release")
		if e.ctl.CompareAndSwap(uint64(ctl), uint64(ctl-oneChild)) {
			return
		}
	}
}

// Assure marks a template ASSURED, because a server answered under it.
func (t *Table) Assure(r Ref) { t.assure(r) }

// assure marks a controlling template ASSURED (ipvs.md 2.4).
func (t *Table) assure(r Ref) {
	for {
		e, ctl := t.living(r)
		if e == nil || !ctl.has(ctlTemplate) || ctl.state() == TemplateAssured {
			return
		}
		step("control: assure")
		if e.ctl.CompareAndSwap(uint64(ctl), uint64(ctl.with(TemplateAssured))) {
			return
		}
	}
}

// Rearm restarts a template's timer with the template's own timeout, because
// it was used again (ipvs.md 2.5).
func (t *Table) Rearm(now clock.Instant, r Ref) bool {
	e, ctl := t.living(r)
	if e == nil || ctl.has(ctlInvalid) {
		return false
	}
	x := expiry(e.ends.Load())
	if !x.of(r.gen()) {
		return false
	}
	_, ok := t.extend(now, r, e, t.timeoutOf(r.index(), x))
	return ok
}

// Invalidate makes a template whose real server is gone unfindable. It stays
// in the listing until its timer, which is not restarted, ends it (ipvs.md 2.5).
func (t *Table) Invalidate(r Ref) bool {
	for {
		e, ctl := t.living(r)
		if e == nil || !ctl.has(ctlTemplate) {
			return false
		}
		step("life: invalidate")
		if e.ctl.CompareAndSwap(uint64(ctl), uint64(ctl|ctlInvalid)) {
			return true
		}
	}
}

// Expire removes an entry now, unless it controls others (ipvs.md 2.7).
func (t *Table) Expire(_ clock.Instant, r Ref) bool {
	for {
		e, ctl := t.living(r)
		if e == nil || ctl.controls() {
			return false
		}
		if t.remove(r.index(), e, ctl, false, nil) {
			return true
		}
	}
}

// over reports whether an entry that is ctl has reached its end.
func (e *entry) over(now clock.Instant, ctl control) bool {
	x := expiry(e.ends.Load())
	return x.of(ctl.gen()) && x.over(now) && !ctl.controls()
}

// living returns r's entry and control word, or nil if it has died.
func (t *Table) living(r Ref) (*entry, control) {
	if r.IsZero() {
		return nil, 0
	}
	if e := t.entries.at(r.index()); e != nil {
		if ctl := control(e.ctl.Load()); ctl.is(r.gen()) {
			return e, ctl
		}
	}
	return nil, 0
}

// extend moves an entry's expiry to timeout from now, unless its time is over.
func (t *Table) extend(now clock.Instant, r Ref, e *entry, timeout time.Duration) (clock.Instant, bool) {
	to := t.expiryAfter(r.index(), r.gen(), now, timeout)
	for {
		x := expiry(e.ends.Load())
		if !x.of(r.gen()) {
			return 0, false
		}
		if x.over(now) {
			if ctl := control(e.ctl.Load()); !ctl.is(r.gen()) || !ctl.controls() {
				return 0, false
			}
			t.postpone(now, r, e, x)
			continue
		}
		step("life: extend")
		if x == to || e.ends.CompareAndSwap(uint64(x), uint64(to)) {
			t.arm(now, r.index())
			return to.at(), true
		}
	}
}

// postpone gives an expired entry that controls others another minute from
// its nominal end, and again as often as needed. Its timeout stays a minute
// from then on (ipvs.md 2.4).
func (t *Table) postpone(now clock.Instant, r Ref, e *entry, x expiry) {
	at := x.at()
	minutes := now.Sub(at)/laterTimeout + 1
	step("life: postpone")
	later, _ := shortTimeout(laterTimeout)
	if e.ends.CompareAndSwap(uint64(x), uint64(makeExpiry(r.gen(), at.Add(minutes*laterTimeout), later))) {
		t.putOff(now, r)
	}
}

// lapse ends incarnation gen of entry i if its time is over and it controls
// nobody, and reports whether it is gone. Closing the expiry first settles it
// with packets that would move it on: they fail from then on, and a kill that
// was decided long ago cannot hit an entry that has been used since. What it leaves
// goes along with f, if there is one.
func (t *Table) lapse(now clock.Instant, i uint32, gen uint64, f *freed) bool {
	for {
		e, ctl := t.living(makeRef(i, gen))
		if e == nil {
			return true
		}
		x := expiry(e.ends.Load())
		if !x.of(gen) {
			return true
		}
		if !x.over(now) {
			return false
		}
		if ctl.controls() {
			if nowTick(now) <= x.tick() {
				return false // wake gives it a tick
			}
			t.postpone(now, makeRef(i, gen), e, x)
			continue
		}
		if !x.closed() {
			step("life: close")
			e.ends.CompareAndSwap(uint64(x), uint64(x|expiryClosed))
			continue
		}
		if t.remove(i, e, ctl, false, f) {
			return true
		}
	}
}

// remove makes an entry that was ctl, alive and controlling nobody, die. Only
// one caller succeeds; it gives back what the entry counted on, but for the server's
// count if it was replaced, takes it out of the index and frees it, along with f if
// there is one.
func (t *Table) remove(i uint32, e *entry, ctl control, replaced bool, f *freed) bool {
	hash := e.hash.Load()
	s := t.shard(hash)
	step("kill: die")
	if !e.ctl.CompareAndSwap(uint64(ctl), uint64(ctl.living(dead))) {
		return false
	}
	step("kill: unbind")
	if !replaced {
		unbind(t.servers.Get(usage(e.usage.Load()).server()), ctl.has(ctlTemplate), !ctl.has(ctlInactive))
	}
	if ctl.has(ctlNoCPort) {
		t.noCPort.Add(-1)
	}
	t.release(t.controllerOf(i, place(e.place.Load())))
	t.clear(s, makeWord(hash, i))
	t.strip(s.id, i)
	f.entry(t, s, i)
	return true
}

func bind(rs *ipvs.RealServer, template, active bool) {
	step("server: bind")
	switch {
	case rs == nil:
	case template:
		rs.BindTemplate()
	default:
		rs.Bind(active)
	}
}

func unbind(rs *ipvs.RealServer, template, active bool) {
	switch {
	case rs == nil:
	case template:
		rs.UnbindTemplate()
	default:
		rs.Unbind(active)
	}
}
