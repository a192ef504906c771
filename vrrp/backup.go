package vrrp

import (
	"time"

	"usvs/clock"
)

// minInterval is the shortest advert interval that a backup believes.
const minInterval = 10 * time.Millisecond

// timeout is what a backup does that has not heard the master for too long.
func (i *instance) timeout(now clock.Instant) {
	i.logf(Detail, "Receive advertisement timeout")
	i.want = Master
	if i.group == nil {
		i.toMaster(now)
		return
	}
	if !i.group.agrees(i) {
		i.deadline = now.Add(i.masterDown())
		return
	}
	i.toMaster(now)
	i.group.toMaster(now, i)
}

// hearBackup is a backup's reaction to an advert it believes.
func (i *instance) hearBackup(now clock.Instant, a *advert) {
	switch {
	case a.priority == 0:
		i.remark(now, Detail, "Backup received priority 0 advertisement")
		i.stats.PriorityZero++
		i.deadline = now.Add(i.skew())
		i.remember(a)
	case a.priority >= i.prio:
		if i.preempt != 0 {
			i.preempt = 0
			i.logf(Info, "stop preempt delay")
		}
		i.obey(now, a)
	case i.NoPreempt || i.delaysPreemption(now):
		i.obey(now, a)
	default:
		i.remark(now, Info, "received lower priority (%d) advert from %s - discarding", a.priority, a.src)
	}
}

// delaysPreemption reports whether a lesser master is to be left alone for a
// while yet, which begins with its first advert.
func (i *instance) delaysPreemption(now clock.Instant) bool {
	if i.PreemptDelay == 0 {
		return false
	}
	if i.preempt == 0 {
		i.preempt = now.Add(i.PreemptDelay)
		i.logf(Info, "start preempt delay (%d.%06d)", i.PreemptDelay/time.Second, i.PreemptDelay%time.Second/time.Microsecond)
	}
	return now.Before(i.preempt)
}

// obey takes an advert's sender for the master.
func (i *instance) obey(now clock.Instant, a *advert) {
	i.remember(a)
	i.want = Backup
	if i.Version == 3 {
		i.adopt(now, max(a.interval, minInterval))
	}
	i.deadline = now.Add(i.masterDown())
}

// adopt takes over the master's interval (RFC 5798, 6.4.2).
func (i *instance) adopt(now clock.Instant, interval time.Duration) {
	if i.interval == interval {
		return
	}
	i.remark(now, Info, "advertisement interval updated from %dms to %dms by master", i.interval.Milliseconds(), interval.Milliseconds())
	i.interval = interval
}

func (i *instance) remember(a *advert) {
	i.master, i.masterPrio = a.src, a.priority
}
