package netsim

import (
	"fmt"
	"net/netip"
	"slices"

	"usvs/route"
	"usvs/wire"
)

// addAddr gives an interface an address.
func (h *Host) addAddr(p *Port, a netip.Prefix) error {
	if slices.Contains(p.addrs, a) {
		return fmt.Errorf("%s has %v already", p.name, a)
	}
	p.addrs = append(p.addrs, a)
	return nil
}

// delAddr takes an address away. A prefix length of one address, which is what
// a bare address is read as, matches any.
func (h *Host) delAddr(p *Port, a netip.Prefix) error {
	i := slices.IndexFunc(p.addrs, func(b netip.Prefix) bool {
		return b == a || b.Addr() == a.Addr() && a.IsSingleIP()
	})
	if i < 0 {
		return fmt.Errorf("%s does not have %v", p.name, a)
	}
	p.addrs = slices.Delete(slices.Clone(p.addrs), i, i+1)
	return nil
}

// AddAddr gives the interface an address, written with its prefix length.
func (p *Port) AddAddr(addr string) error {
	return p.change(addr, (*Host).addAddr)
}

// DelAddr takes an address away from the interface.
func (p *Port) DelAddr(addr string) error {
	return p.change(addr, (*Host).delAddr)
}

func (p *Port) change(addr string, do func(*Host, *Port, netip.Prefix) error) error {
	h := hostOf(p.node)
	if h == nil {
		return fmt.Errorf("%v is no host's interface", p)
	}
	a, err := parsePrefix(addr)
	if err != nil {
		return err
	}
	if err := do(h, p, a); err != nil {
		return err
	}
	h.reroute()
	return nil
}

// hostOf is the stack of a node, or nil if it has none.
func hostOf(n Node) *Host {
	switch n := n.(type) {
	case *Host:
		return n
	case *Director:
		return n.Host
	}
	return nil
}

// SetUp takes the port up or down. A switch forgets what was behind it; a host
// loses its neighbours, routes by that interface, and IPv6 addresses, as a
// Linux host does.
func (p *Port) SetUp(up bool) {
	if p.down == !up {
		return
	}
	p.down = !up
	p.net.logf(p.node.Name(), "%s is %s", p.name, upDown(up))
	if !up {
		p.lostCarrier()
	}
	h := hostOf(p.node)
	if h == nil {
		return
	}
	if p.index >= 0 {
		h.switched(p, up)
	}
	h.reroute()
}

// switched does to routes and IPv6 addresses what Linux does to them.
func (h *Host) switched(p *Port, up bool) {
	if up {
		p.addrs = append(p.addrs, netip.PrefixFrom(linkLocal(p.mac), 64))
		return
	}
	h.static = slices.DeleteFunc(h.static, func(r route.Route) bool { return r.Kind == route.Unicast && r.Port == p.index })
	p.addrs = slices.DeleteFunc(p.Addrs(), func(a netip.Prefix) bool { return a.Addr().Is6() })
}

// SetMAC gives the interface another Ethernet address.
func (p *Port) SetMAC(mac wire.MAC) {
	if h := hostOf(p.node); h != nil {
		p.mac = mac
		h.reroute()
	}
}

// SetMTU sets the longest IP packet that the interface sends.
func (p *Port) SetMTU(mtu int) {
	p.mtu = mtu
	if h := hostOf(p.node); h != nil {
		h.reroute()
	}
}

// AddRoute adds a route to a prefix ("default" is one) by way of a gateway,
// which must be a neighbour, or, if the gateway is not valid, by an interface.
func (h *Host) AddRoute(to string, via netip.Addr, dev *Port) error {
	prefix, err := parseDestination(to, via.Is6() && !via.Is4In6())
	if err != nil {
		return err
	}
	r := route.Route{Prefix: prefix, Kind: route.Unicast, Via: via}
	switch {
	case dev != nil && dev.index >= 0:
		r.Port = dev.index
	case dev != nil && dev.kind == dummy:
		r.Kind = route.Foreign
	case dev != nil:
		r.Kind = route.Local // ip route add local PREFIX dev lo
	default:
		hop := h.table.Lookup(via)
		if hop.Kind != route.Unicast {
			return fmt.Errorf("nexthop %v is not a neighbour", via)
		}
		r.Port = hop.Port
	}
	return h.addRoute(r)
}

func (h *Host) addRoute(r route.Route) error {
	if slices.ContainsFunc(h.static, func(o route.Route) bool { return o.Prefix == r.Prefix && o.Metric == r.Metric }) {
		return fmt.Errorf("there is a route to %v already", r.Prefix)
	}
	h.static = append(h.static, r)
	h.reroute()
	return nil
}

// DelRoute removes the routes to a prefix.
func (h *Host) DelRoute(to string, v6 bool) error {
	prefix, err := parseDestination(to, v6)
	if err != nil {
		return err
	}
	before := len(h.static)
	h.static = slices.DeleteFunc(h.static, func(r route.Route) bool { return r.Prefix == prefix })
	if len(h.static) == before {
		return fmt.Errorf("there is no route to %v", prefix)
	}
	h.reroute()
	return nil
}

// Routes is the host's routing table.
func (h *Host) Routes() *route.Table { return h.table }

// reroute computes the routing table after a change.
func (h *Host) reroute() {
	cfg := route.Config{Routes: append([]route.Route{
		{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Kind: route.Local},
	}, h.static...)}
	h.broadcasts = h.broadcasts[:0]
	for _, p := range h.devices {
		if p.index < 0 {
			for _, a := range p.addrs {
				cfg.Locals = append(cfg.Locals, a.Addr())
			}
		}
	}
	for _, p := range h.ports {
		cfg.Interfaces = append(cfg.Interfaces, route.Interface{
			Name: p.name, Medium: p.medium, MAC: p.mac, MTU: p.mtu, Up: !p.down, Addrs: p.Addrs(),
		})
		connected := h.connected(p)
		cfg.Routes = append(cfg.Routes, connected...)
		for _, r := range connected {
			if r.Prefix.Addr().Is4() && r.Prefix.Bits() < 31 {
				h.broadcasts = append(h.broadcasts, lastOf(r.Prefix))
			}
		}
	}
	if slices.ContainsFunc(h.ports, func(p *Port) bool { return p.down }) {
		cfg.Routes = slices.DeleteFunc(cfg.Routes, func(r route.Route) bool {
			return r.Kind == route.Unicast && h.ports[r.Port].down
		})
	}
	h.table = route.New(cfg)
	h.udp.rerouted()
	if h.changed != nil {
		h.changed()
	}
}

// connected are the routes to an interface's own subnets.
func (h *Host) connected(p *Port) []route.Route {
	var list []route.Route
	for _, a := range p.addrs {
		if a.IsSingleIP() {
			continue
		}
		r := route.Route{Prefix: a.Masked(), Kind: route.Unicast, Port: p.index, Src: a.Addr()}
		if a.Addr().IsLinkLocalUnicast() {
			r.Metric = 256 // behind a route that names its interface
		}
		list = append(list, r)
	}
	return list
}

// isBroadcast reports whether a reaches every host of a subnet.
func (h *Host) isBroadcast(a netip.Addr) bool {
	return a == limitedBroadcast || slices.Contains(h.broadcasts, a)
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// lastOf is the highest address of an IPv4 prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// parsePrefix reads an address with or without a prefix length.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no address", s)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// parseDestination reads what a route leads to.
func parseDestination(s string, v6 bool) (netip.Prefix, error) {
	if s == "default" {
		if v6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0), nil
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	}
	p, err := parsePrefix(s)
	return p.Masked(), err
}
