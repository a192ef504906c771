package health

import (
	"errors"
	"fmt"

	"usvs/ipvs"
)

// seat is where a server, or a sorry server, stands in IPVS: in every service of
// its virtual server, or in none.
type seat struct {
	set      bool
	spec     ipvs.ServerSpec // what it has there
	services []Service
	id       ipvs.ServerID
	targets  []ipvs.ServerID
	missing  []int // of services: those it is not added to yet, in a reload
}

// target is what the server is called in the i-th service.
func target(id ipvs.ServerID, targets []ipvs.ServerID, i int) ipvs.ServerID {
	if i < len(targets) {
		return targets[i]
	}
	return id
}

// put makes a server stand in all services of its virtual server with spec.
func (m *Monitor) put(vs *service, s *seat, id ipvs.ServerID, targets []ipvs.ServerID, spec ipvs.ServerSpec) {
	switch {
	case !s.set:
		*s = seat{set: true, spec: spec, services: vs.cfg.Services, id: id, targets: targets}
		for i, svc := range s.services {
			m.addServer(svc.ID, target(id, targets, i), spec)
		}
	case spec != s.spec:
		s.spec = spec
		for i, svc := range s.services {
			m.editServer(svc.ID, target(s.id, s.targets, i), spec)
		}
	}
}

// take removes a server from IPVS.
func (m *Monitor) take(s *seat) {
	if !s.set {
		return
	}
	s.set = false
	for i, svc := range s.services {
		m.deleteServer(svc.ID, target(s.id, s.targets, i))
	}
}

// standing is a server in a service.
type standing struct {
	service ipvs.ServiceID
	server  ipvs.ServerID
}

// shrinkSeat takes a server out of the services in which it is not to stand any
// more. growSeat then adds it to those in which it is to stand, too.
func (m *Monitor) shrinkSeat(s *seat, services []Service, id ipvs.ServerID, targets []ipvs.ServerID) {
	if !s.set {
		return
	}
	next := seat{set: true, spec: s.spec, services: services, id: id, targets: targets}
	if !s.standsAs(&next) {
		there := make(map[standing]bool, len(s.services))
		for i := range s.services {
			there[s.standing(i)] = true
		}
		for i := range services {
			if at := next.standing(i); there[at] {
				delete(there, at)
			} else {
				next.missing = append(next.missing, i)
			}
		}
		for i := range s.services {
			if at := s.standing(i); there[at] {
				m.deleteServer(at.service, at.server)
			}
		}
	}
	*s = next
}

func (m *Monitor) growSeat(s *seat) {
	for _, i := range s.missing {
		at := s.standing(i)
		m.addServer(at.service, at.server, s.spec)
	}
	s.missing = nil
}

func (s *seat) standing(i int) standing {
	return standing{s.services[i].ID, target(s.id, s.targets, i)}
}

func (s *seat) standsAs(t *seat) bool {
	if len(s.services) != len(t.services) {
		return false
	}
	for i := range s.services {
		if s.standing(i) != t.standing(i) {
			return false
		}
	}
	return true
}

// addServer, editServer and deleteServer do as keepalived where the table is not
// what it should be: what is there is adopted, what is not is added.
func (m *Monitor) addServer(vs ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) {
	err := m.fx.AddServer(vs, id, spec)
	m.report(addDest, vs, &id, err)
	if errors.Is(err, ipvs.ErrExists) {
		m.report(editDest, vs, &id, m.fx.EditServer(vs, id, spec))
	}
}

func (m *Monitor) editServer(vs ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) {
	err := m.fx.EditServer(vs, id, spec)
	if errors.Is(err, ipvs.ErrNoEntry) {
		err = m.fx.AddServer(vs, id, spec)
	}
	m.report(editDest, vs, &id, err)
}

func (m *Monitor) deleteServer(vs ipvs.ServiceID, id ipvs.ServerID) {
	m.report(delDest, vs, &id, m.fx.DeleteServer(vs, id))
}

// addServices adds the services of a virtual server.
func (m *Monitor) addServices(vs *service) {
	for _, s := range vs.cfg.Services {
		m.addService(s)
	}
}

func (m *Monitor) addService(s Service) {
	err := m.fx.AddService(s.ID, s.Spec)
	m.report(addService, s.ID, nil, err)
	if errors.Is(err, ipvs.ErrExists) {
		m.report(editService, s.ID, nil, m.fx.EditService(s.ID, s.Spec))
	}
}

// command is a request to IPVS as keepalived's log has it.
type command string

const (
	addService  command = "IP_VS_SO_SET_ADD(1154)"
	editService command = "IP_VS_SO_SET_EDIT(1155)"
	delService  command = "IP_VS_SO_SET_DEL(1156)"
	addDest     command = "IP_VS_SO_SET_ADDDEST(1159)"
	delDest     command = "IP_VS_SO_SET_DELDEST(1160)"
	editDest    command = "IP_VS_SO_SET_EDITDEST(1161)"
)

// report logs what IPVS refused.
func (m *Monitor) report(cmd command, vs ipvs.ServiceID, rs *ipvs.ServerID, err error) {
	if err == nil {
		return
	}
	what := fmt.Sprintf("Fwm %d", vs.Mark)
	if vs.Mark == 0 {
		what = fmt.Sprintf("%v:%s:%d", vs.Addr, protocolName(vs.Protocol), vs.Port)
	}
	if rs != nil {
		what += " -> " + rs.String()
	}
	m.logf(Warning, "IPVS cmd %s error: %s (%s)", cmd, errorText(err, rs != nil), what)
}

// errorText is an error with its errno, in keepalived's words where it has some.
func errorText(err error, server bool) string {
	switch {
	case errors.Is(err, ipvs.ErrExists) && server:
		return "Destination already exists(17)"
	case errors.Is(err, ipvs.ErrExists):
		return "Service already exists(17)"
	case errors.Is(err, ipvs.ErrNotFound):
		return "No such service(3)"
	case errors.Is(err, ipvs.ErrNoEntry) && server:
		return "No such destination(2)"
	}
	return err.Error()
}
