package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/route"
	"usvs/wire"
)

// routingTables are those consulted, in the order of a host's default rules.
var routingTables = []int{unix.RT_TABLE_LOCAL, unix.RT_TABLE_MAIN, unix.RT_TABLE_DEFAULT}

// inventory is what netlink lists.
type inventory struct {
	links  []netlink.Link
	addrs  []netlink.Addr
	routes []netlink.Route // of routingTables only, of both families
}

// readInventory lists the namespace. A list that changed while it was read is
// read again by the caller: the change also comes as a notification.
func readInventory(nl *netlink.Handle) (inv inventory, err error) {
	if inv.links, err = nl.LinkList(); err != nil && !interrupted(err) {
		return inv, fmt.Errorf("list interfaces: %w", err)
	}
	if inv.addrs, err = nl.AddrList(nil, netlink.FAMILY_ALL); err != nil && !interrupted(err) {
		return inv, fmt.Errorf("list addresses: %w", err)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if err := inv.readRoutes(nl, family); err != nil && !interrupted(err) && !unsupported(err) {
			return inv, fmt.Errorf("list routes: %w", err)
		}
	}
	return inv, nil
}

func interrupted(err error) bool { return errors.Is(err, netlink.ErrDumpInterrupted) }

// unsupported reports whether the kernel lacks what was asked for, as it does
// IPv6 after ipv6.disable=1.
func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT)
}

func (inv *inventory) readRoutes(nl *netlink.Handle, family int) error {
	all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	return nl.RouteListFilteredIter(family, all, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
		if slices.Contains(routingTables, r.Table) {
			inv.routes = append(inv.routes, r)
		}
		return true
	})
}

// config translates an inventory for a director that runs on the named
// interfaces, in port order. Also returned are their indexes, 0 for one that
// does not exist: a re-created interface may look the same otherwise.
func (inv *inventory) config(names []string) (route.Config, []int) {
	cfg := route.Config{Interfaces: make([]route.Interface, len(names))}
	indexes := make([]int, len(names))
	ports := map[int]int{} // interface index to port
	for port, name := range names {
		cfg.Interfaces[port].Name = name
		i := slices.IndexFunc(inv.links, func(l netlink.Link) bool { return l.Attrs().Name == name })
		if i < 0 {
			continue
		}
		attrs := inv.links[i].Attrs()
		cfg.Interfaces[port], indexes[port] = interfaceOf(attrs), attrs.Index
		ports[attrs.Index] = port
	}
	inv.addAddrs(&cfg, ports)
	inv.addRoutes(&cfg, ports)
	leaveByTUN(&cfg)
	return cfg, indexes
}

// leaveByTUN has packets for interfaces the director does not run on leave by
// its TUN device, if it has one: what comes out there the host forwards.
func leaveByTUN(cfg *route.Config) {
	port := slices.IndexFunc(cfg.Interfaces, func(i route.Interface) bool { return i.Up && i.Medium == wire.IP })
	if port < 0 {
		return
	}
	for i := range cfg.Routes {
		if r := &cfg.Routes[i]; r.Kind == route.Foreign {
			r.Kind, r.Port = route.Unicast, port
		}
	}
}

func interfaceOf(attrs *netlink.LinkAttrs) route.Interface {
	ifc := route.Interface{
		Name:   attrs.Name,
		Medium: wire.IP,
		MTU:    attrs.MTU,
		Up:     attrs.Flags&net.FlagUp != 0 && attrs.RawFlags&unix.IFF_RUNNING != 0,
	}
	if attrs.EncapType == "ether" || attrs.EncapType == "loopback" {
		ifc.Medium = wire.Ethernet
	}
	copy(ifc.MAC[:], attrs.HardwareAddr)
	return ifc
}

func (inv *inventory) addAddrs(cfg *route.Config, ports map[int]int) {
	for _, a := range inv.addrs {
		prefix, ok := prefixOf(a.IPNet)
		if !ok || !usable(a.Flags) {
			continue
		}
		if port, ours := ports[a.LinkIndex]; ours {
			cfg.Interfaces[port].Addrs = append(cfg.Interfaces[port].Addrs, prefix)
			continue
		}
		cfg.Locals = append(cfg.Locals, prefix.Addr())
	}
}

