package vrrp

import (
	"slices"
	"strings"
	"time"

	"usvs/clock"
)

// enter makes state the instance's, from now on.
func (i *instance) enter(now clock.Instant, state State) {
	i.state, i.want, i.since = state, state, now
	i.preempt = 0
}

// clean removes addresses that an earlier run of the daemon left behind.
func (i *instance) clean() {
	i.removeRoutes(i.Routes)
	if addrs := i.addresses(); len(addrs) > 0 {
		i.removeAddresses(addrs)
	}
}

// start finds the state an instance begins with.
func (i *instance) start(now clock.Instant) {
	i.begun, i.since = true, now
	switch {
	case i.faulty():
		i.enter(now, Fault)
		i.logFaults()
		i.notify(StateChanged)
	case i.waiting():
	case i.owner():
		i.listen(now)
	default:
		i.listen(now)
		i.logf(Info, "Entering BACKUP STATE (init)")
		i.notify(StateChanged)
	}
}

// logFaults says why an instance begins in FAULT.
func (i *instance) logFaults() {
	for _, f := range i.faults {
		why := " (" + f + ")"
		if strings.HasPrefix(f, "script ") {
			why = " due to " + f
		}
		i.r.fx.Log(Info, "("+i.Name+"): entering FAULT state"+why)
	}
	i.logf(Info, "entering FAULT state")
}

// faulty reports whether the instance, or another it is master with, cannot be
// master or backup.
func (i *instance) faulty() bool {
	return len(i.faults) > 0 || i.group != nil && i.group.faulty()
}

// waiting reports whether a script that decides has not run yet.
func (i *instance) waiting() bool {
	return i.unknown() || i.group != nil && slices.ContainsFunc(i.group.members, (*instance).unknown)
}

// listen makes the instance a backup that has not heard anybody yet.
func (i *instance) listen(now clock.Instant) {
	i.enter(now, Backup)
	i.interval = i.AdvertInterval
	i.deadline = now.Add(i.masterDown())
	if i.owner() {
		i.deadline = now.Add(time.Microsecond)
	}
	if now.Before(i.r.delayed) {
		i.deadline = i.r.delayed.Add(i.deadline.Sub(now))
	}
}

// toBackup takes an instance that is not master to BACKUP. The owner of the
// addresses is on its way to MASTER and says nothing.
func (i *instance) toBackup(now clock.Instant) {
	fault := i.state == Fault
	i.listen(now)
	if fault && i.unicast() {
		i.announceSource()
	}
	if i.owner() {
		return
	}
	i.logf(Info, "Entering BACKUP STATE")
	i.notify(StateChanged)
}

// toMaster takes over. The order is keepalived's: the advert first, that the
// others are quiet; then the addresses; then who has them.
func (i *instance) toMaster(now clock.Instant) {
	i.enter(now, Master)
	i.stats.BecameMaster++
	i.send(i.prio)
	i.logf(Info, "Entering MASTER STATE")
	if i.interval != i.AdvertInterval {
		i.logf(Info, "changing advert interval from %dms to locally configured %dms", i.interval.Milliseconds(), i.AdvertInterval.Milliseconds())
		i.interval = i.AdvertInterval
	}
	i.addAddresses(i.addresses())
	i.addRoutes(i.Routes)
	i.burst(now, i.GARP.Repeat)
	i.cancelBursts()
	if i.GARP.Delay > 0 {
		i.burstAt = now.Add(i.GARP.Delay)
	}
	if i.GARP.Refresh > 0 {
		i.refreshAt = now.Add(i.GARP.Refresh)
	}
	i.deadline = now.Add(i.AdvertInterval)
	i.notify(StateChanged)
}

// leaveMaster gives the addresses up, for state. With zero it says so to the
// others, who would otherwise have to find out.
func (i *instance) leaveMaster(now clock.Instant, state State, zero bool) {
	i.enter(now, state)
	if state != Stop && state != Deleted {
		i.logf(Info, "Entering %s STATE", state)
	}
	if state == Fault { // keepalived says so in any case, and once more with zero
		i.send(0)
	}
	if zero {
		i.send(0)
		i.logf(Detail, "sent 0 priority")
	}
	i.leaveFarewell(nil)
	i.cancelBursts()
	i.r.forget(i)
	i.removeRoutes(i.Routes)
	i.removeAddresses(i.addresses())
	i.stats.ReleasedMaster++
	i.deadline = clock.Never
	if state == Backup {
		i.deadline = now.Add(i.masterDown())
	}
	i.notify(StateChanged)
}

// toFault takes the instance out of service; own is for a fault of its own.
func (i *instance) toFault(now clock.Instant, own bool) {
	switch i.state {
	case Fault:
		return
	case Master:
		i.leaveMaster(now, Fault, own)
		return
	}
	i.enter(now, Fault)
	i.deadline = clock.Never
	i.logf(Info, "Entering FAULT STATE")
	i.notify(StateChanged)
}

// leave ends the instance: state is Stop or Deleted.
func (i *instance) leave(now clock.Instant, state State) {
	if i.state == Master {
		i.leaveMaster(now, state, true)
		return
	}
	i.enter(now, state)
	i.deadline = clock.Never
	i.notify(StateChanged)
}

// tick does what is due.
func (i *instance) tick(now clock.Instant) {
	switch i.state {
	case Backup:
		if !now.Before(i.deadline) {
			i.timeout(now)
		}
	case Master:
		i.tickMaster(now)
	}
}

// next is when the instance has something to do.
func (i *instance) next() clock.Instant {
	return i.deadline.Min(i.burstAt).Min(i.lowerBurstAt)
}

func (i *instance) addAddresses(addrs []Address) {
	if i.NoAccept {
		i.logf(Detail, "setting firewall drop rule")
	}
	if len(i.Addresses) > 0 {
		i.logf(Detail, "setting VIPs.")
	}
	if len(i.Excluded) > 0 {
		i.logf(Detail, "setting E-VIPs.")
	}
	if len(addrs) > 0 {
		i.r.fx.AddAddresses(i.Name, addrs)
	}
}

func (i *instance) removeAddresses(addrs []Address) {
	i.logRemoving()
	if len(addrs) > 0 {
		i.r.fx.RemoveAddresses(i.Name, addrs)
	}
}

func (i *instance) logRemoving() {
	if len(i.Addresses) > 0 {
		i.logf(Detail, "removing VIPs.")
	}
	if len(i.Excluded) > 0 {
		i.logf(Detail, "removing E-VIPs.")
	}
	if i.NoAccept {
		i.logf(Detail, "removing firewall drop rule")
	}
}

func (i *instance) addRoutes(routes []string) {
	if len(routes) > 0 {
		i.logf(Detail, "setting Virtual Routes")
		i.r.fx.AddRoutes(i.Name, routes)
	}
}

func (i *instance) removeRoutes(routes []string) {
	if len(routes) > 0 {
		i.logf(Detail, "removing Virtual Routes")
		i.r.fx.RemoveRoutes(i.Name, routes)
	}
}
