package control

import (
	"cmp"
	"net/netip"
	"slices"

	"usvs/director"
	"usvs/ipvs"
	"usvs/marks"
	"usvs/route"
)

// ownership is which addresses the director answers for and which frames the
// host's own stack must not see. What depends on the host carrying an address is
// for the kernel to find out: it knows of an address before anyone it tells, and
// would answer clients already.
//
// It follows services and servers change by change; what comes from mark rules
// and from the host's network is done anew when one of those changes.
type ownership struct {
	own Own

	virtual map[netip.Addr]int // how many services, rules and settings name an address
	owned   *director.Addrs
	hidden  *director.Addrs     // Hidden.Addrs
	service *director.Endpoints // Hidden.Services

	counts map[director.Endpoint]int // of masquerading servers, deleted ones included
	server *director.Endpoints       // Hidden.Servers

	rules  ruled
	routes *route.Table // for which the above was made

	managed  map[netip.Addr]struct{}         // by VRRP
	held     map[netip.Addr]director.Station // of managed addresses, those that are ours
	stations *director.Stations              // held, as snapshots have it
}

// ruled is what mark rules and fwmark services contribute.
type ruled struct {
	marks4, marks6 *marks.Ruleset        // for which this was made; nil: not yet
	addrs          []netip.Addr          // that rules name, and with them the configuration
	endpoints      []director.Endpoint   // in ownership.service
	marks          map[markedBy]struct{} // of services
	stale          bool                  // a service with a mark came or went

	prefixes       []netip.Prefix // Hidden's
	local4, local6 bool
}

// markedBy is what a fwmark service is found by.
type markedBy struct {
	family ipvs.Family
	mark   uint32
}

func newOwnership(own Own) ownership {
	return ownership{
		own: own, virtual: map[netip.Addr]int{},
		owned: director.NewAddrs(), hidden: director.NewAddrs(), service: director.NewEndpoints(),
		counts: map[director.Endpoint]int{}, server: director.NewEndpoints(),
		rules: ruled{marks: map[markedBy]struct{}{}},
		held:  map[netip.Addr]director.Station{}, stations: director.NewStations(),
	}
}

// addService takes in a service that was added.
func (o *ownership) addService(id ipvs.ServiceID) {
	if id.Mark != 0 {
		o.rules.marks[markedBy{id.Family, id.Mark}] = struct{}{}
		o.rules.stale = true
		return
	}
	o.claim(id.Addr)
	if o.whileLocal(id.Addr) {
		o.service.Add(serviceEndpoint(id))
	}
}

// removeService takes in that a service was deleted.
func (o *ownership) removeService(id ipvs.ServiceID) {
	if id.Mark != 0 {
		delete(o.rules.marks, markedBy{id.Family, id.Mark})
		o.rules.stale = true
		return
	}
	o.disclaim(id.Addr)
	o.service.Remove(serviceEndpoint(id))
}

func serviceEndpoint(id ipvs.ServiceID) director.Endpoint {
	return director.Endpoint{Protocol: id.Protocol, Addr: id.Addr, Port: id.Port}
}

// claim counts something that names a.
func (o *ownership) claim(a netip.Addr) {
	if !ownable(a) {
		return
	}
	if o.virtual[a]++; o.virtual[a] == 1 {
		o.settle(a)
	}
}

// settle decides about an address that something names.
func (o *ownership) settle(a netip.Addr) {
	local, anyway := o.local(a), o.ownOf(a) == OwnServices
	if anyway || local {
		o.owned.Add(a)
	} else {
		o.owned.Remove(a)
	}
	if anyway && !local {
		o.hidden.Add(a)
	} else {
		o.hidden.Remove(a)
	}
}

// disclaim takes back one claim.
func (o *ownership) disclaim(a netip.Addr) {
	if !ownable(a) {
		return
	}
	if o.virtual[a]--; o.virtual[a] > 0 {
		return
	}
	delete(o.virtual, a)
	o.owned.Remove(a)
	o.hidden.Remove(a)
}

// ownable leaves out addresses that no host answers for, though a service can
// have them.
func ownable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// local reports whether the host carries a.
func (o *ownership) local(a netip.Addr) bool {
	return o.routes != nil && o.routes.IsLocal(a)
}

