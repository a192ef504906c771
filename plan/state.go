package plan

import (
	"cmp"
	"slices"

	"usvs/ipvs"
	"usvs/keepalived"
	"usvs/keepalived/wanted"
)

// State is what a configuration wants.
type State struct {
	Services  []ServiceState // those with an address first, then those with a mark
	Instances []*keepalived.Instance
	// StaticRoutes are there whatever the instances' states.
	StaticRoutes []keepalived.Route
	SyncID       int // of lvs_sync_daemon; -1: there is none
}

// ServiceState is a virtual service.
type ServiceState struct {
	ID      ipvs.ServiceID
	Spec    ipvs.ServiceSpec
	Servers []ServerState // in the order in which they are added

	// The following only a keepalived.conf has.
	Checked bool // keepalived decides which servers are in
	Quorum  int
	Sorry   *ipvs.ServerID
}

// ServerState is a real server.
type ServerState struct {
	ID      ipvs.ServerID
	Spec    ipvs.ServerSpec
	Inhibit bool // inhibit_on_failure
}

// FromServices is the State of a list of services, as a Control has it.
func FromServices(list []ipvs.ServiceEntry) *State {
	s := &State{SyncID: -1}
	for _, e := range list {
		svc := ServiceState{ID: e.ID, Spec: e.Spec}
		for _, rs := range slices.Backward(e.Servers) { // newest first
			svc.Servers = append(svc.Servers, ServerState{ID: rs.ID, Spec: rs.Spec})
		}
		s.Services = append(s.Services, svc)
	}
	s.sort()
	return s
}

// FromKeepalived is the State of a keepalived.conf when all servers are up.
func FromKeepalived(c *keepalived.Config) *State {
	s := &State{Instances: c.Instances, StaticRoutes: c.StaticRoutes, SyncID: -1}
	if d := c.Global.LVSSyncDaemon; d.Set() {
		s.SyncID = d.V.ID
	}
	for _, vs := range wanted.VirtualServers(c) {
		for _, svc := range vs.Services {
			s.Services = append(s.Services, fromWanted(vs.Conf, &svc))
		}
	}
	s.sort()
	return s
}

func fromWanted(conf *keepalived.VirtualServer, svc *wanted.Service) ServiceState {
	out := ServiceState{ID: svc.ID, Spec: svc.Spec, Checked: true, Quorum: conf.Quorum.V}
	if svc.Sorry != nil {
		out.Sorry = &svc.Sorry.ID
	}
	for _, rs := range svc.Servers {
		out.Servers = append(out.Servers, ServerState{ID: rs.ID, Spec: rs.Spec, Inhibit: rs.Conf.InhibitOnFailure.V})
	}
	return out
}

func (s *State) sort() {
	slices.SortStableFunc(s.Services, func(a, b ServiceState) int { return compareServices(a.ID, b.ID) })
}

func compareServices(a, b ipvs.ServiceID) int {
	return cmp.Or(
		cmp.Compare(a.Mark, b.Mark),
		a.Addr.Compare(b.Addr),
		cmp.Compare(a.Port, b.Port),
		cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.Family, b.Family),
	)
}

// server returns the server of that identity, or nil.
func (s *ServiceState) server(id ipvs.ServerID) *ServerState {
	for i := range s.Servers {
		if s.Servers[i].ID == id {
			return &s.Servers[i]
		}
	}
	return nil
}

// weights is the sum of them.
func (s *ServiceState) weights() (sum int64) {
	for _, rs := range s.Servers {
		sum += int64(rs.Spec.Weight)
	}
	return sum
}
