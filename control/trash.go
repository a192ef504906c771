package control

import (
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// The trash is looked through every trashPeriod; what nobody refers to is freed
// trashIdle after that was first seen (ipvs.md 4.4).
const (
	trashPeriod = 60 * time.Second
	trashIdle   = 120 * time.Second
)

// trash has deleted servers, in the order of their deletion and by identity.
type trash struct {
	list []*server // newest last; nil in place of those that were taken out
	n    int
	byID map[deletedID]*server // the newest of each identity; see server.older
}

// deletedID is what a deleted server is known by. As with the kernel a fwmark
// service's family is not part of that.
type deletedID struct {
	service ipvs.ServiceID
	server  ipvs.ServerID
}

func deletedIDOf(svc ipvs.ServiceID, id ipvs.ServerID) deletedID {
	if svc.Mark != 0 {
		svc = ipvs.ServiceID{Mark: svc.Mark}
	}
	return deletedID{svc, id}
}

// trashHoles is how many holes the list may have besides as many as servers.
const trashHoles = 64

func (t *trash) put(srv *server) {
	if len(t.list) > 2*t.n+trashHoles {
		t.compact()
	}
	if t.byID == nil {
		t.byID = map[deletedID]*server{}
	}
	id := deletedIDOf(srv.rs.Service().ID, srv.rs.ID)
	srv.place, srv.older = len(t.list), t.byID[id]
	t.list, t.byID[id] = append(t.list, srv), srv
	t.n++
}

func (t *trash) compact() {
	list := make([]*server, 0, t.n+1)
	for _, srv := range t.list {
		if srv != nil {
			srv.place = len(list)
			list = append(list, srv)
		}
	}
	t.list = list
}

// remove takes srv, which is in the trash, out of it.
func (t *trash) remove(srv *server) {
	t.list[srv.place] = nil
	t.n--
	id := deletedIDOf(srv.rs.Service().ID, srv.rs.ID)
	newest := t.byID[id]
	switch {
	case newest != srv:
		for newest.older != srv {
			newest = newest.older
		}
		newest.older = srv.older
	case srv.older != nil:
		t.byID[id] = srv.older
	default:
		delete(t.byID, id)
	}
	srv.older = nil
}

// each visits the servers, newest first. The visitor may remove the one it is
// given.
func (t *trash) each(visit func(*server)) {
	for i := len(t.list) - 1; i >= 0; i-- {
		if srv := t.list[i]; srv != nil {
			visit(srv)
		}
	}
}

// discardLocked makes a server unavailable and puts it into the trash, where
// connections still find it.
func (c *Control) discardLocked(srv *server) {
	srv.rs.SetAvailable(false)
	srv.idle = false
	if c.sysctls.ExpireNodestConn != 0 {
		c.deletions++
	}
	if c.trash.n == 0 {
		c.trashRun = c.cfg.Clock.Now().Add(trashPeriod)
	}
	c.trash.put(srv)
}

// reviveLocked takes the server that was id in svc, or in a service with the
// same identity, out of the trash. Its statistics start anew if that service
// was another one. It returns nil if there is none.
func (c *Control) reviveLocked(svc *service, id ipvs.ServerID, spec ipvs.ServerSpec) *server {
	srv := c.trash.byID[deletedIDOf(svc.vs.ID, id)]
	if srv == nil {
		return nil
	}
	c.trash.remove(srv)
	c.forgetLocked(srv.rs)
	if srv.rs.Service() != svc.vs {
		srv.est.reset()
		srv.rs.SetService(svc.vs)
	}
	srv.rs.Revive(spec)
	return srv
}

// rememberedLocked reports whether the scheduler of the service that rs was
// deleted from still knows it. As in the kernel, that is a reference.
func (c *Control) rememberedLocked(rs *ipvs.RealServer) bool {
	vs := rs.Service()
	svc := c.byID[vs.ID]
	return svc != nil && svc.vs == vs && svc.picker.Remembers(rs)
}

// collectTrashLocked frees servers that nobody has referred to for trashIdle.
func (c *Control) collectTrashLocked(now clock.Instant) {
	c.trash.each(func(srv *server) {
		switch {
		case srv.rs.References() != 0 || c.rememberedLocked(srv.rs):
		case !srv.idle:
			srv.idle, srv.idleSince = true, now
		case now.Sub(srv.idleSince) >= trashIdle:
			c.trash.remove(srv)
			c.forgetLocked(srv.rs)
			c.cfg.Servers.Remove(srv.rs)
		}
	})
	c.trashRun = clock.Never
	if c.trash.n > 0 {
		c.trashRun = now.Add(trashPeriod)
	}
}
