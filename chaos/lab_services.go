package chaos

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"usvs/keepalived"
)

// listed is a virtual service of a configuration: a virtual_server, or an
// address of its group.
type listed struct {
	vip netip.AddrPort
	vs  *keepalived.VirtualServer
}

// services finds the virtual services that clients can use, and the machines
// behind them.
func (b *builder) services() error {
	for i, d := range b.lab.Directors {
		for _, l := range b.listed(d.Config) {
			b.service(i, l)
		}
	}
	if len(b.lab.Servers) > maxServers {
		return fmt.Errorf("%d real servers are too many: %d at most", len(b.lab.Servers), maxServers)
	}
	return nil
}

// listed expands a configuration's virtual servers.
func (b *builder) listed(c *keepalived.Config) []listed {
	var list []listed
	for _, vs := range c.VirtualServers {
		switch {
		case vs.Protocol.V != "TCP" && vs.Protocol.V != "UDP":
			b.assume("virtual_server %v is not tried: which packets are its own is not in the file", vs)
		case mixedFamilies(vs):
			b.assume("virtual_server %v is not tried: its real servers are of another family", vs)
		case vs.Group != "":
			list = append(list, b.groupMembers(c, vs)...)
		default:
			list = append(list, listed{netip.AddrPortFrom(vs.VIP, cmp.Or(vs.Port, 80)), vs})
		}
	}
	return list
}

// mixedFamilies reports whether tunnels of one family carry packets of another.
func mixedFamilies(vs *keepalived.VirtualServer) bool {
	return slices.ContainsFunc(vs.RealServers, func(rs *keepalived.RealServer) bool {
		return rs.RIP.Is6() != vs.RealServers[0].RIP.Is6() || vs.VIP.IsValid() && rs.RIP.Is6() != vs.VIP.Is6()
	})
}

// groupMembers are the first addresses of a group's ranges.
func (b *builder) groupMembers(c *keepalived.Config, vs *keepalived.VirtualServer) []listed {
	var list []listed
	for _, g := range c.ServerGroups {
		if g.Name != vs.Group {
			continue
		}
		for _, e := range g.Entries {
			if e.First.IsValid() && e.First.Is6() == vs.RealServers[0].RIP.Is6() {
				list = append(list, listed{netip.AddrPortFrom(e.First, cmp.Or(e.Port, 80)), vs})
			}
		}
	}
	return list
}

func (b *builder) service(i int, l listed) {
	s := b.serviceAt(l.vip, l.vs.Protocol.V)
	if s == nil {
		s = &Service{VIP: l.vip, Protocol: l.vs.Protocol.V, Talk: talkOf(l.vs), On: make([]*Backing, len(b.lab.Directors)), at: l.vs.At}
		b.lab.Services = append(b.lab.Services, s)
	}
	s.On[i] = &Backing{Config: l.vs, Router: b.carrier(i, l.vip.Addr())}
	b.placeVIP(i, s, s.On[i])
	for _, rs := range l.vs.RealServers {
		b.realServer(i, s, rs.RIP, cmp.Or(rs.Port, l.vip.Port()), rs.Forwarding.V.Method, rs.Checkers)
	}
	if sorry := l.vs.SorryServer.V; sorry.IsValid() {
		b.realServer(i, s, sorry.Addr(), cmp.Or(sorry.Port(), l.vip.Port()), l.vs.SorryForwarding.V.Method, nil)
	}
}

func (b *builder) serviceAt(vip netip.AddrPort, protocol string) *Service {
	for _, s := range b.lab.Services {
		if s.VIP == vip && s.Protocol == protocol {
			return s
		}
	}
	return nil
}

// talkOf is what the servers of a service speak, by its checks.
func talkOf(vs *keepalived.VirtualServer) Talk {
	talk := HTTP
	if vs.Protocol.V == "UDP" {
		talk = Echo
	}
	for _, rs := range vs.RealServers {
		for _, c := range rs.Checkers {
			if t, ok := checkTalk[c.Type]; ok && c.ConnectPort.V == rs.Port && (t == DNS) == (talk != HTTP) {
				return t
			}
		}
	}
	return talk
}

// checkTalk is what checks expect a port to speak.
var checkTalk = map[string]Talk{"SMTP_CHECK": SMTP, "DNS_CHECK": DNS}

// carrier is the virtual router that has an address, or nil.
func (b *builder) carrier(i int, vip netip.Addr) *VirtualRouter {
	for _, r := range b.lab.Routers {
		if m := r.Members[i]; m != nil && carries(m, vip) {
			return r
		}
	}
	return nil
}

func carries(inst *keepalived.Instance, vip netip.Addr) bool {
	return slices.ContainsFunc(slices.Concat(inst.VirtualAddresses, inst.ExcludedAddresses), func(a keepalived.Address) bool {
		return a.Prefix.Addr() == vip
	})
}

