package director

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"usvs/ipvs"
	"usvs/marks"
	"usvs/route"
)

// Service is a virtual service as one snapshot has it.
type Service struct {
	VS      *ipvs.VirtualService
	Spec    ipvs.ServiceSpec
	Servers []*ipvs.RealServer // newest first; never changed
	Picker  *Picker
}

// Snapshot is everything the data path reads that an operator or the host's
// network decides. It is immutable: control builds the next one whole.
type Snapshot struct {
	Services []*Service
	Sysctls  ipvs.Sysctls
	Routes   *route.Table
	Marks4   *marks.Ruleset // nil: no rules
	Marks6   *marks.Ruleset
	// Owned addresses are the director's to answer for: it handles their
	// services, and answers ARP, ND and pings for those that Routes does not
	// have as the host's own.
	Owned  []netip.Addr
	Hidden *Hidden
	// DropRate is drop_packet in force: every how many packets that would open
	// a connection one is dropped; 0: none.
	DropRate int
	// Standby: backup_only is set and a backup daemon runs, so clients' packets
	// are the host's own.
	Standby bool
	// Deletions counts deletions of real servers that are to end the servers'
	// connections (expire_nodest_conn).
	Deletions uint64

	byID     map[ipvs.ServiceID]*Service
	owned    addrSet
	servers  addrSet // addresses of masquerading servers
	endpoint map[Endpoint]*ipvs.RealServer
	tunnels  map[Endpoint]*ipvs.RealServer // by address and GUE port; see tunnelAt
	v4, v6   bool                          // a service of that family exists
	m4, m6   bool                          // a fwmark service of that family exists
	ftp      bool                          // a service on TCP port 21 exists
	anyPort  bool                          // a service on port 0 exists
	engines  bool                          // a service with a persistence engine exists
}

// Seal computes what lookups need. It must be called once, before the snapshot
// is given to a director.
func (s *Snapshot) Seal() *Snapshot {
	s.byID = make(map[ipvs.ServiceID]*Service, len(s.Services))
	s.endpoint = map[Endpoint]*ipvs.RealServer{}
	s.tunnels = map[Endpoint]*ipvs.RealServer{}
	var servers []netip.Addr
	for _, svc := range s.Services {
		id := svc.VS.ID
		s.byID[lookupID(id)] = svc
		s.v4 = s.v4 || id.Family == ipvs.IPv4
		s.v6 = s.v6 || id.Family == ipvs.IPv6
		s.m4 = s.m4 || id.Family == ipvs.IPv4 && id.Mark != 0
		s.m6 = s.m6 || id.Family == ipvs.IPv6 && id.Mark != 0
		s.ftp = s.ftp || id.Mark == 0 && id.Protocol == ipvs.TCP && id.Port == ftpPort
		s.engines = s.engines || svc.Spec.PE != ""
		s.anyPort = s.anyPort || id.Mark == 0 && id.Port == 0
		for _, rs := range svc.Servers {
			switch rs.Method() {
			case ipvs.Masquerade:
				servers = append(servers, rs.ID.Addr)
				s.addEndpoint(id, rs)
			case ipvs.Tunnel:
				e := tunnelEndpoint(rs)
				s.tunnels[e] = later(s.tunnels[e], rs)
			}
		}
	}
	s.owned, s.servers = newAddrSet(s.Owned), newAddrSet(servers)
	if s.Routes == nil {
		s.Routes = route.New(route.Config{})
	}
	return s
}

// tunnelEndpoint is where the outer packets to a tunnelled server go.
func tunnelEndpoint(rs *ipvs.RealServer) Endpoint {
	e := Endpoint{Addr: rs.ID.Addr}
	if t := rs.Tunnel(); t.Type == ipvs.GUE {
		e.Port = t.Port
	}
	return e
}

// tunnelAt returns the server with a tunnel of that type at an address and port, 0
// but for GUE. As in the kernel, of several with that address and port only the one
// that was added last is known, whatever its type.
func (s *Snapshot) tunnelAt(t ipvs.TunnelType, addr netip.Addr, port uint16) *ipvs.RealServer {
	rs := s.tunnels[Endpoint{Addr: addr, Port: port}]
	if rs == nil || rs.Tunnel().Type != t {
		return nil
	}
	return rs
}

// addEndpoint registers a masquerading server under its own protocol, or under
// any for a fwmark service; the one added last wins.
func (s *Snapshot) addEndpoint(id ipvs.ServiceID, rs *ipvs.RealServer) {
	e := Endpoint{id.Protocol, rs.ID.Addr, rs.ID.Port}
	if id.Mark != 0 {
		e.Protocol = 0
	}
	s.endpoint[e] = later(s.endpoint[e], rs)
}

