package vrrp

import (
	"net/netip"
	"slices"

	"usvs/clock"
)

// identity is what makes an instance the same router after a reload. Its name
// and its priority are not among it.
type identity struct {
	vrid      int
	six       bool
	iface     string
	unicast   bool
	source    netip.Addr // of a unicast instance
	multicast netip.Addr // of the others, and how they use virtual MACs
	vmac      bool
	xmitBase  bool
}

func (i *Instance) identity() identity {
	id := identity{vrid: i.VRID, six: i.IPv6, iface: i.Interface, unicast: i.unicast()}
	if id.unicast {
		id.source = i.Source
		return id
	}
	id.multicast = i.Multicast
	if i.VMAC != nil {
		id.vmac, id.xmitBase = true, i.VMAC.XmitBase
	}
	return id
}

// Reload makes cfg the configuration. Instances that are the same router before
// and after keep their state; a master stays master, and its addresses follow.
// Instances that are no more leave before the new ones begin, under their old
// names: their events have state Deleted.
func (r *Router) Reload(now clock.Instant, cfg *Config) {
	if r.stopped {
		return
	}
	before := *r
	r.build(cfg)
	r.keepTracked(now, &before)
	if !r.running {
		return
	}
	for _, i := range r.instances {
		i.fit()
	}
	heirs := r.keepInstances(before.instances)
	for _, i := range before.instances {
		if heirs[i] == nil {
			i.leave(now, Deleted)
		}
	}
	r.keepWaiting(before.paced, heirs)
	r.keepGroups(before.groups)
	r.delayed = now
	r.resume(now, before.instances, heirs)
	for _, g := range r.groups {
		g.settle(now)
	}
}

// resume has every instance go on, or begin.
func (r *Router) resume(now clock.Instant, before []*instance, heirs map[*instance]*instance) {
	for _, o := range before {
		if i := heirs[o]; i != nil {
			i.adapt(now, o)
		}
	}
	for _, i := range r.instances {
		if !i.begun {
			i.look()
		}
	}
	for _, i := range r.instances {
		if !i.begun {
			i.start(now)
			continue
		}
		i.review(now)
		i.recover(now)
	}
}

// keepTracked has scripts, processes and files go on as they were.
func (r *Router) keepTracked(now clock.Instant, before *Router) {
	for _, s := range r.scripts {
		if o := before.script(s.Name); o != nil {
			s.running, s.last, s.nextRun = o.running, o.last, o.nextRun.Min(now.Add(s.Interval))
			s.keep(o)
			r.logKept(s)
		} else if r.running {
			s.nextRun = 0
		}
	}
	for _, p := range r.processes {
		if o := before.process(p.Name); o != nil {
			p.count = o.count
			p.up = p.quorum()
		}
	}
	for _, f := range r.files {
		if o := before.file(f.Name); o != nil {
			f.value = o.value
		}
	}
}

// keep takes the old script's verdict over, at the limit of rise or fall.
func (s *script) keep(o *script) {
	if !o.ran {
		return
	}
	s.ran, s.result = true, 0
	if o.up() {
		s.result = s.Rise + s.Fall - 1
	}
}

func (r *Router) logKept(s *script) {
	if !s.ran || !r.running {
		return
	}
	how := "unsuccessful"
	if s.up() {
		how = "successful"
	}
	r.fx.Log(Info, "VRRP_Script("+s.Name+") considered "+how+" on reload")
}

// keepInstances gives instances the state of those that were the same routers:
// it returns the heirs of the latter.
func (r *Router) keepInstances(before []*instance) map[*instance]*instance {
	heirs := map[*instance]*instance{}
	for _, i := range r.instances {
		k := slices.IndexFunc(before, func(o *instance) bool { return o.identity() == i.identity() && heirs[o] == nil })
		if k >= 0 {
			i.inherit(before[k])
			heirs[before[k]] = i
		}
	}
	return heirs
}

