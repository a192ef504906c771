package director

import (
	"net/netip"
	"slices"

	"usvs/ipvs"
	"usvs/marks"
	"usvs/route"
	"usvs/trie"
)

// Service is a virtual service as one snapshot has it.
type Service struct {
	VS      *ipvs.VirtualService
	Spec    ipvs.ServiceSpec
	Servers []*ipvs.RealServer // newest first; never changed
	Picker  *Picker
}

// Snapshot is everything the data path reads that an operator or the host's
// network decides. It is immutable; the next one shares with it what stays.
type Snapshot struct {
	Services []*Service
	Sysctls  ipvs.Sysctls
	Routes   *route.Table
	Marks4   *marks.Ruleset // nil: no rules
	Marks6   *marks.Ruleset
	// Owned addresses are the director's to answer for: it handles their
	// services, and answers ARP, ND and pings for those that Routes does not
	// have as the host's own.
	Owned  AddrSet
	Hidden *Hidden
	// Stations are where addresses that VRRP manages are, while they are ours.
	// Others announce them, except for those with a virtual MAC.
	Stations StationSet
	// DropRate is drop_packet in force: every how many packets that would open
	// a connection one is dropped; 0: none.
	DropRate int
	// Standby: backup_only is set and a backup daemon runs, so clients' packets
	// are the host's own.
	Standby bool
	// Deletions counts deletions of real servers that are to end the servers'
	// connections (expire_nodest_conn).
	Deletions uint64

	services endpointView[*Service]
	byMark   trie.View[uint64, *Service]
	servers  endpointView[int] // addresses of masquerading servers
	endpoint endpointView[*ipvs.RealServer]
	tunnels  endpointView[*ipvs.RealServer] // by address and GUE port; see tunnelAt
	kinds    kindCounts
}

// Seal computes what lookups need from Services. It must be called once, before
// the snapshot is given to a director, unless an Index seals it.
func (s *Snapshot) Seal() *Snapshot {
	x := NewIndex()
	for _, svc := range s.Services {
		x.AddService(svc)
		for _, rs := range svc.Servers {
			x.AddServer(svc.VS.ID, rs)
		}
	}
	return x.Seal(s)
}

// noRoutes is the network of a host without one.
var noRoutes = route.New(route.Config{})

// tunnelAt returns the server with a tunnel of that type at an address and port, 0
// but for GUE. As in the kernel, of several with that address and port only the one
// that was added last is known, whatever its type.
func (s *Snapshot) tunnelAt(t ipvs.TunnelType, addr netip.Addr, port uint16) *ipvs.RealServer {
	rs, ok := s.tunnels.Get(Endpoint{Addr: addr, Port: port})
	if !ok || rs.Tunnel().Type != t {
		return nil
	}
	return rs
}

const ftpPort = 21

// find returns the service for a packet: by mark, exactly, by the FTP rule,
// then by port 0 (ipvs.md 4.1).
func (s *Snapshot) find(f ipvs.Family, mark uint32, proto ipvs.Protocol, dst netip.Addr, port uint16) *Service {
	if mark != 0 {
		if svc, ok := s.byMark.Get(markKey(f, mark)); ok {
			return svc
		}
	}
	e := Endpoint{proto, dst, port}
	if svc, ok := s.services.Get(e); ok {
		return svc
	}
	if s.kinds.ftp > 0 && proto == ipvs.TCP && (port == 20 || port >= s.Sysctls.UnprivilegedPortStart) {
		e.Port = ftpPort
		if svc, ok := s.services.Get(e); ok {
			return svc
		}
	}
	if s.kinds.anyPort == 0 {
		return nil
	}
	e.Port = 0
	svc, _ := s.services.Get(e)
	return svc
}

