package fuzz

import (
	"fmt"
	"net/netip"
	"strings"

	"usvs/scenario"
	"usvs/wire"
)

// This file declares the machines of a case: one director or two between a
// network of clients and one of servers, and behind a router each, perhaps, a
// network that is farther away.

// balancer is a director: one of the machines that are judged.
type balancer struct {
	name  string
	macs  [2]wire.MAC // by interface
	vips  []netip.Addr
	host  bool // it has the addresses that its host carries (--own host)
	layer bool // it is behind the other one
}

// station is a host: what it is called, its MAC, that of its gateway and its
// addresses.
type station struct {
	name   string
	mac    wire.MAC
	gw     wire.MAC
	v4, v6 netip.Addr
}

// lan is a network: its name, its prefixes and who is the gateway there.
type lan struct {
	name   string
	v4, v6 string // of addresses, to which the host number is to be added
	gw     int    // host number
	mac    wire.MAC
}

var vips = []netip.Addr{netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("10.0.0.101"), netip.MustParseAddr("2001:db8::100")}

// innerVIPs are those of a second layer.
var innerVIPs = []netip.Addr{netip.MustParseAddr("10.1.0.110"), netip.MustParseAddr("fd00::110")}

// network declares the machines.
func (g *generator) network() {
	g.two = !g.chance(3)
	g.dirty = g.chance(8)
	g.say("switch front back far deep")
	own := g.twoDirectors()
	g.declare("director", 1, own, vips)
	front := lan{"front", "10.0.0.", "2001:db8::", 1, g.directors[0].macs[0]}
	back := lan{"back", "10.1.0.", "fd00::", 1, g.directors[0].macs[1]}
	far, deep := front, back
	if g.chance(3) {
		far = g.router("r1", front, lan{name: "far", v4: "10.2.0.", v6: "2001:db8:2::"})
	}
	if g.chance(3) {
		deep = g.router("r2", back, lan{name: "deep", v4: "10.3.0.", v6: "fd00:3::"})
	}
	for i := range 1 + g.r.IntN(3) {
		g.clients = append(g.clients, g.station("client", fmt.Sprintf("c%d", i+1), 9+i, pick(g, []lan{front, far})))
	}
	if !g.two {
		back, deep = front, front
	}
	for i := range 1 + g.r.IntN(5) {
		g.servers = append(g.servers, g.station("server", fmt.Sprintf("rs%d", i+1), 21+i, pick(g, []lan{back, deep})))
	}
	g.second(own)
	g.say("")
	g.routes()
	for _, s := range g.servers {
		g.realServer(s)
	}
}

// twoDirectors decides about a second director: "" for none, or whose addresses
// each has: "services", one behind the other, or "host", one in place of the
// other.
func (g *generator) twoDirectors() string {
	return pick(g, []string{"", "", "", "services", "host"})
}

// second declares the second director.
func (g *generator) second(own string) {
	switch own {
	case "services":
		g.declare("d2", 2, own, innerVIPs)
		g.directors[1].layer = true
	case "host":
		g.declare("d2", 2, own, vips)
	}
}

func (g *generator) declare(name string, host int, own string, vips []netip.Addr) {
	mtu, how := "", ""
	if g.chance(4) {
		mtu = fmt.Sprintf(" mtu %d", pick(g, []int{68, 576, 1280, 1400, 9000}))
	}
	if own == "host" {
		how = " own host"
	}
	g.say("director %s front 10.0.0.%d/24 2001:db8::%d/64 back 10.1.0.%d/24 fd00::%d/64%s%s", name, host, host, host, host, mtu, how)
	d := balancer{name: name, vips: vips, host: own == "host"}
	d.macs = [2]wire.MAC{scenario.MAC(g.nodes, 0), scenario.MAC(g.nodes, 1)}
	g.nodes++
	g.directors = append(g.directors, d)
}

// router declares a router between a network and one that is farther away.
func (g *generator) router(name string, near, far lan) lan {
	mtu := ""
	if g.chance(3) {
		mtu = fmt.Sprintf(" mtu %d", pick(g, []int{1280, 1400}))
	}
	g.say("router %s %s %s254/24 %s254/64 %s %s1/24 %s1/64%s via %s%d via %s%d", name, near.name, near.v4, near.v6,
		far.name, far.v4, far.v6, mtu, near.v4, near.gw, near.v6, near.gw)
	far.gw, far.mac = 1, scenario.MAC(g.nodes, 1)
	g.nodes++
	return far
}

func (g *generator) station(kind, name string, host int, at lan) station {
	s := station{name: name, mac: scenario.MAC(g.nodes, 0), gw: at.mac}
	g.nodes++
	s.v4 = netip.MustParseAddr(fmt.Sprintf("%s%d", at.v4, host))
	s.v6 = netip.MustParseAddr(fmt.Sprintf("%s%d", at.v6, host))
	g.say("%s %s %s %v/24 %v/64 via %s%d via %s%d", kind, name, at.name, s.v4, s.v6, at.v4, at.gw, at.v6, at.gw)
	return s
}

// routes lead the directors to the networks that are farther away.
func (g *generator) routes() {
	text := g.text.String()
	for _, d := range g.directors {
		for _, r := range [][3]string{
			{"router r1", "10.2.0.0/24 via 10.0.0.254", "2001:db8:2::/64 via 2001:db8::254"},
			{"router r2", "10.3.0.0/24 via 10.1.0.254", "fd00:3::/64 via fd00::254"},
		} {
			if strings.Contains(text, r[0]) {
				g.say("%s$ ip route add %s", d.name, r[1])
				g.say("%s$ ip -6 route add %s", d.name, r[2])
			}
		}
	}
}

// realServer makes a host one for services by DR or through tunnels, usually.
func (g *generator) realServer(s station) {
	if g.chance(5) {
		return // the VIP is missing
	}
	for _, vip := range append(append([]netip.Addr{}, vips...), innerVIPs[:len(g.directors)-1]...) {
		g.say("%s$ usvs realserver up --vip %v", s.name, vip)
		if vip.Is4() && g.chance(2) {
			g.say("%s$ usvs realserver up --vip %v --mode tun", s.name, vip)
		}
	}
}

// client is who sends to a service: to one of a second layer, a neighbour of
// that; to a director that may be in the other's place, sometimes straight.
func (g *generator) client(s *service) station {
	c := pick(g, g.clients)
	switch {
	case s.on.layer && g.two:
		c = pick(g, g.servers)
		c.gw = s.on.macs[1]
	case s.on.name != "director" && g.chance(2):
		c.gw = s.on.macs[0]
	}
	return c
}

// carry gives a director that has no addresses but its host's those that walks
// and situations are about.
func (g *generator) carry() {
	if !g.directors[0].host {
		return
	}
	for _, a := range phantomVIP {
		g.say("director$ ip addr add %v/%d dev eth0", a, a.BitLen())
	}
}

// failover moves an address from one host to the other.
func (g *generator) failover() {
	if !g.directors[0].host {
		return
	}
	from, to := g.directors[0].name, g.directors[1].name
	if g.chance(2) {
		from, to = to, from
	}
	vip := pick(g, vips)
	g.say("%s$ ip addr del %v/%d dev eth0", from, vip, vip.BitLen())
	g.say("%s$ ip addr add %v/%d dev eth0", to, vip, vip.BitLen())
	if vip.Is4() && g.chance(2) {
		g.say("%s$ arping -U -I eth0 %v", to, vip)
	}
}
