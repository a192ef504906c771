package vrrp

import (
	"net/netip"
	"slices"

	"usvs/clock"
)

// effect is what a tracked object does to an instance just now.
type effect struct {
	weight int
	fault  bool
}

// effectOf weighs an object that is up or not: a positive weight counts while
// it is up, a negative one while it is down, none is a fault while it is down.
// Reverse turns all of that round.
func effectOf(weight int, reverse, up bool) effect {
	if weight == 0 {
		return effect{fault: up == reverse}
	}
	if up != (weight > 0) {
		return effect{}
	}
	if reverse {
		weight = -weight
	}
	return effect{weight: weight}
}

// effectOfFile weighs the number in a file.
func effectOfFile(weight int, reverse bool, value int) effect {
	if weight == 0 {
		return effect{fault: (value != 0) != reverse}
	}
	if reverse {
		weight = -weight
	}
	product := int64(value) * int64(weight)
	if product < -253 {
		return effect{fault: true}
	}
	return effect{weight: int(min(product, 253))}
}

// appraise works out the instance's priority and faults anew, with source to
// send from.
func (i *instance) appraise(source netip.Addr) (prio int, faults []string) {
	sum := 0
	add := func(what string, e effect) {
		sum += e.weight
		if e.fault {
			faults = append(faults, what)
		}
	}
	if !i.DontTrackPrimary && i.Interface != "" {
		add("interface "+i.Interface+" down", effectOf(0, false, i.r.up(i.Interface)))
	}
	for _, t := range i.tracks.Interfaces {
		add("interface "+t.Name+" down", effectOf(t.Weight, t.Reverse, i.r.up(t.Name)))
	}
	for _, t := range i.tracks.Scripts {
		if s := i.r.script(t.Name); s != nil && s.known() {
			w := t.or(s.Weight, s.Reverse)
			add("script "+t.Name, effectOf(w.Weight, w.Reverse, s.up()))
		}
	}
	for _, t := range i.tracks.Processes {
		if p := i.r.process(t.Name); p != nil {
			w := t.or(p.Weight, p.Reverse)
			add("process "+t.Name, effectOf(w.Weight, w.Reverse, p.up))
		}
	}
	for _, t := range i.tracks.Files {
		if f := i.r.file(t.Name); f != nil {
			w := t.or(f.Weight, f.Reverse)
			add("tracked file "+t.Name+" has status -254", effectOfFile(w.Weight, w.Reverse, f.value))
		}
	}
	return i.clamp(sum), append(faults, i.addressFaults(source)...)
}

// addressFaults is why the instance has no address to send from or nobody to
// send to.
func (i *instance) addressFaults(source netip.Addr) (faults []string) {
	face := i.r.faces[i.carrier(Address{Interface: i.Interface})]
	switch {
	case !source.IsValid():
		faults = append(faults, "no "+i.family()+" address for interface")
	case i.TrackSource && i.Source.IsValid() && (face == nil || !face.has(i.Source)):
		faults = append(faults, "src address not configured")
	}
	if i.UnicastFaultNoPeer && i.Unicast && !i.unicast() {
		faults = append(faults, "no unicast peers")
	}
	return faults
}

func (i *Instance) family() string {
	if i.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// or is the entry with the object's weight if it has none of its own.
func (t Track) or(weight int, reverse bool) Track {
	if !t.Weighted {
		t.Weight, t.Reverse = weight, reverse
	}
	return t
}

// clamp adds weights to the priority. The owner's never changes.
func (i *instance) clamp(sum int) int {
	if i.base == ownerPriority {
		return ownerPriority
	}
	return min(max(i.base+sum, 1), ownerPriority-1)
}

// unknown reports whether a script without weight has not run yet.
func (i *instance) unknown() bool {
	return slices.ContainsFunc(i.tracks.Scripts, func(t Track) bool {
		s := i.r.script(t.Name)
		return s != nil && !s.known() && t.or(s.Weight, s.Reverse).Weight == 0
	})
}

// look finds out what the instance sends from, its priority and its faults,
// and does nothing about it. An address that is gone is still what a master says
// farewell from.
func (i *instance) look() {
	source := i.findSource()
	if source.IsValid() {
		i.source = source
	}
	i.prio, i.faults = i.appraise(source)
}

// review has the instance act on what it tracks.
func (i *instance) review(now clock.Instant) {
	prio, was := i.prio, len(i.faults) > 0
	i.look()
	i.prio, prio = prio, i.prio
	i.setPriority(prio)
	switch {
	case len(i.faults) == 0:
		i.recover(now)
	case !was:
		i.fail(now)
	}
}

// setPriority changes the effective priority; a backup's patience with it.
func (i *instance) setPriority(prio int) {
	if prio == i.prio {
		return
	}
	i.logf(Info, "Changing effective priority from %d to %d", i.prio, prio)
	before := i.skew()
	i.prio = prio
	if i.state == Backup && i.deadline != clock.Never {
		i.deadline = i.deadline.Add(i.skew() - before)
	}
	if i.NotifyPriorities && (i.state == Backup || i.state == Master) {
		i.notify(PriorityChanged)
	}
}

// fail puts the instance and its group out of service.
func (i *instance) fail(now clock.Instant) {
	i.toFault(now, true)
	if i.group != nil {
		i.group.toFault(now, i)
	}
}

// recover puts the instance and its group back into service, if nothing else
// stands against it.
func (i *instance) recover(now clock.Instant) {
	if i.faulty() || i.waiting() || i.state == Backup || i.state == Master {
		return
	}
	i.toBackup(now)
	if i.group != nil {
		i.group.toBackup(now, i)
	}
}

// reviewAll has every instance act on what has become of an interface, a
// script, a process or a file.
func (r *Router) reviewAll(now clock.Instant) {
	for _, i := range r.instances {
		i.review(now)
	}
}

func (r *Router) up(name string) bool {
	f := r.faces[name]
	return f != nil && f.up
}
