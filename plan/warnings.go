package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"usvs/ipvs"
)

func (p *Plan) warning(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

// warn says what may not be meant.
func (p *Plan) warn(from, to *State) {
	for i := range p.Services {
		p.warnService(&p.Services[i])
	}
	p.warnMethods(to)
	p.warnInstances(from, to)
	if from.SyncID != to.SyncID && from.SyncID >= 0 && to.SyncID >= 0 {
		p.warning("lvs_sync_daemon: id %d becomes %d: until the other director has it, too, connections are not synchronised", from.SyncID, to.SyncID)
	}
}

func (p *Plan) warnService(s *Service) {
	if s.new == nil {
		p.warning("%s goes with its connections: IPVS drops the packets of those that are there", s.Name)
		return
	}
	if s.old != nil {
		p.warnState(s)
		p.warnServers(s)
	}
	p.warnCapacity(s)
}

// warnState tells of what a service forgets.
func (p *Plan) warnState(s *Service) {
	for _, f := range s.Fields {
		switch f.Name {
		case "scheduler":
			if slices.Contains(sticky, f.From) {
				p.warning("%s: the scheduler changes: clients that %s sends to one server get others", s.Name, f.From)
			}
		case "persistence":
			if f.To == "none" {
				p.warning("%s: persistence goes: clients get a server for each connection, whatever they have been using", s.Name)
			}
		case "persistence granularity":
			if f.From != "none" && f.To != "none" {
				p.warning("%s: persistence granularity changes: templates that are there are not found any more, and their clients get a server anew", s.Name)
			}
		}
	}
}

// sticky are the schedulers that send a client, or a destination, where they
// sent it before.
var sticky = []string{"sh", "dh", "mh", "lblc", "lblcr"}

func (p *Plan) warnServers(s *Service) {
	for _, rs := range s.Servers {
		was, is := lookup(s.old, rs.ID), lookup(s.new, rs.ID)
		switch {
		case is == nil && was.Spec.Weight > 0:
			p.warning("%s: %s is removed, not drained: the packets of its connections are dropped until it returns; weight 0 lets them end first", s.Name, rs.Name)
		case was != nil && is != nil:
			p.warnServer(s, &rs, was, is)
		}
	}
}

func (p *Plan) warnServer(s *Service, rs *Server, was, is *ServerState) {
	if was.Spec.Method != is.Spec.Method {
		p.warning("%s: %s changes from %v to %v: connections that are there stay with %v, so the server has to be set up for both", s.Name, rs.Name, was.Spec.Method, is.Spec.Method, was.Spec.Method)
	}
	if was.Spec.Weight == 0 || is.Spec.Weight != 0 {
		return
	}
	if s.new.Spec.Scheduler == "mh" {
		p.warning("%s: %s gets weight 0 with mh: the table is made without it, and new connections of its clients go elsewhere at once", s.Name, rs.Name)
	}
	if s.new.Spec.Flags&ipvs.FlagPersistent != 0 {
		p.warning("%s: %s gets weight 0, but persistent clients keep coming to it until their template ends, unless expire_quiescent_template is set", s.Name, rs.Name)
	}
}

// warnCapacity tells of services that nobody will serve.
func (p *Plan) warnCapacity(s *Service) {
	sum := s.new.weights()
	switch {
	case len(s.new.Servers) == 0:
		p.warning("%s has no servers: its clients are refused", s.Name)
	case sum == 0 && s.new.Sorry == nil:
		p.warning("%s: every server has weight 0: new clients are refused", s.Name)
	case sum == 0:
		p.warning("%s: every server has weight 0: the sorry server %v gets every new client", s.Name, s.new.Sorry)
	case s.new.Checked && len(s.new.Servers) > 1 && int64(s.new.Quorum) > sum-heaviest(s.new):
		if s.new.Quorum > 1 {
			p.warning("%s: the quorum of %d is lost when one server fails: all weights together are %d", s.Name, s.new.Quorum, sum)
		}
	}
}

func heaviest(s *ServiceState) (most int64) {
	for _, rs := range s.Servers {
		most = max(most, int64(rs.Spec.Weight))
	}
	return most
}

// warnMethods tells of servers that are reached in two ways.
func (p *Plan) warnMethods(to *State) {
	type seen struct {
		method  ipvs.ForwardMethod
		service string
		told    bool
	}
	by := map[netip.Addr]*seen{}
	changed := map[ipvs.ServiceID]bool{}
	for i := range p.Services {
		changed[p.Services[i].ID] = true
	}
	for _, svc := range to.Services {
		for _, rs := range svc.Servers {
			first := by[rs.ID.Addr]
			if first == nil {
				by[rs.ID.Addr] = &seen{method: rs.Spec.Method, service: svc.ID.String()}
				continue
			}
			if first.method != rs.Spec.Method && !first.told && changed[svc.ID] {
				first.told = true
				p.warning("%v serves %s by %v and %v by %v: it needs the set-up of both", rs.ID.Addr, first.service, first.method, svc.ID, rs.Spec.Method)
			}
		}
	}
}