// usable reports whether the kernel receives packets to an address: not while
// it looks for duplicates, nor if it found one (RFC 4862 section 5.4).
func usable(flags int) bool {
	if flags&unix.IFA_F_OPTIMISTIC != 0 { // RFC 4429
		return true
	}
	return flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0
}

// addRoutes merges the tables into one. An entry of a later table counts only
// where no earlier table has an entry that covers it: the kernel never gets to it.
func (inv *inventory) addRoutes(cfg *route.Config, ports map[int]int) {
	covered := prefixSet{prefixes: map[netip.Prefix]struct{}{}}
	for _, table := range routingTables {
		first := len(cfg.Routes)
		for i := range inv.routes {
			if inv.routes[i].Table != table {
				continue
			}
			r, ok := routeOf(&inv.routes[i], ports)
			if !ok || covered.covers(r.Prefix) {
				continue
			}
			if r.Via.IsValid() && r.Via.Is4() != r.Prefix.Addr().Is4() && !r.Src.IsValid() {
				r.Src = cfg.Interfaces[r.Port].SourceFor(r.Prefix.Addr()) // not of the gateway's family
			}
			cfg.Routes = append(cfg.Routes, r)
		}
		for _, r := range cfg.Routes[first:] {
			covered.add(r.Prefix)
		}
	}
}

// routeOf translates one entry. It refuses those for a type of service, which
// the director does not look at, and those the kernel does not use either.
func routeOf(r *netlink.Route, ports map[int]int) (route.Route, bool) {
	prefix, ok := prefixOf(r.Dst)
	if !ok || r.Tos != 0 || r.Flags&unix.RTNH_F_DEAD != 0 {
		return route.Route{}, false
	}
	out := route.Route{Prefix: prefix, Src: addrOf(r.Src), MTU: r.MTU, Metric: r.Priority}
	switch r.Type {
	case unix.RTN_UNICAST:
		index, via := nextHop(r)
		port, ours := ports[index]
		if !ours {
			out.Kind = route.Foreign
			return out, true
		}
		out.Kind, out.Port, out.Via = route.Unicast, port, via
	case unix.RTN_LOCAL, unix.RTN_ANYCAST:
		out.Kind = route.Local
	default: // blackhole, unreachable, prohibit, throw; and broadcast and multicast, which are not forwarded
		out.Kind = route.None
	}
	return out, true
}

// nextHop returns the interface and gateway of a route, of the first usable
// next hop if it has several.
func nextHop(r *netlink.Route) (index int, via netip.Addr) {
	for _, hop := range r.MultiPath {
		if hop.Flags&unix.RTNH_F_DEAD == 0 {
			return hop.LinkIndex, gateway(hop.Gw, hop.Via)
		}
	}
	return r.LinkIndex, gateway(r.Gw, r.Via)
}

// gateway is of the route's family, or, in an IPv4 route, an IPv6 neighbour
// (RFC 5549).
func gateway(gw net.IP, other netlink.Destination) netip.Addr {
	if via, ok := other.(*netlink.Via); ok && via != nil {
		return addrOf(via.Addr)
	}
	return addrOf(gw)
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ones := addrOf(n.IP), 0
	if a.IsValid() {
		ones, _ = n.Mask.Size()
	}
	p := netip.PrefixFrom(a, ones)
	return p, p.IsValid()
}

// prefixSet answers whether a prefix lies in one of its members.
type prefixSet struct {
	prefixes map[netip.Prefix]struct{}
	lengths  [2][129]bool // prefix lengths that occur, IPv4 and IPv6
}

func (s *prefixSet) add(p netip.Prefix) {
	s.prefixes[p.Masked()] = struct{}{}
	s.lengths[familyIndex(p.Addr())][p.Bits()] = true
}

func (s *prefixSet) covers(p netip.Prefix) bool {
	lengths := &s.lengths[familyIndex(p.Addr())]
	for bits := 0; bits <= p.Bits(); bits++ {
		if !lengths[bits] {
			continue
		}
		if _, ok := s.prefixes[netip.PrefixFrom(p.Addr(), bits).Masked()]; ok {
			return true
		}
	}
	return false
}
