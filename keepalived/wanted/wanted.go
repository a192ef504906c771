package wanted

import (
	"cmp"
	"net/netip"
	"time"

	"usvs/ipvs"
	"usvs/keepalived"
)

// MaxServices is how many services a virtual_server_group may stand for. What
// exceeds them is left out: a group of a whole network of IPv6 has no end.
const MaxServices = 1 << 16

// VirtualServer is what a virtual_server makes of IPVS.
type VirtualServer struct {
	Conf *keepalived.VirtualServer
	// Services are one, or those of its group.
	Services []Service
	// Truncated is whether the group has more than MaxServices.
	Truncated bool
}

// Service is a virtual service with its real servers.
type Service struct {
	ID      ipvs.ServiceID
	Spec    ipvs.ServiceSpec
	Servers []Server // one for each of Conf.RealServers, in their order
	Sorry   *Server  // nil: there is none
}

// Server is a real server, or a sorry server.
type Server struct {
	Conf *keepalived.RealServer // nil: a sorry server
	ID   ipvs.ServerID
	Spec ipvs.ServerSpec
}

// VirtualServers returns what a configuration wants, in its order.
func VirtualServers(c *keepalived.Config) []VirtualServer {
	groups := GroupsOf(c)
	all := make([]VirtualServer, 0, len(c.VirtualServers))
	for _, conf := range c.VirtualServers {
		all = append(all, groups.VirtualServer(conf))
	}
	return all
}

// Groups are the virtual_server_groups of a configuration by their names.
type Groups map[string]*keepalived.VirtualServerGroup

// GroupsOf returns the groups of a configuration.
func GroupsOf(c *keepalived.Config) Groups {
	groups := make(Groups, len(c.ServerGroups))
	for _, g := range c.ServerGroups {
		groups[g.Name] = g
	}
	return groups
}

// VirtualServer returns what one virtual server of the configuration wants.
func (g Groups) VirtualServer(conf *keepalived.VirtualServer) VirtualServer {
	return virtualServer(conf, g[conf.Group])
}

func virtualServer(conf *keepalived.VirtualServer, group *keepalived.VirtualServerGroup) VirtualServer {
	vs := VirtualServer{Conf: conf}
	var ids []ipvs.ServiceID
	if conf.Group == "" {
		ids = []ipvs.ServiceID{single(conf)}
	} else if group != nil {
		ids, vs.Truncated = grouped(conf, group)
	}
	for _, id := range ids {
		vs.Services = append(vs.Services, service(conf, id))
	}
	return vs
}

func service(conf *keepalived.VirtualServer, id ipvs.ServiceID) Service {
	s := Service{ID: id, Spec: serviceSpec(conf, id.Family)}
	for _, rs := range conf.RealServers {
		spec := forwarding(rs.Forwarding.V, rs.Weight.V)
		spec.UpperThreshold, spec.LowerThreshold = uint32(rs.UpperThreshold.V), uint32(rs.LowerThreshold.V)
		s.Servers = append(s.Servers, Server{Conf: rs, ID: serverID(id, netip.AddrPortFrom(rs.RIP, rs.Port), spec.Method), Spec: spec})
	}
	if conf.SorryServer.Set() {
		spec := forwarding(conf.SorryForwarding.V, 1)
		s.Sorry = &Server{ID: serverID(id, conf.SorryServer.V, spec.Method), Spec: spec}
	}
	return s
}

// serverID identifies a server. Where the method cannot change the port, it is
// the service's; a mark has none.
func serverID(svc ipvs.ServiceID, at netip.AddrPort, method ipvs.ForwardMethod) ipvs.ServerID {
	id := ipvs.ServerID{Addr: at.Addr(), Port: at.Port()}
	if method != ipvs.Masquerade {
		id.Port = svc.Port
	}
	return id
}

// single identifies the service of a virtual_server without a group.
func single(conf *keepalived.VirtualServer) ipvs.ServiceID {
	if !conf.VIP.IsValid() {
		return ipvs.ServiceID{Family: markFamily(conf, ""), Mark: conf.Mark}
	}
	return address(conf, conf.VIP, conf.Port)
}