// whileLocal reports whether packets to endpoints of a virtual address are
// hidden just while the host carries it. Else every packet to it is, if any.
func (o *ownership) whileLocal(a netip.Addr) bool {
	_, managed := o.managed[a]
	return ownable(a) && (o.own == OwnHost || managed || o.local(a))
}

// addServer takes in a server that was added, or edited.
func (o *ownership) addServer(rs *ipvs.RealServer) {
	if rs.Method() != ipvs.Masquerade {
		return
	}
	e := serverEndpoint(rs.Service().ID, rs)
	if o.counts[e]++; o.counts[e] == 1 {
		o.server.Add(e)
	}
}

// removeServer takes in that a server left the trash, or is about to be edited:
// the open connections of a deleted one are translated to their end.
func (o *ownership) removeServer(rs *ipvs.RealServer) {
	if rs.Method() != ipvs.Masquerade {
		return
	}
	e := serverEndpoint(rs.Service().ID, rs)
	if o.counts[e]--; o.counts[e] == 0 {
		delete(o.counts, e)
		o.server.Remove(e)
	}
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

// ownLocked brings the ownership in line with the host's network and the mark
// rules, and puts it into a snapshot.
func (c *Control) ownLocked(s *director.Snapshot) {
	o := &c.own
	if o.routes != c.routes {
		o.relocate(c.routes, c.services)
	}
	if r := &o.rules; r.stale || r.marks4 != c.marks4 || r.marks6 != c.marks6 {
		o.rule(c.marks4, c.marks6, c.cfg.VIPs)
	}
	s.Owned = o.owned.Freeze()
	s.Hidden = &director.Hidden{
		Addrs: o.hidden.Freeze(), Services: o.service.Freeze(), Servers: o.server.Freeze(),
		Prefixes: o.rules.prefixes, Local4: o.rules.local4, Local6: o.rules.local6,
	}
	s.Stations = o.stations.Freeze()
}

// relocate starts anew with what depends on the host's addresses.
func (o *ownership) relocate(routes *route.Table, services []*service) {
	o.routes, o.virtual = routes, map[netip.Addr]int{}
	o.owned, o.hidden, o.service = director.NewAddrs(), director.NewAddrs(), director.NewEndpoints()
	for _, svc := range services {
		o.addService(svc.vs.ID)
	}
	o.stations = director.NewStations()
	for a, st := range o.held {
		o.hold(a, st)
	}
	o.rules.addrs, o.rules.endpoints, o.rules.stale = nil, nil, true
}

// rule takes in the mark rules, and the addresses that were configured.
func (o *ownership) rule(marks4, marks6 *marks.Ruleset, vips []netip.Addr) {
	r := &o.rules
	addrs := slices.Concat(marks4.SingleDests(), marks6.SingleDests(), vips)
	for _, a := range addrs {
		o.claim(a)
	}
	for _, a := range r.addrs {
		o.disclaim(a)
	}
	for _, e := range r.endpoints {
		o.service.Remove(e)
	}
	r.marks4, r.marks6, r.addrs, r.stale = marks4, marks6, addrs, false
	r.prefixes, r.endpoints = nil, nil
	var marked4, marked6 []netip.Prefix
	marked4, r.local4 = r.marked(ipvs.IPv4, marks4)
	marked6, r.local6 = r.marked(ipvs.IPv6, marks6)
	for _, pfx := range slices.Concat(marked4, marked6) {
		if !pfx.IsSingleIP() {
			r.prefixes = append(r.prefixes, pfx)
		} else if a := pfx.Addr(); o.virtual[a] > 0 && o.whileLocal(a) {
			e := director.Endpoint{Addr: a}
			r.endpoints = append(r.endpoints, e)
			o.service.Add(e)
		}
	}
}

// marked lists, sorted, the destinations that a rule may give a mark that a
// service takes. With a rule that names none it may be any address the host
// carries.
func (r *ruled) marked(f ipvs.Family, rules *marks.Ruleset) (out []netip.Prefix, anyLocal bool) {
	for _, m := range rules.Markings() {
		switch {
		case !r.taken(f, m):
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

// taken reports whether there is a service for a mark that m may give.
func (r *ruled) taken(f ipvs.Family, m marks.Marking) bool {
	for by := range r.marks {
		if by.family == f && m.Gives(by.mark) {
			return true
		}
	}
	return false
}