// inherit takes over what o was and knew.
func (i *instance) inherit(o *instance) {
	i.begun = true
	i.state, i.want, i.since = o.state, o.want, o.since
	i.prio, i.faults, i.source = o.prio, o.faults, o.source
	i.deadline, i.preempt = o.deadline, o.preempt
	i.burstAt, i.lowerBurstAt, i.refreshAt = o.burstAt, o.lowerBurstAt, o.refreshAt
	i.master, i.masterPrio = o.master, o.masterPrio
	i.id, i.seq, i.farewell, i.oldUnicastSum, i.stats = o.id, o.seq, o.farewell, o.oldUnicastSum, o.stats
	if o.state == Backup && i.Version == 3 && o.master.IsValid() {
		i.interval = o.interval
	}
}

// adapt has a master own and advertise what it is to own now, and shortens what
// would be waited for longer than is configured.
func (i *instance) adapt(now clock.Instant, o *instance) {
	switch i.state {
	case Backup:
		i.deadline = i.deadline.Min(now.Add(i.masterDown()))
	case Master:
		if source := i.findSource(); source.IsValid() {
			i.source = source
		}
		i.exchange(now, o)
		i.advertise(now)
	}
}

// exchange gives up the addresses and routes of o that are not i's, and takes the
// new. Whose they are is told by name.
func (i *instance) exchange(now clock.Instant, o *instance) {
	gone, added := without(o.addresses(), i.addresses()), without(i.addresses(), o.addresses())
	goneRoutes, addedRoutes := withoutRoutes(o.Routes, i.Routes), withoutRoutes(i.Routes, o.Routes)
	if o.Name != i.Name {
		gone, added = o.addresses(), i.addresses()
		goneRoutes, addedRoutes = o.Routes, i.Routes
	}
	o.removeRoutes(goneRoutes)
	if len(gone) > 0 {
		o.removeAddresses(gone)
	}
	if len(added) > 0 {
		i.addAddresses(added)
	}
	i.addRoutes(addedRoutes)
	if len(added) > 0 {
		i.burst(now, i.GARP.Repeat)
	}
}

// without is those of a that b does not have.
func without(a, b []Address) []Address {
	return slices.DeleteFunc(slices.Clone(a), func(x Address) bool {
		return slices.ContainsFunc(b, func(y Address) bool {
			return x.Prefix == y.Prefix && x.Interface == y.Interface && x.Label == y.Label && x.VMAC == y.VMAC && x.Refused == y.Refused
		})
	})
}

// withoutRoutes is those of a that b does not have.
func withoutRoutes(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(r string) bool { return slices.Contains(b, r) })
}

// keepWaiting has announcements go on waiting, if who has the address is kept
// and still has it.
func (r *Router) keepWaiting(before []*pacer, heirs map[*instance]*instance) {
	for _, p := range before {
		for _, l := range p.lanes {
			for _, a := range l.waiting {
				if a.of = heirs[a.of]; a.of == nil {
					continue
				}
				if a.place = a.of.placeOf(a.iface, a.addr); a.place >= 0 {
					to := r.pacer(a.iface).lane(a.six)
					to.next = l.next
					to.wait(a)
				}
			}
		}
	}
}

// keepGroups gives groups the state they had.
func (r *Router) keepGroups(before []*group) {
	for _, g := range r.groups {
		for _, o := range before {
			if o.Name == g.Name {
				g.state = o.state
			}
		}
	}
}

// settle has the members of a group, old and new, be in one state.
func (g *group) settle(now clock.Instant) {
	in := func(s State) func(*instance) bool {
		return func(m *instance) bool { return m.state == s }
	}
	switch {
	case slices.ContainsFunc(g.members, in(Init)):
	case g.faulty():
		g.toFault(now, nil)
	case !slices.ContainsFunc(g.members, in(Master)):
		g.enter(Backup)
	case slices.ContainsFunc(g.members, in(Backup)):
		g.toBackup(now, nil)
	default:
		g.enter(Master)
	}
}
