package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"usvs/ipvs"
)

// Plan is what a change would do.
type Plan struct {
	Services  []Service  `json:"services"`  // that come, go or change
	Unchanged int        `json:"unchanged"` // services
	Instances []Instance `json:"instances,omitempty"`
	Routes    []Route    `json:"routes,omitempty"`
	Flows     *Flows     `json:"flows,omitempty"`
	Live      *Live      `json:"live,omitempty"`
	Warnings  []string   `json:"warnings"`
}

// Same reports whether the configurations want the same.
func (p *Plan) Same() bool {
	return len(p.Services) == 0 && len(p.Instances) == 0 && len(p.Routes) == 0
}

// Kind is what becomes of something.
type Kind string

// The kinds.
const (
	Added     Kind = "added"
	Removed   Kind = "removed"
	Changed   Kind = "changed"
	Unchanged Kind = "unchanged"
)

// Service is a virtual service that comes, goes or changes.
type Service struct {
	ID      ipvs.ServiceID `json:"-"`
	Name    string         `json:"service"`
	Kind    Kind           `json:"change"`
	Fields  []Field        `json:"fields,omitempty"`
	Servers []Server       `json:"servers"`
	// Moved is the share of clients that would be sent to another server than
	// before, with sh, dh and mh; nil where the client does not decide.
	Moved *float64 `json:"moved,omitempty"`
	// Live are connections that are there, in all.
	Live *Connections `json:"live,omitempty"`

	old, new *ServiceState // nil: not there
}

// Server is a real server of a Service.
type Server struct {
	ID     ipvs.ServerID `json:"-"`
	Name   string        `json:"server"`
	Kind   Kind          `json:"change"`
	Fields []Field       `json:"fields,omitempty"`
	Before *float64      `json:"before,omitempty"` // share of new connections
	After  *float64      `json:"after,omitempty"`
	Live   *Connections  `json:"live,omitempty"`
}

// Field is a setting that changes.
type Field struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Compare says what it takes to get from one state to the other.
func Compare(from, to *State) *Plan {
	p := &Plan{Services: []Service{}, Warnings: []string{}}
	before, after := byID(from), byID(to)
	var ids []ipvs.ServiceID
	for i := range from.Services {
		ids = append(ids, from.Services[i].ID)
	}
	for i := range to.Services {
		if before[to.Services[i].ID] == nil {
			ids = append(ids, to.Services[i].ID)
		}
	}
	slices.SortStableFunc(ids, compareServices)
	for _, id := range ids {
		p.service(id, before[id], after[id])
	}
	p.share()
	p.Instances = compareInstances(from.Instances, to.Instances)
	p.Routes = compareRoutes(from, to)
	p.warn(from, to)
	return p
}

func byID(s *State) map[ipvs.ServiceID]*ServiceState {
	m := make(map[ipvs.ServiceID]*ServiceState, len(s.Services))
	for i := range s.Services {
		m[s.Services[i].ID] = &s.Services[i]
	}
	return m
}

func (p *Plan) service(id ipvs.ServiceID, from, to *ServiceState) {
	svc := Service{ID: id, Name: id.String(), old: from, new: to, Kind: kind(from != nil, to != nil)}
	if svc.Kind == Unchanged {
		svc.Fields = serviceFields(from, to)
	}
	touched := svc.Kind != Unchanged
	for _, id := range serverIDs(from, to) {
		rs := compareServer(id, lookup(from, id), lookup(to, id))
		touched = touched || rs.Kind != Unchanged
		svc.Servers = append(svc.Servers, rs)
	}
	if !touched && len(svc.Fields) == 0 {
		p.Unchanged++
		return
	}
	if svc.Kind == Unchanged {
		svc.Kind = Changed
	}
	p.Services = append(p.Services, svc)
}

func kind(before, after bool) Kind {
	switch {
	case !before:
		return Added
	case !after:
		return Removed
	}
	return Unchanged
}