// placeVIP sees that a service's address is in a network.
func (b *builder) placeVIP(i int, s *Service, on *Backing) {
	if on.Router != nil {
		return
	}
	if len(b.lab.Routers) > 0 {
		b.assume("no vrrp_instance of %s carries %v: it is its own all the time", b.lab.Directors[i].Name, s.VIP.Addr())
	}
	n, _ := b.networkOf(i, s.VIP.Addr())
	if n == nil {
		n = b.at[i][instanceOr(b.lab.Directors[i].Config)]
		b.around(n, s.VIP.Addr())
	}
	n.used[s.VIP.Addr()] = true
}

// networkOf finds the network of a director that an address is in.
func (b *builder) networkOf(i int, a netip.Addr) (*Network, bool) {
	for _, name := range b.nicNames(i) {
		if _, ok := b.at[i][name].prefixOf(a); ok {
			return b.at[i][name], true
		}
	}
	return nil, false
}

// vipNetwork is where a service's address is.
func (b *builder) vipNetwork(i int, s *Service) *Network {
	if n, ok := b.networkOf(i, s.VIP.Addr()); ok {
		return n
	}
	return b.at[i][instanceOr(b.lab.Directors[i].Config)]
}

// realServer adds a real server of a service. Addresses of the directors
// themselves and of their lo are no machine.
func (b *builder) realServer(i int, s *Service, rip netip.Addr, port uint16, method string, checks []*keepalived.Checker) {
	if rip.IsLoopback() || rip.IsUnspecified() || b.isDirector(rip) {
		b.assume("real server %v is a director itself: it serves nothing here", rip)
		return
	}
	rs := b.serverAt(rip)
	if rs == nil {
		rs = b.newServer(i, s, rip, method)
	}
	rs.serve(s.Protocol, port, s.Talk)
	for _, c := range checks {
		rs.serveCheck(c)
	}
	if !slices.Contains(s.Servers, rs) {
		s.Servers = append(s.Servers, rs)
		rs.services = append(rs.services, s)
	}
	rs.forward(method, s.VIP.Addr())
	rs.nat = rs.nat || method == "NAT"
	if slices.ContainsFunc(checks, scripted) {
		b.assume("the scripts and files that check %s find it stopped when it is stopped or cut off, and sound otherwise", rs.Name)
	}
	if len(checks) > 0 && !slices.ContainsFunc(checks, func(c *keepalived.Checker) bool { return !unasked(c) }) {
		rs.unasked = true
		b.assume("the checks of %s are BFD_CHECK, which always succeeds: it is not judged when it is dead", rs.Name)
	}
}

func (b *builder) isDirector(a netip.Addr) bool {
	return slices.ContainsFunc(b.located(), func(l located) bool { return l.owner >= 0 && l.addr.Addr() == a })
}

func (b *builder) serverAt(rip netip.Addr) *Server {
	for _, rs := range b.lab.Servers {
		if rs.Addr.Addr() == rip {
			return rs
		}
	}
	return nil
}

// newServer puts a real server into the network that its address is of. If there
// is none: for NAT one that has no prefix yet, or a new one; else the VIP's.
func (b *builder) newServer(i int, s *Service, rip netip.Addr, method string) *Server {
	n, ok := b.networkOf(i, rip)
	if !ok {
		n = b.homeFor(i, s, method)
		b.around(n, rip)
	}
	p, _ := n.prefixOf(rip)
	n.used[rip] = true
	rs := &Server{Name: fmt.Sprintf("rs%d", len(b.lab.Servers)+1), Addr: netip.PrefixFrom(rip, p.Bits()), Network: n}
	b.lab.Servers = append(b.lab.Servers, rs)
	return rs
}

func (b *builder) homeFor(i int, s *Service, method string) *Network {
	if method != "NAT" {
		return b.vipNetwork(i, s)
	}
	for _, name := range b.nicNames(i) {
		if n := b.at[i][name]; len(n.Prefixes) == 0 {
			return n
		}
	}
	return b.inside()
}

// inside gives the directors one more interface, to a network of the servers.
func (b *builder) inside() *Network {
	n := b.newNetwork("net-inside")
	for i, d := range b.lab.Directors {
		name := ""
		for k := 1; name == "" || b.at[i][name] != nil; k++ {
			name = fmt.Sprintf("eth%d", k)
		}
		b.at[i][name] = n
		b.assume("%s reaches the servers behind NAT by %s, which the file does not name", d.Name, name)
	}
	return n
}

func (rs *Server) serve(protocol string, port uint16, talk Talk) {
	if !slices.ContainsFunc(rs.Ports, func(p Port) bool { return p.Protocol == protocol && p.Number == port }) {
		rs.Ports = append(rs.Ports, Port{protocol, port, talk})
	}
}

// serveCheck makes the server answer a check that asks another port.
func (rs *Server) serveCheck(c *keepalived.Checker) {
	if c.ConnectIP.V.IsValid() && c.ConnectIP.V != rs.Addr.Addr() {
		return
	}
	switch c.Type {
	case "TCP_CHECK", "HTTP_GET", "SSL_GET":
		rs.serve("TCP", c.ConnectPort.V, HTTP)
	case "SMTP_CHECK":
		rs.serve("TCP", c.ConnectPort.V, SMTP)
	case "DNS_CHECK":
		rs.serve("UDP", c.ConnectPort.V, DNS)
	case "UDP_CHECK":
		rs.serve("UDP", c.ConnectPort.V, Echo)
	}
}

