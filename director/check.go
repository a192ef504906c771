package director

import (
	"fmt"
	"maps"

	"usvs/ipvs"
)

// lookups are what a snapshot finds, in maps built whole from its services: the
// slow and obvious form of what an Index keeps up to date.
type lookups struct {
	services map[Endpoint]*Service
	byMark   map[uint64]*Service
	servers  map[Endpoint]int
	endpoint map[Endpoint]*ipvs.RealServer
	tunnels  map[Endpoint]*ipvs.RealServer
	kinds    kindCounts
}

func lookupsOf(services []*Service) *lookups {
	l := &lookups{
		services: map[Endpoint]*Service{}, byMark: map[uint64]*Service{}, servers: map[Endpoint]int{},
		endpoint: map[Endpoint]*ipvs.RealServer{}, tunnels: map[Endpoint]*ipvs.RealServer{},
	}
	for _, svc := range services {
		id := svc.VS.ID
		if id.Mark != 0 {
			l.byMark[markKey(id.Family, id.Mark)] = svc
		} else {
			l.services[endpointOfService(id)] = svc
		}
		l.kinds.count(svc, 1)
		for _, rs := range svc.Servers {
			switch rs.Method() {
			case ipvs.Masquerade:
				l.servers[Endpoint{Addr: rs.ID.Addr}]++
				e := serverEndpoint(id, rs)
				l.endpoint[e] = later(l.endpoint[e], rs)
			case ipvs.Tunnel:
				e := tunnelEndpoint(rs)
				l.tunnels[e] = later(l.tunnels[e], rs)
			}
		}
	}
	return l
}

// Check compares what lookups in s find with what Services says, and reports the
// first table in which they differ. It is for tests: it looks at everything.
func (s *Snapshot) Check() error {
	want := lookupsOf(s.Services)
	for _, t := range []struct {
		name  string
		equal bool
	}{
		{"services", maps.Equal(want.services, maps.Collect(s.services.All()))},
		{"fwmark services", maps.Equal(want.byMark, maps.Collect(s.byMark.All()))},
		{"servers' addresses", maps.Equal(want.servers, maps.Collect(s.servers.All()))},
		{"masquerading servers", maps.Equal(want.endpoint, maps.Collect(s.endpoint.All()))},
		{"tunnels", maps.Equal(want.tunnels, maps.Collect(s.tunnels.All()))},
		{"kinds of services", want.kinds == s.kinds},
	} {
		if !t.equal {
			return fmt.Errorf("a snapshot of %d services finds other %s than it has", len(s.Services), t.name)
		}
	}
	return nil
}
