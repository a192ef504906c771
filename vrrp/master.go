package vrrp

import (
	"usvs/clock"
)

// tickMaster sends what a master has to send.
func (i *instance) tickMaster(now clock.Instant) {
	if !now.Before(i.burstAt) {
		i.burstAt = clock.Never
		i.burst(now, i.GARP.Repeat)
	}
	if !now.Before(i.lowerBurstAt) {
		i.lowerBurstAt = clock.Never
		i.burst(now, i.GARP.LowerPrioRepeat)
	}
	if now.Before(i.deadline) {
		return
	}
	if !now.Before(i.refreshAt) {
		i.refreshAt = now.Add(i.GARP.Refresh)
		i.burst(now, i.GARP.RefreshRepeat)
	}
	i.advertise(now)
}

// advertise sends an advert and begins the interval to the next.
func (i *instance) advertise(now clock.Instant) {
	i.send(i.prio)
	i.deadline = now.Add(i.AdvertInterval)
}

// hearMaster is a master's reaction to another's advert.
func (i *instance) hearMaster(now clock.Instant, a *advert) {
	if a.priority == 0 {
		i.remark(now, Info, "Master received priority 0 message")
		i.stats.PriorityZero++
		i.advertise(now)
		return
	}
	if a.priority == ownerPriority && i.prio == ownerPriority && a.src != i.source {
		i.logf(Warning, "CONFIGURATION ERROR: local instance and a remote instance are both configured as address owner, please fix - reducing local priority")
		i.base, i.prio = ownerPriority-1, ownerPriority-1
	}
	switch order := a.src.Compare(i.source); {
	case a.priority < i.prio, a.priority == i.prio && order < 0:
		i.hearLesser(now, a)
	case a.priority == i.prio && order == 0:
		i.remark(now, Warning, "WARNING - equal priority advert received from remote host with our IP address.")
	default:
		i.yield(now, a)
	}
}

// hearLesser has a master of lower priority, or of a lower address, know that
// it is not alone, and hosts that listened to it, too.
func (i *instance) hearLesser(now clock.Instant, a *advert) {
	forcing := ", forcing new election"
	if i.LowerPrioNoAdvert {
		forcing = ""
	}
	i.remark(now, Info, "Received advert from %s with lower priority %d, ours %d%s", a.src, a.priority, i.prio, forcing)
	if i.Auth == AH {
		i.remark(now, Info, "IPSEC-AH : Syncing seq_num - Increment seq")
		i.seq = a.seq + 1
	}
	if !i.LowerPrioNoAdvert {
		i.advertise(now)
	}
	if i.reclaimed != 0 && now.Sub(i.reclaimed) < i.AdvertInterval/2 {
		return // once is enough for what came in the meantime
	}
	i.reclaimed = now
	i.reclaim(now)
	if i.group != nil {
		for _, m := range i.group.members {
			if m != i && m.state == Master {
				m.reclaim(now)
			}
		}
	}
	i.notify(MasterReceivedLower)
}

// reclaim announces the addresses that another master announced.
func (i *instance) reclaim(now clock.Instant) {
	if i.GARP.LowerPrioRepeat <= 0 {
		return
	}
	i.burst(now, i.GARP.LowerPrioRepeat)
	if i.GARP.LowerPrioDelay > 0 {
		i.lowerBurstAt = now.Add(i.GARP.LowerPrioDelay)
	}
}

// yield leaves the addresses to a better master. It does so without priority 0:
// nobody else is to take over.
func (i *instance) yield(now clock.Instant, a *advert) {
	if i.HigherPrioSendAdvert {
		i.send(i.prio)
	}
	if a.priority > i.prio {
		i.logf(Info, "Master received advert from %s with higher priority %d, ours %d", a.src, a.priority, i.prio)
	} else {
		i.logf(Info, "Master received advert from %s with same priority %d but higher IP address than ours", a.src, i.prio)
	}
	if i.Version == 3 {
		i.adopt(now, max(a.interval, minInterval))
	}
	i.remember(a)
	i.leaveMaster(now, Backup, false)
	if i.group != nil {
		i.group.toBackup(now, i)
	}
}

// robbed has the addresses elected again after somebody took one away.
func (i *instance) robbed(now clock.Instant) {
	i.cede(now)
	if i.group != nil {
		i.group.robbed(now)
	}
}

// cede leaves an election to whoever wants it, itself among them.
func (i *instance) cede(now clock.Instant) {
	i.leaveMaster(now, Backup, true)
	i.deadline = now.Add(i.skew())
}