// forward notes what a method asks of the server: the VIP on lo.
func (rs *Server) forward(method string, vip netip.Addr) {
	rs.Tunnel = rs.Tunnel || method == "TUN"
	if method != "NAT" && !slices.Contains(rs.VIPs, vip) {
		rs.VIPs = append(rs.VIPs, vip)
	}
}

// clientNetworks are where the clients are: documentation prefixes (RFC 5737,
// 3849) that no file is likely to use.
var (
	clientNet4 = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.51.100.0/24")}
	clientNet6 = []netip.Prefix{netip.MustParsePrefix("2001:db8:ffff::/64"), netip.MustParsePrefix("2001:db8:fffe::/64")}
)

// clientCount is how many addresses clients have: persistence tells them apart.
const clientCount = 8

// router puts the router into the networks of the services' addresses and of
// servers that answer by themselves, and the clients behind it.
func (b *builder) router() {
	for i := range b.lab.Directors {
		for _, s := range b.lab.Services {
			if s.On[i] != nil {
				b.routerIn(b.vipNetwork(i, s))
			}
		}
	}
	for _, rs := range b.lab.Servers {
		if len(rs.VIPs) > 0 {
			b.routerIn(rs.Network)
		}
	}
	if len(b.lab.Services) == 0 {
		b.routerIn(b.lab.Networks[0])
	}
	outside := b.newNetwork("clients")
	for _, list := range [][]netip.Prefix{clientNet4, clientNet6} {
		p := b.unused(list)
		outside.addPrefix(p)
		outside.Router = append(outside.Router, outside.free(p, false))
		for range clientCount {
			b.lab.Clients = append(b.lab.Clients, outside.free(p, false).Addr())
		}
	}
}

func (b *builder) routerIn(n *Network) {
	if n.Router != nil {
		return
	}
	for _, p := range n.Prefixes {
		n.Router = append(n.Router, n.free(p, true))
	}
	if n.Router != nil {
		b.assume("the router and default gateway of %s is %v", n.Name, n.Router[0].Addr())
	}
}

// unused is the first prefix that no network has a part of.
func (b *builder) unused(list []netip.Prefix) netip.Prefix {
	for _, p := range list {
		taken := slices.ContainsFunc(b.lab.Networks, func(n *Network) bool {
			return slices.ContainsFunc(n.Prefixes, p.Overlaps)
		})
		if !taken {
			return p
		}
	}
	return list[0]
}

// servers gives the real servers their default gateways.
func (b *builder) servers() {
	for _, rs := range b.lab.Servers {
		rs.Gateway = b.gatewayFor(rs)
	}
}

// gatewayFor is where a server sends its answers: behind NAT, through the
// directors, by a virtual address of its network if there is one that is no
// service's; else to the router.
func (b *builder) gatewayFor(rs *Server) netip.Addr {
	if !rs.nat {
		return firstIn(rs.Network.Router, rs.Addr)
	}
	var own netip.Addr
	for _, l := range b.located() {
		a := l.addr.Addr()
		if l.net != rs.Network || !rs.Addr.Masked().Contains(a) || l.owner >= 0 {
			continue
		}
		if !own.IsValid() || b.isService(own) && !b.isService(a) {
			own = a
		}
	}
	if own.IsValid() {
		return own
	}
	gw := firstIn(b.lab.Directors[0].nicIn(rs.Network).Addrs, rs.Addr)
	if len(b.lab.Directors) > 1 {
		b.assume("no virtual address is in %s: the default gateway of %s is %v of %s, also when that is not master", rs.Network.Name, rs.Name, gw, b.lab.Directors[0].Name)
	}
	return gw
}

func (b *builder) isService(a netip.Addr) bool {
	return slices.ContainsFunc(b.lab.Services, func(s *Service) bool { return s.VIP.Addr() == a })
}

func firstIn(list []netip.Prefix, near netip.Prefix) netip.Addr {
	for _, p := range list {
		if near.Masked().Contains(p.Addr()) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// nicIn is a director's interface in a network, or one without addresses.
func (d *Director) nicIn(n *Network) *Interface {
	for _, nic := range d.NICs {
		if nic.Network == n {
			return nic
		}
	}
	return &Interface{}
}

// sayAssumptions adds what is assumed of every lab.
func (b *builder) sayAssumptions() {
	if len(b.lab.Servers) > 0 {
		b.assume("real servers have their virtual addresses on lo where lb_kind is DR or TUN, and serve the ports that are checked")
	}
	if len(b.lab.Directors) == 1 && len(b.lab.Routers) > 0 {
		b.assume("there is no second director: give its keepalived.conf too, or --pair")
	}
}
