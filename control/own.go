package control

import (
	"cmp"
	"net/netip"
	"slices"

	"usvs/director"
	"usvs/ipvs"
	"usvs/marks"
)

// ownedLocked lists the addresses the director answers for, sorted.
func (c *Control) ownedLocked() []netip.Addr {
	owned := make([]netip.Addr, 0, len(c.services))
	add := func(a netip.Addr) {
		if ownable(a) && (c.cfg.Own == OwnServices || c.local(a)) {
			owned = append(owned, a)
		}
	}
	for _, svc := range c.services {
		if svc.vs.ID.Mark == 0 {
			add(svc.vs.ID.Addr)
		}
	}
	for _, a := range slices.Concat(c.marks4.SingleDests(), c.marks6.SingleDests(), c.cfg.VIPs) {
		add(a)
	}
	slices.SortFunc(owned, netip.Addr.Compare)
	return slices.Compact(owned)
}

// ownable leaves out addresses that no host answers for, though a service can
// have them.
func ownable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// local reports whether the host carries a.
func (c *Control) local(a netip.Addr) bool {
	return c.routes != nil && c.routes.IsLocal(a)
}

// hiddenLocked says which frames the host's own stack must not see.
func (c *Control) hiddenLocked(owned []netip.Addr) *director.Hidden {
	h := &director.Hidden{
		Addrs:    make(map[netip.Addr]struct{}, len(owned)),
		Services: map[director.Endpoint]struct{}{},
		Servers:  map[director.Endpoint]struct{}{},
	}
	for _, a := range owned {
		if !c.local(a) {
			h.Addrs[a] = struct{}{}
		}
	}
	for _, svc := range c.services {
		id := svc.vs.ID
		if id.Mark == 0 && contains(owned, id.Addr) && c.local(id.Addr) {
			h.Services[director.Endpoint{Protocol: id.Protocol, Addr: id.Addr, Port: id.Port}] = struct{}{}
		}
		for _, rs := range svc.reals {
			if rs.Method() == ipvs.Masquerade {
				h.Servers[serverEndpoint(id, rs)] = struct{}{}
			}
		}
	}
	for _, srv := range c.trash { // whose open connections are translated to their end
		if srv.rs.Method() == ipvs.Masquerade {
			h.Servers[serverEndpoint(srv.rs.Service().ID, srv.rs)] = struct{}{}
		}
	}
	h.Prefixes = append(c.markedLocked(ipvs.IPv4, c.marks4, owned), c.markedLocked(ipvs.IPv6, c.marks6, owned)...)
	return h
}

func contains(owned []netip.Addr, a netip.Addr) bool {
	_, ok := slices.BinarySearchFunc(owned, a, netip.Addr.Compare)
	return ok
}

// markedLocked lists, sorted, the destinations that a rule may give a mark
// that a service takes. A rule without a destination marks what is owned.
func (c *Control) markedLocked(f ipvs.Family, rules *marks.Ruleset, owned []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	everything := false
	for _, m := range rules.Markings() {
		switch {
		case !c.takenLocked(f, m):
		case !m.Dst.IsValid():
			everything = true
		case m.Dst.IsSingleIP() && !contains(owned, m.Dst.Addr()): // not on this host
		default:
			out = append(out, m.Dst)
		}
	}
	if everything {
		for _, a := range owned {
			if ipvs.FamilyOf(a) == f {
				out = append(out, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	slices.SortFunc(out, comparePrefixes)
	return slices.Compact(out)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// takenLocked reports whether there is a service for a mark that m may give.
func (c *Control) takenLocked(f ipvs.Family, m marks.Marking) bool {
	return slices.ContainsFunc(c.services, func(svc *service) bool {
		id := svc.vs.ID
		return id.Mark != 0 && id.Family == f && m.Gives(id.Mark)
	})
}

// serverEndpoint is where a masquerading server's packets come from. A service
// for every port or with a mark may have kept the port of the client's packet,
// a mark also any protocol.
func serverEndpoint(svc ipvs.ServiceID, rs *ipvs.RealServer) director.Endpoint {
	e := director.Endpoint{Protocol: svc.Protocol, Addr: rs.ID.Addr, Port: rs.ID.Port}
	if svc.Mark != 0 {
		e.Protocol = 0
	}
	if svc.Mark != 0 || svc.Port == 0 {
		e.Port = 0
	}
	return e
}
