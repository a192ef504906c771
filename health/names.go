package health

import (
	"fmt"
	"net/netip"

	"usvs/ipvs"
)

// protocolName is how keepalived's messages call a protocol.
func protocolName(p ipvs.Protocol) string {
	switch p {
	case ipvs.TCP:
		return "tcp"
	case ipvs.UDP:
		return "udp"
	case ipvs.SCTP:
		return "sctp"
	}
	return "none"
}

// endpointName is an address and a port as keepalived's messages have them.
func endpointName(addr netip.Addr, p ipvs.Protocol, port uint16) string {
	return fmt.Sprintf("[%v]:%s:%d", addr, protocolName(p), port)
}

// groupIndex tells the virtual servers of one group apart.
func groupIndex(p ipvs.Protocol) int {
	switch p {
	case ipvs.UDP:
		return 1
	case ipvs.SCTP:
		return 2
	}
	return 0
}

// serviceName is what messages call a virtual server.
func serviceName(vs *VirtualServer) string {
	if vs.Group != "" {
		return fmt.Sprintf("[%s]:%d", vs.Group, groupIndex(vs.Protocol))
	}
	if len(vs.Services) == 0 {
		return "[]"
	}
	return memberName(vs.Services[0].ID)
}

// memberName is what messages call a service of a group.
func memberName(id ipvs.ServiceID) string {
	if id.Mark != 0 {
		return fmt.Sprintf("FWM %d", id.Mark)
	}
	return endpointName(id.Addr, id.Protocol, id.Port)
}