// service returns the service with id, or nil.
func (s *Snapshot) service(id ipvs.ServiceID) *Service {
	if id.Mark != 0 {
		svc, _ := s.byMark.Get(markKey(id.Family, id.Mark))
		return svc
	}
	svc, _ := s.services.Get(endpointOfService(id))
	return svc
}

// hasMark reports whether a fwmark service for mark exists.
func (s *Snapshot) hasMark(f ipvs.Family, mark uint32) bool {
	return mark != 0 && s.byMark.Has(markKey(f, mark))
}

// active reports whether a service of the packet's family exists: without one
// the kernel's hooks do nothing for the family.
func (s *Snapshot) active(version uint8) bool {
	return version == 4 && s.kinds.v4 > 0 || version == 6 && s.kinds.v6 > 0
}

// marked is active for fwmark services.
func (s *Snapshot) marked(version uint8) bool {
	return version == 4 && s.kinds.m4 > 0 || version == 6 && s.kinds.m6 > 0
}

// answersFor reports whether the director, not the host's own stack, answers
// for a.
func (s *Snapshot) answersFor(a netip.Addr) bool {
	return s.Owned.Has(a) && !s.Routes.IsLocal(a)
}

// answersOn reports whether the director answers for a on a port: an address
// with a virtual MAC is on one interface only.
func (s *Snapshot) answersOn(port int, a netip.Addr) bool {
	if !s.answersFor(a) {
		return false
	}
	st, ok := s.Stations.Get(a)
	return !ok || st.MAC.IsZero() || s.portName(port) == st.Interface
}

// announces reports whether the director tells a port's network that a is its
// own. For an address without a virtual MAC VRRP does so.
func (s *Snapshot) announces(port int, a netip.Addr) bool {
	st, ok := s.Stations.Get(a)
	return !ok || !st.MAC.IsZero() && s.portName(port) == st.Interface
}

func (s *Snapshot) portName(port int) string {
	if ifs := s.Routes.Interfaces; port >= 0 && port < len(ifs) {
		return ifs[port].Name
	}
	return ""
}

// stationChanged reports whether a port came up since the old snapshot, or has
// another MAC than there.
func (s *Snapshot) stationChanged(old *Snapshot, port int) bool {
	if port >= len(old.Routes.Interfaces) {
		return true
	}
	is, was := &s.Routes.Interfaces[port], &old.Routes.Interfaces[port]
	return is.Up && (!was.Up || is.MAC != was.MAC)
}

// Answered lists the owned addresses that the director itself answers for, in
// ascending order.
func (s *Snapshot) Answered() []netip.Addr {
	return slices.DeleteFunc(s.Owned.Sorted(), s.Routes.IsLocal)
}

// AnsweredSince lists, in ascending order, the addresses that the director
// answers for and did not with the old snapshot, and those of which the reverse
// is true.
func (s *Snapshot) AnsweredSince(old *Snapshot) (gained, lost []netip.Addr) {
	gain := func(a netip.Addr) {
		if s.answersFor(a) && !old.answersFor(a) {
			gained = append(gained, a)
		}
	}
	lose := func(a netip.Addr) {
		if old.answersFor(a) && !s.answersFor(a) {
			lost = append(lost, a)
		}
	}
	if s.Routes == old.Routes {
		DiffAddrs(&old.Owned, &s.Owned, lose, gain)
	} else {
		for a := range s.Owned.All() {
			gain(a)
		}
		for a := range old.Owned.All() {
			lose(a)
		}
	}
	slices.SortFunc(gained, netip.Addr.Compare)
	slices.SortFunc(lost, netip.Addr.Compare)
	return gained, lost
}

// serverAt finds the masquerading server that packets from addr:port come from.
func (s *Snapshot) serverAt(proto ipvs.Protocol, addr netip.Addr, port uint16) *ipvs.RealServer {
	own, _ := s.endpoint.Get(Endpoint{proto, addr, port})
	marked, _ := s.endpoint.Get(Endpoint{0, addr, port})
	return later(own, marked)
}
