package control

import (
	"slices"
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

// discardLocked makes a server unavailable and puts it into the trash, where
// connections still find it.
func (c *Control) discardLocked(srv *server) {
	srv.rs.SetAvailable(false)
	srv.idle = false
	if c.sysctls.ExpireNodestConn != 0 {
		c.deletions++
	}
	if len(c.trash) == 0 {
		c.trashRun = c.cfg.Clock.Now().Add(trashPeriod)
	}
	c.trash = slices.Insert(c.trash, 0, srv)
}

// reviveLocked takes the server that was id in svc, or in a service with the
// same identity, out of the trash. Its statistics start anew if that service
// was another one. It returns nil if there is none.
func (c *Control) reviveLocked(svc *service, id ipvs.ServerID, spec ipvs.ServerSpec) *server {
	i := slices.IndexFunc(c.trash, func(srv *server) bool {
		return srv.rs.ID == id && sameService(srv.rs.Service().ID, svc.vs.ID)
	})
	if i < 0 {
		return nil
	}
	srv := c.trash[i]
	c.trash = slices.Delete(c.trash, i, i+1)
	if srv.rs.Service() != svc.vs {
		srv.est.reset()
		srv.rs.SetService(svc.vs)
	}
	srv.rs.Revive(spec)
	return srv
}

// sameService compares what a deleted server remembers of its service. As with
// the kernel a fwmark service's family is not part of that.
func sameService(a, b ipvs.ServiceID) bool {
	if a.Mark != 0 || b.Mark != 0 {
		return a.Mark == b.Mark
	}
	return a == b
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
	c.trash = slices.DeleteFunc(c.trash, func(srv *server) bool {
		if srv.rs.References() != 0 || c.rememberedLocked(srv.rs) {
			return false
		}
		if !srv.idle {
			srv.idle, srv.idleSince = true, now
			return false
		}
		if now.Sub(srv.idleSince) < trashIdle {
			return false
		}
		c.cfg.Servers.Remove(srv.rs)
		return true
	})
	c.trashRun = clock.Never
	if len(c.trash) > 0 {
		c.trashRun = now.Add(trashPeriod)
	}
}
