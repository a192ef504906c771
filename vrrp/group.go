package vrrp

import (
	"slices"

	"usvs/clock"
)

// group is a sync group: one virtual router in several parts.
type group struct {
	*Group
	r       *Router
	members []*instance
	state   State
}

// faulty reports whether a member cannot be master.
func (g *group) faulty() bool {
	return slices.ContainsFunc(g.members, func(m *instance) bool { return len(m.faults) > 0 })
}

// agrees reports whether i may become master: every other member wants to.
func (g *group) agrees(i *instance) bool {
	return !slices.ContainsFunc(g.members, func(m *instance) bool { return m != i && m.want != Master })
}

// toMaster has the others follow i.
func (g *group) toMaster(now clock.Instant, i *instance) {
	g.log("MASTER")
	for _, m := range g.members {
		if m != i && m.state == Backup {
			m.toMaster(now)
		}
	}
	g.enter(Master)
}

// toBackup has the others follow i, which is a backup.
func (g *group) toBackup(now clock.Instant, i *instance) {
	g.log("BACKUP")
	for _, m := range g.members {
		switch {
		case m == i || m.state == Backup:
			m.want = Backup
		case m.state == Master:
			m.leaveMaster(now, Backup, false)
		default:
			m.toBackup(now)
		}
	}
	g.enter(Backup)
}

// toFault has the others follow i, which is in fault.
func (g *group) toFault(now clock.Instant, i *instance) {
	if g.state != Fault {
		g.log("FAULT")
	}
	for _, m := range g.members {
		if m != i {
			m.toFault(now, false)
		}
	}
	g.enter(Fault)
}

// robbed has every member's addresses elected again. Nobody is told: it is
// master again in a moment.
func (g *group) robbed(now clock.Instant) {
	for _, m := range g.members {
		if m.state == Master {
			m.cede(now)
		}
	}
	g.state = Backup
}

func (g *group) log(state string) {
	g.r.fx.Log(Info, "VRRP_Group("+g.Name+") Syncing instances to "+state+" state")
}

// enter makes state the group's and tells of it once.
func (g *group) enter(state State) {
	if g.state == state {
		return
	}
	g.state = state
	g.r.fx.Notify(Event{Group: true, Name: g.Name, State: state})
}

// start takes the state its members have begun with.
func (g *group) start() {
	if s := g.members[0].state; s != Init {
		g.enter(s)
	}
}
