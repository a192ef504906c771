package vrrp

import (
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// announcement is an address to be announced when its interface's pace allows.
type announcement struct {
	of    *instance
	place int // of the address among the instance's
	iface string
	addr  netip.Addr
	mac   wire.MAC
	six   bool
}

// pacer spaces the announcements of an interface or of a garp_group. What comes
// too soon waits, each address once however often it was to be repeated.
type pacer struct {
	lanes [2]lane // IPv4, IPv6
}

type lane struct {
	interval time.Duration
	next     clock.Instant
	waiting  []announcement
}

func newPacer(p Pace) *pacer {
	return &pacer{lanes: [2]lane{{interval: p.GARP}, {interval: p.NA}}}
}

func (p *pacer) lane(six bool) *lane {
	if six {
		return &p.lanes[1]
	}
	return &p.lanes[0]
}

// due takes the announcement that may go out now, if there is one.
func (l *lane) due(now clock.Instant) (announcement, bool) {
	if len(l.waiting) == 0 || now.Before(l.next) {
		return announcement{}, false
	}
	a := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	l.next = now.Add(l.interval)
	return a, true
}

func (l *lane) wake() clock.Instant {
	if len(l.waiting) == 0 {
		return clock.Never
	}
	return l.next
}

// burst announces the addresses, all of them rep times over.
func (i *instance) burst(now clock.Instant, rep int) {
	addrs := i.addresses()
	for n := range rep {
		for place, a := range addrs {
			i.announce(now, a, place, n == 0)
		}
	}
}

func (i *instance) announce(now clock.Instant, a Address, place int, first bool) {
	addr := a.Prefix.Addr()
	a.Interface = i.carrier(a)
	face := i.r.faces[a.Interface]
	if a.Interface == "" || addr.Is4() && face != nil && face.NoARP {
		return
	}
	if first {
		what := "gratuitous ARPs"
		if addr.Is6() {
			what = "Unsolicited Neighbour Adverts"
		}
		i.logf(Detail, "Sending/queueing %s on %s for %s", what, i.faceName(a), addr)
	}
	item := announcement{of: i, place: place, iface: a.Interface, addr: addr, mac: a.VMAC, six: addr.Is6()}
	l := i.r.pacer(a.Interface).lane(item.six)
	switch {
	case l.interval == 0:
		i.r.announceNow(item)
	case !now.Before(l.next):
		l.next = now.Add(l.interval)
		i.r.announceNow(item)
	default:
		l.wait(item)
	}
}

// wait has an announcement wait, in keepalived's order: that of the
// configuration, not that of asking.
func (l *lane) wait(a announcement) {
	k, there := slices.BinarySearchFunc(l.waiting, a, func(x, y announcement) int { return x.rank() - y.rank() })
	if !there {
		l.waiting = slices.Insert(l.waiting, k, a)
	}
}

// rank is the announcement's place in the configuration.
func (a announcement) rank() int { return slices.Index(a.of.r.instances, a.of)<<20 + a.place }

// placeOf is the place of an address among the instance's, -1 if it has none.
func (i *instance) placeOf(iface string, addr netip.Addr) int {
	is := func(a Address) bool { return a.Prefix.Addr() == addr && i.carrier(a) == iface }
	if k := slices.IndexFunc(i.Addresses, is); k >= 0 {
		return k
	}
	if k := slices.IndexFunc(i.Excluded, is); k >= 0 {
		return len(i.Addresses) + k
	}
	return -1
}

// carrier is the interface an address is on: of an instance without one, that
// with its source address.
func (i *instance) carrier(a Address) string {
	if a.Interface != "" {
		return a.Interface
	}
	for _, f := range i.r.faceList {
		if f.has(i.source) {
			return f.Name
		}
	}
	return ""
}

// faceName is the interface an address is on for keepalived: the one it would
// have made for the virtual MAC.
func (i *instance) faceName(a Address) string {
	if a.VMAC.IsZero() || i.VMAC == nil {
		return a.Interface
	}
	return i.VMAC.Name
}

func (r *Router) announceNow(a announcement) {
	text := "Sending gratuitous ARP on "
	if a.six {
		text = "Sending unsolicited Neighbour Advert on "
	}
	name := a.of.faceName(Address{Interface: a.iface, VMAC: a.mac})
	r.fx.Log(Detail, text+name+" for "+a.addr.String())
	r.fx.Announce(a.iface, a.addr, a.mac)
}

// announceSource has peers learn where adverts come from.
func (i *instance) announceSource() {
	iface := i.carrier(Address{Interface: i.Interface})
	if iface == "" {
		return
	}
	what := "ARP"
	if i.source.Is6() {
		what = "NA"
	}
	i.r.fx.Log(Detail, i.Name+": sending gratuitous "+what+" for "+i.source.String())
	i.r.fx.Announce(iface, i.source, wire.MAC{})
}

func (i *instance) cancelBursts() {
	i.burstAt, i.lowerBurstAt, i.refreshAt = clock.Never, clock.Never, clock.Never
}

// pacer returns the pacer of an interface.
func (r *Router) pacer(iface string) *pacer {
	p := r.pacers[iface]
	if p == nil {
		p = newPacer(r.cfg.Pace)
		r.pacers[iface] = p
		r.paced = append(r.paced, p)
	}
	return p
}

// groupPacers gives the interfaces of each garp_group one pacer.
func (r *Router) groupPacers() {
	r.pacers, r.paced = map[string]*pacer{}, nil
	for _, g := range r.cfg.PaceGroups {
		p := newPacer(g.Pace)
		r.paced = append(r.paced, p)
		for _, name := range g.Interfaces {
			r.pacers[name] = p
		}
	}
}

// forget drops what waits to be announced for an instance that is master no
// longer.
func (r *Router) forget(i *instance) {
	for _, p := range r.paced {
		for k := range p.lanes {
			l := &p.lanes[k]
			l.waiting = slices.DeleteFunc(l.waiting, func(a announcement) bool { return a.of == i })
		}
	}
}

// tickPacers sends what has waited long enough, and returns when more has.
func (r *Router) tickPacers(now clock.Instant) clock.Instant {
	next := clock.Never
	for _, p := range r.paced {
		for k := range p.lanes {
			if a, ok := p.lanes[k].due(now); ok {
				r.announceNow(a)
			}
			next = next.Min(p.lanes[k].wake())
		}
	}
	return next
}
