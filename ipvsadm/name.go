package ipvsadm

import (
	"net/netip"
	"strconv"

	"usvs/ipvs"
)

// names writes addresses and ports, by name where names are wanted and known.
type names struct {
	resolver Resolver // nil: numeric
}

func newNames(r Resolver, numeric bool) names {
	if numeric {
		return names{}
	}
	return names{resolver: r}
}

// maxEndpoint is where the original's buffer for host:port ends, in bytes. No
// numeric one is as long; a long host name loses its port to it.
const maxEndpoint = 59

// endpoint writes host:port, an IPv6 host in brackets.
func (n names) endpoint(a netip.Addr, port uint16, proto ipvs.Protocol) string {
	host := n.host(a)
	if a.Is6() {
		host = "[" + host + "]"
	}
	return cut(host+":"+n.port(port, proto), maxEndpoint)
}

func (n names) host(a netip.Addr) string {
	if n.resolver != nil {
		if name, ok := n.resolver.LookupAddr(a); ok {
			return name
		}
	}
	return formatAddr(a)
}

func (n names) port(port uint16, proto ipvs.Protocol) string {
	if n.resolver != nil && port != 0 {
		if name, ok := n.resolver.ServiceName(port, proto); ok {
			return name
		}
	}
	return strconv.Itoa(int(port))
}
