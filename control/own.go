package control

import (
	"cmp"
	"net/netip"
	"slices"

	"usvs/director"
	"usvs/ipvs"
	"usvs/marks"
)

// virtualLocked lists the addresses of services, rules and configuration, sorted:
// the director answers for them, or does while the host carries them.
func (c *Control) virtualLocked() []netip.Addr {
	virtual := make([]netip.Addr, 0, len(c.services))
	add := func(a netip.Addr) {
		if ownable(a) {
			virtual = append(virtual, a)
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
	slices.SortFunc(virtual, netip.Addr.Compare)
	return slices.Compact(virtual)
}

// owned are those of the virtual addresses that the director answers for now.
func (c *Control) owned(virtual []netip.Addr) []netip.Addr {
	if c.cfg.Own == OwnServices {
		return virtual
	}
	return slices.DeleteFunc(slices.Clone(virtual), func(a netip.Addr) bool { return !c.local(a) })
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

// hiddenLocked says which frames the host's own stack must not see. What
// depends on the host carrying an address is for the kernel to find out: it
// knows of an address before anyone it tells, and would answer clients already.
func (c *Control) hiddenLocked(virtual, owned []netip.Addr) *director.Hidden {
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
	whileLocal := func(e director.Endpoint) {
		if _, always := h.Addrs[e.Addr]; !always && contains(virtual, e.Addr) {
			h.Services[e] = struct{}{}
		}
	}
	for _, svc := range c.services {
		id := svc.vs.ID
		if id.Mark == 0 {
			whileLocal(director.Endpoint{Protocol: id.Protocol, Addr: id.Addr, Port: id.Port})
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
	var marked4, marked6 []netip.Prefix
	marked4, h.Local4 = c.markedLocked(ipvs.IPv4, c.marks4)
	marked6, h.Local6 = c.markedLocked(ipvs.IPv6, c.marks6)
	for _, pfx := range slices.Concat(marked4, marked6) {
		if pfx.IsSingleIP() {
			whileLocal(director.Endpoint{Addr: pfx.Addr()})
			continue
		}
		h.Prefixes = append(h.Prefixes, pfx)
	}
	return h
}

func contains(sorted []netip.Addr, a netip.Addr) bool {
	_, ok := slices.BinarySearchFunc(sorted, a, netip.Addr.Compare)
	return ok
}

// markedLocked lists, sorted, the destinations that a rule may give a mark
// that a service takes. With a rule that names none it may be any address the
// host carries.
func (c *Control) markedLocked(f ipvs.Family, rules *marks.Ruleset) (out []netip.Prefix, anyLocal bool) {
	for _, m := range rules.Markings() {
		switch {
		case !c.takenLocked(f, m):
		case !m.Dst.IsValid():
			anyLocal = true
		default:
			out = append(out, m.Dst)
		}
	}
	slices.SortFunc(out, comparePrefixes)
	return slices.Compact(out), anyLocal
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
