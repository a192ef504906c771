package control

import (
	"slices"

	"usvs/director"
	"usvs/ipvs"
)

// publishLocked makes the snapshot of the current state and hands it on. It
// shares with the last one what stays: an edit among ten thousand services costs
// what is copied of lists and tables, not what they contain.
func (c *Control) publishLocked() {
	if c.held > 0 {
		c.pending = true
		return
	}
	c.pending = false
	s := &director.Snapshot{
		Services: c.viewsLocked(), Sysctls: c.sysctls, Routes: c.routes,
		DropRate: c.defence.dropRate, Standby: c.standbyLocked(), Deletions: c.deletions,
	}
	if c.marks4.Len() > 0 {
		s.Marks4 = c.marks4
	}
	if c.marks6.Len() > 0 {
		s.Marks6 = c.marks6
	}
	c.ownLocked(s)
	c.snap = c.index.Seal(s)
	if c.cfg.Publish != nil {
		c.cfg.Publish(c.snap)
	}
}

// linkLocked makes snapshots find a server of svc, whose spec stays as it is
// until the server is unlinked.
func (c *Control) linkLocked(svc *service, rs *ipvs.RealServer) {
	if !c.isScratch {
		c.index.AddServer(svc.vs.ID, rs)
		c.own.addServer(rs)
	}
}

// unlinkLocked makes snapshots find a server of svc no more. It stays one of
// those whose packets the host does not see.
func (c *Control) unlinkLocked(svc *service, rs *ipvs.RealServer) {
	if !c.isScratch {
		c.index.RemoveServer(svc.vs.ID, rs)
	}
}

// forgetLocked is for a server that is unlinked, and comes back or changes or
// left the trash: the host sees packets from it again.
func (c *Control) forgetLocked(rs *ipvs.RealServer) {
	if !c.isScratch {
		c.own.removeServer(rs)
	}
}

// touchLocked notes that the next snapshot has to show svc as it is by then.
func (c *Control) touchLocked(svc *service) {
	if !svc.touched {
		svc.touched = true
		c.touched = append(c.touched, svc)
	}
}

// viewsLocked returns the services as a snapshot has them. A snapshot may share
// the list with its successor, which then only appends to it.
func (c *Control) viewsLocked() []*director.Service {
	for _, svc := range c.touched {
		svc.touched = false
		if c.byID[svc.vs.ID] == svc { // else it was deleted since
			c.viewLocked(svc)
		}
	}
	clear(c.touched)
	c.touched = c.touched[:0]
	c.shared = true
	return slices.Clip(c.views)
}

func (c *Control) viewLocked(svc *service) {
	old := svc.view
	svc.view = &director.Service{VS: svc.vs, Spec: svc.spec, Servers: svc.reals, Picker: svc.picker}
	if old == nil {
		c.views = append(c.views, svc.view)
	} else {
		c.unshareLocked()
		c.views[slices.Index(c.views, old)] = svc.view
		c.index.RemoveService(old)
	}
	c.index.AddService(svc.view)
}

// dropViewLocked takes a deleted service out of the list.
func (c *Control) dropViewLocked(svc *service) {
	if svc.view == nil {
		return // no snapshot has it
	}
	c.unshareLocked()
	i := lastIndex(c.views, svc.view)
	c.views = slices.Delete(c.views, i, i+1)
	c.index.RemoveService(svc.view)
}

// unshareLocked makes the list of views one that may be written to.
func (c *Control) unshareLocked() {
	if c.shared {
		c.views, c.shared = slices.Clone(c.views), false
	}
}

// lastIndex is slices.Index from the end: what was added last is deleted first
// when everything is.
func lastIndex[E comparable](list []E, e E) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == e {
			return i
		}
	}
	return -1
}
