package director

import (
	"net/netip"
	"slices"

	"usvs/ipvs"
	"usvs/wire"
)

// Hidden says which received frames the host's own stack must not see, because
// the director handles them or decides about them. The host is kept from
// exactly these; those among them that the director declines are handed back.
// It is immutable once it is published.
type Hidden struct {
	// Addrs are owned by the director and carried by no interface of the host:
	// every IP packet to them is hidden.
	Addrs AddrSet
	// Services: packets to these endpoints, and later fragments (which carry
	// no port) of that protocol to their addresses, while the host carries the
	// address. Protocol 0 stands for TCP, UDP and SCTP.
	Services EndpointSet
	// Prefixes: TCP, UDP and SCTP to these, because a mark rule may apply.
	Prefixes []netip.Prefix
	// Local4 and Local6: TCP, UDP and SCTP to every address the host carries,
	// because a mark rule without a destination may apply.
	Local4, Local6 bool
	// Servers: packets from these endpoints (NAT servers), later fragments of
	// that protocol from their addresses, and ICMP errors from anyone, all
	// unless addressed to the host itself.
	Servers EndpointSet
}

// Same reports whether two say the same, without looking at what they share.
func (h *Hidden) Same(o *Hidden) bool {
	if h.Local4 != o.Local4 || h.Local6 != o.Local6 || !slices.Equal(h.Prefixes, o.Prefixes) {
		return false
	}
	same := true
	DiffAddrs(&h.Addrs, &o.Addrs, func(netip.Addr) { same = false }, func(netip.Addr) { same = false })
	DiffEndpoints(&h.Services, &o.Services, func(Endpoint) { same = false })
	DiffEndpoints(&h.Servers, &o.Servers, func(Endpoint) { same = false })
	return same
}

// Hides reports whether the host's stack does not see p, received in a frame
// to the interface's own MAC. local tells whether an address is the host's own.
// A VLAN tag means another interface of the host: such frames are never hidden.
func (h *Hidden) Hides(p *wire.Packet, local func(netip.Addr) bool) bool {
	if h == nil || p.Version == 0 || p.L3 > wire.EthernetLen {
		return false
	}
	if h.Addrs.Has(p.Dst) {
		return true
	}
	balanced := p.Proto == wire.ProtoTCP || p.Proto == wire.ProtoUDP || p.Proto == wire.ProtoSCTP
	if balanced {
		if contains(&h.Services, p.Proto, p.Dst, p.DstPort, p.FragOffset != 0) && local(p.Dst) {
			return true
		}
		if h.inPrefixes(p.Dst) || h.hidesLocal(p.Version) && local(p.Dst) {
			return true
		}
	}
	if h.Servers.Len() == 0 || local(p.Dst) {
		return false
	}
	if balanced {
		return contains(&h.Servers, p.Proto, p.Src, p.SrcPort, p.FragOffset != 0)
	}
	return p.IsICMPError()
}

func (h *Hidden) hidesLocal(version uint8) bool {
	return version == 4 && h.Local4 || version == 6 && h.Local6
}

// inPrefixes reports whether a mark rule names the address.
func (h *Hidden) inPrefixes(a netip.Addr) bool {
	if h == nil {
		return false
	}
	for _, pfx := range h.Prefixes {
		if pfx.Contains(a) {
			return true
		}
	}
	return false
}

func contains(set *EndpointSet, proto uint8, a netip.Addr, port uint16, laterFragment bool) bool {
	if set.Len() == 0 {
		return false
	}
	for _, pr := range [2]ipvs.Protocol{ipvs.Protocol(proto), 0} {
		if laterFragment && set.HasAddr(pr, a) || set.Has(Endpoint{pr, a, 0}) || !laterFragment && set.Has(Endpoint{pr, a, port}) {
			return true
		}
	}
	return false
}
