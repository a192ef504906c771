package control

import (
	"errors"
	"slices"

	"usvs/clock"
	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/sched"
)

// server is a real server and what is known about it.
type server struct {
	rs  *ipvs.RealServer
	est estimator

	// In the trash only.
	idle      bool
	idleSince clock.Instant
	place     int     // in the trash's list
	older     *server // the one of the same identity that was deleted before
}

var errFull = errors.New("too many real servers")

// AddServer puts a real server at the head of the service's list. One that was
// deleted lately comes back with its connections and counters.
func (c *Control) AddServer(svcID ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	return c.change(ipvsadm.Change{Action: ipvsadm.AddServer, Service: svcID, Server: id, ServerSpec: spec})
}

func (c *Control) addServerLocked(svc *service, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	if err := checkServer(spec); err != nil {
		return err
	}
	if svc.find(id) >= 0 {
		return ipvs.ErrExists
	}
	if err := c.checkMixedLocked(svc.vs.ID, id.Addr, spec.Method); err != nil {
		return err
	}
	if err := checkMedium(id.Addr, spec.Method, c.routes); err != nil {
		return err
	}
	srv := c.reviveLocked(svc, id, spec)
	if srv == nil {
		var err error
		if srv, err = c.newServerLocked(svc, id, spec); err != nil {
			return err
		}
	}
	c.additions++
	srv.rs.Join(c.additions)
	c.linkLocked(svc, srv.rs)
	svc.setServers(append([]*server{srv}, svc.servers...))
	c.touchLocked(svc)
	return svc.picker.Update(sched.Add, svc.reals, srv.rs)
}

func (c *Control) newServerLocked(svc *service, id ipvs.ServerID, spec ipvs.ServerSpec) (*server, error) {
	if err := checkServerAddr(id.Addr, c.routes); err != nil {
		return nil, err
	}
	srv := &server{rs: ipvs.NewRealServer(id, svc.vs, spec)}
	if !c.isScratch && !c.cfg.Servers.Add(srv.rs) {
		return nil, errFull
	}
	return srv, nil
}

// EditServer replaces a server's spec; its place in the list, its connections
// and its counters stay.
func (c *Control) EditServer(svcID ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	return c.change(ipvsadm.Change{Action: ipvsadm.EditServer, Service: svcID, Server: id, ServerSpec: spec})
}

func (c *Control) editServerLocked(svc *service, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	if err := checkServer(spec); err != nil {
		return err
	}
	i := svc.find(id)
	if i < 0 {
		return ipvs.ErrNoEntry
	}
	if err := c.checkMixedLocked(svc.vs.ID, id.Addr, spec.Method); err != nil {
		return err
	}
	if err := checkMedium(id.Addr, spec.Method, c.routes); err != nil {
		return err
	}
	rs := svc.servers[i].rs
	c.unlinkLocked(svc, rs)
	c.forgetLocked(rs)
	rs.SetSpec(spec)
	c.linkLocked(svc, rs)
	return svc.picker.Update(sched.Edit, svc.reals, rs)
}

// DeleteServer unlinks a server and puts it into the trash.
func (c *Control) DeleteServer(svcID ipvs.ServiceID, id ipvs.ServerID) error {
	return c.change(ipvsadm.Change{Action: ipvsadm.DeleteServer, Service: svcID, Server: id})
}

func (c *Control) deleteServerLocked(svc *service, id ipvs.ServerID) error {
	i := svc.find(id)
	if i < 0 {
		return ipvs.ErrNoEntry
	}
	srv := svc.servers[i]
	svc.setServers(slices.Delete(slices.Clone(svc.servers), i, i+1))
	c.touchLocked(svc)
	c.unlinkLocked(svc, srv.rs)
	c.discardLocked(srv)
	return svc.picker.Update(sched.Delete, svc.reals, srv.rs)
}