func address(conf *keepalived.VirtualServer, a netip.Addr, port uint16) ipvs.ServiceID {
	return ipvs.ServiceID{Family: ipvs.FamilyOf(a), Protocol: protocols[conf.Protocol.V], Addr: a, Port: port}
}

var protocols = map[string]ipvs.Protocol{"TCP": ipvs.TCP, "UDP": ipvs.UDP, "SCTP": ipvs.SCTP}

// markFamily is the address family of a service that a mark selects: the mark's
// in a group, else the virtual server's; IPv4 if nothing says.
func markFamily(conf *keepalived.VirtualServer, family string) ipvs.Family {
	if cmp.Or(family, conf.Family.V) == "inet6" {
		return ipvs.IPv6
	}
	return ipvs.IPv4
}

// grouped identifies the services of a group: those with addresses first, one
// for each address, then those with marks.
func grouped(conf *keepalived.VirtualServer, group *keepalived.VirtualServerGroup) (ids []ipvs.ServiceID, truncated bool) {
	for _, e := range group.Entries {
		if !e.First.IsValid() {
			continue
		}
		for a := e.First; ; a = a.Next() {
			if len(ids) == MaxServices {
				return ids, true
			}
			ids = append(ids, address(conf, a, e.Port))
			if a == e.Last {
				break
			}
		}
	}
	for _, e := range group.Entries {
		if e.First.IsValid() {
			continue
		}
		if len(ids) == MaxServices {
			return ids, true
		}
		ids = append(ids, ipvs.ServiceID{Family: markFamily(conf, e.Family), Mark: e.Mark})
	}
	return ids, false
}

func serviceSpec(conf *keepalived.VirtualServer, family ipvs.Family) ipvs.ServiceSpec {
	spec := ipvs.ServiceSpec{Scheduler: conf.Scheduler.V, Flags: ipvs.FlagHashed, PE: conf.PersistenceEngine.V}
	if family == ipvs.IPv6 {
		spec.PrefixLen = 128
	} else {
		spec.Netmask = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	if conf.Persistence.V > 0 {
		spec.Flags |= ipvs.FlagPersistent
		spec.Timeout = uint32(conf.Persistence.V / time.Second)
		granularity(&spec, conf, family)
	}
	if conf.OnePacket.V {
		spec.Flags |= ipvs.FlagOnePacket
	}
	for _, f := range conf.Flags {
		spec.Flags |= flags[f.V]
	}
	return spec
}

// granularity is not for groups: keepalived 2.2.7 does not hand it on.
func granularity(spec *ipvs.ServiceSpec, conf *keepalived.VirtualServer, family ipvs.Family) {
	switch {
	case !conf.PersistenceGranularity.Set() || conf.Group != "":
	case family == ipvs.IPv6:
		spec.PrefixLen = uint8(conf.PersistenceGranularity.V)
	default:
		spec.Netmask = conf.PersistenceMask
	}
}

// flags of schedulers; sh and mh read the first as fallback, the second as port.
var flags = map[string]ipvs.ServiceFlags{
	"flag-1": ipvs.FlagSched1, "sh-fallback": ipvs.FlagSched1, "mh-fallback": ipvs.FlagSched1,
	"flag-2": ipvs.FlagSched2, "sh-port": ipvs.FlagSched2, "mh-port": ipvs.FlagSched2,
	"flag-3": ipvs.FlagSched3,
}

func forwarding(f keepalived.Forwarding, weight int) ipvs.ServerSpec {
	return ipvs.ServerSpec{
		Method: methods[f.Method],
		Weight: int32(weight),
		Tunnel: ipvs.TunnelParams{Type: tunnels[f.TunnelType], Port: f.TunnelPort, Flags: checksums[f.Checksum]},
	}
}

var (
	methods   = map[string]ipvs.ForwardMethod{"NAT": ipvs.Masquerade, "DR": ipvs.DirectRoute, "TUN": ipvs.Tunnel}
	tunnels   = map[string]ipvs.TunnelType{"gue": ipvs.GUE, "gre": ipvs.GRE}
	checksums = map[string]uint16{"csum": ipvs.TunnelCsum, "remcsum": ipvs.TunnelRemCsum}
)
