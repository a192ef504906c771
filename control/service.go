package control

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"usvs/director"
	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/sched"
)

// service is a virtual service and what is known about it.
type service struct {
	vs      *ipvs.VirtualService
	spec    ipvs.ServiceSpec
	picker  *director.Picker
	servers []*server // newest first
	est     estimator

	reals   []*ipvs.RealServer // of servers; replaced, never changed
	view    *director.Service  // as the last snapshot has it; nil: not yet
	touched bool               // view is out of date
}

// noScheduler is the name of the absence of a scheduler.
const noScheduler = "none"

// setServers replaces the list of servers.
func (s *service) setServers(list []*server) {
	s.servers = list
	s.reals = make([]*ipvs.RealServer, len(list))
	for i, srv := range list {
		s.reals[i] = srv.rs
	}
}

// find returns the index of the server with id, or -1.
func (s *service) find(id ipvs.ServerID) int {
	return slices.IndexFunc(s.servers, func(srv *server) bool { return srv.rs.ID == id })
}

// AddService adds a virtual service without servers.
func (c *Control) AddService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	return c.change(ipvsadm.Change{Action: ipvsadm.AddService, Service: id, Spec: spec})
}

func (c *Control) addServiceLocked(id ipvs.ServiceID, spec ipvs.ServiceSpec) (*service, error) {
	id, err := serviceID(id)
	if err != nil {
		return nil, err
	}
	if c.byID[id] != nil {
		return nil, ipvs.ErrExists
	}
	picker, spec, err := c.prepare(id, spec, nil)
	if err != nil {
		return nil, err
	}
	svc := &service{vs: &ipvs.VirtualService{ID: id}, spec: spec, picker: picker}
	c.services = append(c.services, svc)
	c.byID[id] = svc
	c.own.addService(id)
	c.touchLocked(svc)
	return svc, nil
}

// EditService replaces a service's spec. With the same scheduler the
// scheduler's state stays, with another it is built anew.
func (c *Control) EditService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	return c.change(ipvsadm.Change{Action: ipvsadm.EditService, Service: id, Spec: spec})
}

func (c *Control) editServiceLocked(svc *service, spec ipvs.ServiceSpec) error {
	picker, spec, err := c.prepare(svc.vs.ID, spec, svc)
	if err != nil {
		return err
	}
	svc.spec, svc.picker = spec, picker
	c.touchLocked(svc)
	return nil
}

// DeleteService deletes a service; its servers go to the trash.
func (c *Control) DeleteService(id ipvs.ServiceID) error {
	return c.change(ipvsadm.Change{Action: ipvsadm.DeleteService, Service: id})
}

// Flush deletes all services. Timeouts, settings and mark rules stay.
func (c *Control) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.services) > 0 {
		c.deleteServiceLocked(c.services[len(c.services)-1])
	}
	c.publishLocked()
	return nil
}

// deleteServiceLocked unlinks a service. Its scheduler goes with it and is not
// told of each server.
func (c *Control) deleteServiceLocked(svc *service) {
	delete(c.byID, svc.vs.ID)
	i := lastIndex(c.services, svc)
	c.services = slices.Delete(c.services, i, i+1)
	c.own.removeService(svc.vs.ID)
	c.dropViewLocked(svc)
	for _, srv := range svc.servers {
		c.unlinkLocked(svc, srv.rs)
		c.discardLocked(srv)
	}
}

// serviceLocked finds the service with id.
func (c *Control) serviceLocked(id ipvs.ServiceID) (*service, error) {
	id, err := serviceID(id)
	if err != nil {
		return nil, err
	}
	svc := c.byID[id]
	if svc == nil {
		return nil, ipvs.ErrNotFound
	}
	return svc, nil
}

// prepare checks a spec and returns the picker and the spec that the service
// is to have. old is the service as it is, nil for a new one.
func (c *Control) prepare(id ipvs.ServiceID, spec ipvs.ServiceSpec, old *service) (*director.Picker, ipvs.ServiceSpec, error) {
	kept := old != nil && old.spec.Scheduler == spec.Scheduler
	scheduler, err := c.scheduler(spec.Scheduler, kept)
	if err != nil {
		return nil, spec, err
	}
	if err := checkEngine(spec.PE); err != nil {
		return nil, spec, err
	}
	if spec, err = checkPersistence(id.Family, spec); err != nil {
		return nil, spec, err
	}
	if kept {
		return old.picker, spec, nil
	}
	picker := director.NewPicker(scheduler)
	if old == nil {
		return picker, spec, picker.Update(sched.Bind, nil, nil)
	}
	return picker, spec, picker.Update(sched.Bind, old.reals, nil)
}

// scheduler makes the scheduler called name; none is needed if the old one is kept.
func (c *Control) scheduler(name string, kept bool) (sched.Scheduler, error) {
	switch {
	case kept || name == noScheduler:
		return nil, nil
	case name == "":
		return nil, fmt.Errorf("no scheduler named: %w", ipvs.ErrInvalid)
	}
	r := c.cfg.Rand
	return sched.New(name, rand.New(rand.NewPCG(r.Uint64(), r.Uint64())))
}