// serverIDs are the servers of both, those of the first first.
func serverIDs(from, to *ServiceState) (ids []ipvs.ServerID) {
	seen := map[ipvs.ServerID]bool{}
	for _, s := range []*ServiceState{from, to} {
		if s == nil {
			continue
		}
		for _, rs := range s.Servers {
			if !seen[rs.ID] {
				seen[rs.ID] = true
				ids = append(ids, rs.ID)
			}
		}
	}
	return ids
}

func lookup(s *ServiceState, id ipvs.ServerID) *ServerState {
	if s == nil {
		return nil
	}
	return s.server(id)
}

func compareServer(id ipvs.ServerID, from, to *ServerState) Server {
	rs := Server{ID: id, Name: id.String(), Kind: kind(from != nil, to != nil)}
	if rs.Kind == Unchanged {
		if rs.Fields = serverFields(&from.Spec, &to.Spec); len(rs.Fields) > 0 {
			rs.Kind = Changed
		}
	}
	return rs
}

// fields collects what differs.
type fields []Field

func (f *fields) add(name, from, to string) {
	if from != to {
		*f = append(*f, Field{name, from, to})
	}
}

func serviceFields(from, to *ServiceState) (f fields) {
	a, b := &from.Spec, &to.Spec
	f.add("scheduler", a.Scheduler, b.Scheduler)
	f.add("persistence", persistence(a), persistence(b))
	f.add("persistence granularity", granularity(from), granularity(to))
	f.add("persistence engine", orNone(a.PE), orNone(b.PE))
	f.add("one-packet scheduling", onOff(a.Flags&ipvs.FlagOnePacket), onOff(b.Flags&ipvs.FlagOnePacket))
	f.add("scheduler flags", schedulerFlags(a), schedulerFlags(b))
	if from.Checked && to.Checked {
		f.add("quorum", fmt.Sprint(from.Quorum), fmt.Sprint(to.Quorum))
		f.add("sorry server", sorry(from), sorry(to))
	}
	return f
}

func serverFields(a, b *ipvs.ServerSpec) (f fields) {
	f.add("forwarding", forwarding(a), forwarding(b))
	f.add("weight", fmt.Sprint(a.Weight), fmt.Sprint(b.Weight))
	f.add("upper threshold", limit(a.UpperThreshold), limit(b.UpperThreshold))
	f.add("lower threshold", limit(a.LowerThreshold), limit(b.LowerThreshold))
	return f
}

func persistence(s *ipvs.ServiceSpec) string {
	if s.Flags&ipvs.FlagPersistent == 0 {
		return "none"
	}
	return fmt.Sprintf("%d s", s.Timeout)
}

// granularity is that of persistent services: without persistence it means
// nothing.
func granularity(s *ServiceState) string {
	switch {
	case s.Spec.Flags&ipvs.FlagPersistent == 0:
		return "none"
	case s.ID.Family == ipvs.IPv6:
		return fmt.Sprintf("/%d", s.Spec.PrefixLen)
	case !s.Spec.Netmask.IsValid():
		return allOnes.String()
	}
	return s.Spec.Netmask.String()
}

var allOnes = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func schedulerFlags(s *ipvs.ServiceSpec) string {
	text := ""
	for i, flag := range []ipvs.ServiceFlags{ipvs.FlagSched1, ipvs.FlagSched2, ipvs.FlagSched3} {
		if s.Flags&flag != 0 {
			text += fmt.Sprintf(" flag-%d", i+1)
		}
	}
	if text == "" {
		return "none"
	}
	return text[1:]
}

func sorry(s *ServiceState) string {
	if s.Sorry == nil {
		return "none"
	}
	return s.Sorry.String()
}

func forwarding(s *ipvs.ServerSpec) string {
	text := s.Method.String()
	if s.Method != ipvs.Tunnel {
		return text
	}
	switch s.Tunnel.Type {
	case ipvs.GUE:
		text += fmt.Sprintf(" gue port %d", s.Tunnel.Port)
	case ipvs.GRE:
		text += " gre"
	}
	switch s.Tunnel.Flags {
	case ipvs.TunnelCsum:
		text += " csum"
	case ipvs.TunnelRemCsum:
		text += " remcsum"
	}
	return text
}

func limit(n uint32) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func onOff(f ipvs.ServiceFlags) string {
	if f != 0 {
		return "on"
	}
	return "off"
}
