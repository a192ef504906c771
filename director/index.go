package director

import (
	"cmp"
	"slices"

	"usvs/ipvs"
	"usvs/trie"
)

// Index is what the data path looks up about services and servers, kept up to
// date change by change. It is control's alone; a Snapshot gets a view of it.
type Index struct {
	services *endpointMap[*Service]
	byMark   *trie.Map[uint64, *Service]
	servers  *endpointMap[int] // addresses of masquerading servers, and how many there are
	endpoint *rivals           // masquerading servers by where their packets come from
	tunnels  *rivals           // by where the outer packets go; see tunnelAt
	kinds    kindCounts
}

// NewIndex returns an Index without services.
func NewIndex() *Index {
	return &Index{
		services: newEndpointMap[*Service](), byMark: trie.New[uint64, *Service](mix),
		servers: newEndpointMap[int](), endpoint: newRivals(), tunnels: newRivals(),
	}
}

// AddService adds a service. Its servers are added each by itself.
func (x *Index) AddService(svc *Service) {
	if id := svc.VS.ID; id.Mark != 0 {
		x.byMark.Set(markKey(id.Family, id.Mark), svc)
	} else {
		x.services.Set(endpointOfService(id), svc)
	}
	x.kinds.count(svc, 1)
}

// RemoveService removes a service whose servers were removed.
func (x *Index) RemoveService(svc *Service) {
	if id := svc.VS.ID; id.Mark != 0 {
		x.byMark.Delete(markKey(id.Family, id.Mark))
	} else {
		x.services.Delete(endpointOfService(id))
	}
	x.kinds.count(svc, -1)
}

// AddServer adds a server of a service. What its spec says may not change until
// it is removed.
func (x *Index) AddServer(id ipvs.ServiceID, rs *ipvs.RealServer) {
	switch rs.Method() {
	case ipvs.Masquerade:
		count(x.servers, Endpoint{Addr: rs.ID.Addr}, 1)
		x.endpoint.add(serverEndpoint(id, rs), rs)
	case ipvs.Tunnel:
		x.tunnels.add(tunnelEndpoint(rs), rs)
	}
}

// RemoveServer removes a server of a service.
func (x *Index) RemoveServer(id ipvs.ServiceID, rs *ipvs.RealServer) {
	switch rs.Method() {
	case ipvs.Masquerade:
		count(x.servers, Endpoint{Addr: rs.ID.Addr}, -1)
		x.endpoint.remove(serverEndpoint(id, rs), rs)
	case ipvs.Tunnel:
		x.tunnels.remove(tunnelEndpoint(rs), rs)
	}
}

// Seal completes s, whose services are those of x, with what lookups need. It
// must be called once, before the snapshot is given to a director.
func (x *Index) Seal(s *Snapshot) *Snapshot {
	s.services, s.byMark, s.servers = x.services.Freeze(), x.byMark.Freeze(), x.servers.Freeze()
	s.endpoint, s.tunnels = x.endpoint.best.Freeze(), x.tunnels.best.Freeze()
	s.kinds = x.kinds
	if s.Routes == nil {
		s.Routes = noRoutes
	}
	return s
}

// kindCounts says of how many services something is true.
type kindCounts struct {
	v4, v6  int // of that family
	m4, m6  int // fwmark services of that family
	ftp     int // on TCP port 21
	anyPort int // on port 0
	engines int // with a persistence engine
}

func (k *kindCounts) count(svc *Service, n int) {
	id := svc.VS.ID
	for _, c := range [...]struct {
		kind *int
		is   bool
	}{
		{&k.v4, id.Family == ipvs.IPv4},
		{&k.v6, id.Family == ipvs.IPv6},
		{&k.m4, id.Family == ipvs.IPv4 && id.Mark != 0},
		{&k.m6, id.Family == ipvs.IPv6 && id.Mark != 0},
		{&k.ftp, id.Mark == 0 && id.Protocol == ipvs.TCP && id.Port == ftpPort},
		{&k.anyPort, id.Mark == 0 && id.Port == 0},
		{&k.engines, svc.Spec.PE != ""},
	} {
		if c.is {
			*c.kind += n
		}
	}
}

// markKey is what a fwmark service is found by: its protocol, address and port
// do not count.
func markKey(f ipvs.Family, mark uint32) uint64 { return uint64(f)<<32 | uint64(mark) }

// endpointOfService is what any other service is found by.
func endpointOfService(id ipvs.ServiceID) Endpoint { return Endpoint{id.Protocol, id.Addr, id.Port} }

// serverEndpoint is where a masquerading server's packets come from: of any
// protocol for a fwmark service.
func serverEndpoint(id ipvs.ServiceID, rs *ipvs.RealServer) Endpoint {
	e := Endpoint{id.Protocol, rs.ID.Addr, rs.ID.Port}
	if id.Mark != 0 {
		e.Protocol = 0
	}
	return e
}

// tunnelEndpoint is where the outer packets to a tunnelled server go.
func tunnelEndpoint(rs *ipvs.RealServer) Endpoint {
	e := Endpoint{Addr: rs.ID.Addr}
	if t := rs.Tunnel(); t.Type == ipvs.GUE {
		e.Port = t.Port
	}
	return e
}

// rivals are servers by endpoint. Of those with the same one, the one that was
// added last is meant.
type rivals struct {
	best *endpointMap[*ipvs.RealServer]
	// others are those besides the best, oldest first.
	others map[Endpoint][]*ipvs.RealServer
}

func newRivals() *rivals {
	return &rivals{newEndpointMap[*ipvs.RealServer](), map[Endpoint][]*ipvs.RealServer{}}
}

func (r *rivals) add(e Endpoint, rs *ipvs.RealServer) {
	best, _ := r.best.Get(e)
	if later(best, rs) == rs {
		best, rs = rs, best
		r.best.Set(e, best)
	}
	if rs == nil {
		return
	}
	list := r.others[e]
	i, _ := slices.BinarySearchFunc(list, rs, olderFirst)
	r.others[e] = slices.Insert(list, i, rs)
}

func (r *rivals) remove(e Endpoint, rs *ipvs.RealServer) {
	list := r.others[e]
	last := len(list) - 1
	switch best, _ := r.best.Get(e); {
	case best != rs:
		i := slices.Index(list, rs)
		list = slices.Delete(list, i, i+1)
	case last < 0:
		r.best.Delete(e)
		return
	default:
		r.best.Set(e, list[last])
		list = slices.Delete(list, last, last+1)
	}
	if len(list) == 0 {
		delete(r.others, e)
		return
	}
	r.others[e] = list
}

func olderFirst(a, b *ipvs.RealServer) int {
	return cmp.Compare(a.Joined(), b.Joined())
}

// later is the server that was added after the other; each may be nil.
func later(a, b *ipvs.RealServer) *ipvs.RealServer {
	if a == nil || b != nil && b.Joined() > a.Joined() {
		return b
	}
	return a
}