// lookupID is the key a service is found by: a fwmark service's protocol,
// address and port do not count.
func lookupID(id ipvs.ServiceID) ipvs.ServiceID {
	if id.Mark != 0 {
		return ipvs.ServiceID{Family: id.Family, Mark: id.Mark}
	}
	return id
}

const ftpPort = 21

// find returns the service for a packet: by mark, exactly, by the FTP rule,
// then by port 0 (ipvs.md 4.1).
func (s *Snapshot) find(f ipvs.Family, mark uint32, proto ipvs.Protocol, dst netip.Addr, port uint16) *Service {
	if mark != 0 {
		if svc := s.byID[ipvs.ServiceID{Family: f, Mark: mark}]; svc != nil {
			return svc
		}
	}
	id := ipvs.ServiceID{Family: f, Protocol: proto, Addr: dst, Port: port}
	if svc := s.byID[id]; svc != nil {
		return svc
	}
	if s.ftp && proto == ipvs.TCP && (port == 20 || port >= s.Sysctls.UnprivilegedPortStart) {
		id.Port = ftpPort
		if svc := s.byID[id]; svc != nil {
			return svc
		}
	}
	if !s.anyPort {
		return nil
	}
	id.Port = 0
	return s.byID[id]
}

// hasMark reports whether a fwmark service for mark exists.
func (s *Snapshot) hasMark(f ipvs.Family, mark uint32) bool {
	return mark != 0 && s.byID[ipvs.ServiceID{Family: f, Mark: mark}] != nil
}

// active reports whether a service of the packet's family exists: without one
// the kernel's hooks do nothing for the family.
func (s *Snapshot) active(version uint8) bool {
	return version == 4 && s.v4 || version == 6 && s.v6
}

// marked is active for fwmark services.
func (s *Snapshot) marked(version uint8) bool {
	return version == 4 && s.m4 || version == 6 && s.m6
}

// answersFor reports whether the director, not the host's own stack, answers
// for a.
func (s *Snapshot) answersFor(a netip.Addr) bool {
	return s.owned.has(a) && !s.Routes.IsLocal(a)
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

// Answered lists the owned addresses that the director itself answers for.
func (s *Snapshot) Answered() []netip.Addr {
	var list []netip.Addr
	for _, a := range s.Owned {
		if s.answersFor(a) {
			list = append(list, a)
		}
	}
	return list
}

// serverAt finds the masquerading server that packets from addr:port come from.
func (s *Snapshot) serverAt(proto ipvs.Protocol, addr netip.Addr, port uint16) *ipvs.RealServer {
	return later(s.endpoint[Endpoint{proto, addr, port}], s.endpoint[Endpoint{0, addr, port}])
}

// later is the server that was added after the other; each may be nil.
func later(a, b *ipvs.RealServer) *ipvs.RealServer {
	if a == nil || b != nil && b.Joined > a.Joined {
		return b
	}
	return a
}

// addrSet is a set of addresses for the frame path: open addressing, immutable.
type addrSet struct {
	slots []netip.Addr
	mask  uint32
}

func newAddrSet(addrs []netip.Addr) addrSet {
	size := 4
	for size < 2*len(addrs)+2 {
		size *= 2
	}
	s := addrSet{slots: make([]netip.Addr, size), mask: uint32(size - 1)}
	for _, a := range addrs {
		i := hashAddr(a) & s.mask
		for s.slots[i].IsValid() && s.slots[i] != a {
			i = (i + 1) & s.mask
		}
		s.slots[i] = a
	}
	return s
}

func (s *addrSet) has(a netip.Addr) bool {
	for i := hashAddr(a) & s.mask; s.slots[i].IsValid(); i = (i + 1) & s.mask {
		if s.slots[i] == a {
			return true
		}
	}
	return false
}

// hashAddr mixes every byte of a into the low bits: addresses of one network
// differ in the last bytes, which big-endian loads put where a product spreads
// them, and the product's upper half carries the first bytes down.
func hashAddr(a netip.Addr) uint32 {
	b := a.As16()
	h := binary.BigEndian.Uint64(b[:8])*0x9e3779b97f4a7c15 ^ binary.BigEndian.Uint64(b[8:])
	hi, lo := bits.Mul64(h, 0xd6e8feb86659fd93)
	return uint32((hi^lo)>>32) ^ uint32(hi)
}
