package fuzz

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"usvs/wire"
)

// Generate makes the case of a seed: a scenario file.
func Generate(seed uint64) string {
	g := &generator{seed: seed, r: rand.New(rand.NewPCG(seed, 0x6e657473696d))}
	g.network()
	g.servicesAtStart()
	for range 40 + g.r.IntN(80) {
		g.step()
	}
	for g.walks < walksPerCase {
		g.walk()
	}
	switch g.r.IntN(6) {
	case 0:
		g.templateRace()
	case 1:
		g.helperRace()
	}
	return g.text.String()
}

// generator writes a scenario, remembering what it wrote.
type generator struct {
	seed      uint64
	r         *rand.Rand
	text      strings.Builder
	two       bool // networks: front and back
	nodes     int  // declared so far
	directors []balancer
	clients   []station
	servers   []station
	services  []*service
	flows     []segment // sent before
	dirty     bool      // may corrupt frames
	walks     int       // through state machines, so far
}

// service is a virtual service as ipvsadm was told of it.
type service struct {
	on      balancer
	id      string // -t 10.0.0.100:80
	proto   uint8
	vip     netip.Addr
	port    uint16
	mark    int
	servers []server
}

type server struct {
	at   station
	addr netip.Addr
	port uint16
	args string // -r ...
	nat  bool
}

func (g *generator) say(format string, args ...any) { fmt.Fprintf(&g.text, format+"\n", args...) }

// chance is true in one case of n.
func (g *generator) chance(n int) bool { return g.r.IntN(n) == 0 }

func pick[T any](g *generator, list []T) T { return list[g.r.IntN(len(list))] }

// Addresses that no service ever has.
var (
	unowned  = netip.MustParseAddr("10.0.0.177")
	unowned6 = netip.MustParseAddr("2001:db8::177")
)

func (g *generator) servicesAtStart() {
	for _, d := range g.directors {
		g.say("%s$ ipvsadm --set %d %d %d", d.name, 20+g.r.IntN(100), 10+g.r.IntN(20), 10+g.r.IntN(50))
	}
	if g.chance(3) || g.directors[0].host {
		g.say("director$ ip addr add %v/32 dev eth0", vips[0])
	}
	g.carry()
	for range 1 + g.r.IntN(4) {
		g.addService()
	}
	g.sysctl()
}

var sysctls = []string{
	"expire_nodest_conn", "expire_quiescent_template", "conn_reuse_mode", "nat_icmp_send",
	"schedule_icmp", "sloppy_tcp", "sloppy_sctp", "secure_tcp", "pmtu_disc", "cache_bypass", "drop_packet", "drop_entry",
}

func (g *generator) sysctl() {
	for range g.r.IntN(3) {
		g.say("#! vs %s=%d", pick(g, sysctls), pick(g, []int{0, 1, 1, 3}))
	}
}

func (g *generator) addService() {
	s := &service{on: pick(g, g.directors), port: pick(g, []uint16{80, 80, 53, 443, 8080})}
	s.vip = pick(g, s.on.vips)
	persistent := g.chance(3)
	switch n := g.r.IntN(10); {
	case n < 4:
		s.proto, s.id = protoTCP, "-t "
	case n < 7:
		s.proto, s.id = protoUDP, "-u "
		s.port = 53
	case n < 8:
		s.proto, s.id = protoSCTP, "--sctp-service "
	default:
		s.proto, s.mark = protoTCP, 1+g.r.IntN(3)
	}
	if persistent && g.chance(3) && s.mark == 0 {
		s.port = 0
	}
	s.id += netip.AddrPortFrom(s.vip, s.port).String()
	if s.mark != 0 {
		g.markRule(s)
	}
	extra := ""
	if persistent {
		extra = fmt.Sprintf(" -p %d", 5+g.r.IntN(60))
		if g.chance(3) {
			extra += map[bool]string{true: " -M 64", false: " -M 255.255.255.0"}[s.vip.Is6()]
		}
	} else if s.proto == protoUDP && g.chance(4) {
		extra = " -o"
	}
	g.say("%s$ ipvsadm -A %s -s %s%s", s.on.name, s.id, g.scheduler(), extra)
	g.services = append(g.services, s)
	for range g.r.IntN(5) {
		g.addServer(s)
	}
}

// scheduler draws a scheduler, with the flags that it may have.
func (g *generator) scheduler() string {
	name := pick(g, Schedulers)
	if name != "sh" && name != "mh" || g.chance(3) {
		return name
	}
	return name + " -b " + pick(g, []string{name + "-port", name + "-fallback", name + "-fallback," + name + "-port"})
}

func (g *generator) markRule(s *service) {
	command := "iptables"
	s.id = fmt.Sprintf("-f %d", s.mark)
	if s.vip.Is6() {
		command, s.id = "ip6tables", s.id+" -6"
	}
	g.say("%s$ %s -t mangle -A PREROUTING -d %v -p tcp --dport %d -j MARK --set-mark %d", s.on.name, command, s.vip, s.port, s.mark)
}

// addServer adds a server, usually one that can work.
func (g *generator) addServer(s *service) {
	at := pick(g, g.servers)
	if d := g.directors[len(g.directors)-1]; d.layer && s.on.name == "director" && g.chance(3) {
		at = station{name: at.name, mac: at.mac, gw: at.gw, v4: d.vips[0], v6: d.vips[1]}
	}
	rs := server{at: at, addr: at.v4, port: s.port}
	if s.vip.Is6() {
		rs.addr = at.v6
	}
	how := g.forwarding(s, at, &rs)
	end := netip.AddrPortFrom(rs.addr, rs.port).String()
	if s.mark != 0 {
		end = rs.addr.String()
		rs.port = s.port
	}
	rs.args = "-r " + end
	g.say("%s$ ipvsadm -a %s %s %s -w %d%s", s.on.name, s.id, rs.args, how, pick(g, []int{0, 1, 1, 2, 3, 4, 6}), g.thresholds())
	s.servers = append(s.servers, rs)
}

func (g *generator) thresholds() string {
	if !g.chance(8) {
		return ""
	}
	return fmt.Sprintf(" -x %d -y %d", 2+g.r.IntN(5), g.r.IntN(2))
}

// forwarding draws a method, and sometimes an address that fits nothing.
func (g *generator) forwarding(s *service, at station, rs *server) string {
	switch {
	case g.chance(14) && s.vip.Is4():
		rs.addr = pick(g, []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1"),
			netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("10.1.0.99")})
		return pick(g, []string{"-m", "-g", "-i"})
	case g.two && g.chance(2) || !g.two && g.chance(5):
		rs.nat = true
		if s.mark == 0 && s.port != 0 && g.chance(3) {
			rs.port = pick(g, []uint16{80, 8080, 53})
		}
		return "-m"
	case g.chance(12) && s.vip.Is4():
		rs.addr = at.v6 // a tunnel may be of the other family
		return "-i"
	case g.chance(3):
		return pick(g, []string{"-i", "-i", "-i --tun-type gre", "-i --tun-type gre --tun-csum", "-i --tun-type gue --tun-port 6080",
			"-i --tun-type gue --tun-port 6080 --tun-csum", "-i --tun-type gue --tun-port 6080 --tun-remcsum"})
	}
	return "-g"
}

// step writes something that happens.
func (g *generator) step() {
	switch n := g.r.IntN(100); {
	case n < 6:
		g.request()
	case n < 14:
		g.edit()
	case n < 19:
		g.fault()
	case n < 27:
		g.say("wait %s", pick(g, []string{"1ms", "20ms", "500ms", "3s", "11s", "61s", "200s"}))
	case n < 30:
		g.sysctl()
	case n < 34:
		g.super()
	case n < 38:
		g.arp()
	case n == 38 && g.chance(8):
		g.flood()
	case n < 43:
		g.situation()
	case n == 43 && len(g.directors) > 1:
		g.failover()
	default:
		for range 1 + g.r.IntN(20) {
			g.frame()
		}
	}
}

// request makes a real client ask.
func (g *generator) request() {
	s := pick(g, g.services)
	c := pick(g, g.clients)
	switch port := max(s.port, 53); s.proto {
	case protoTCP:
		g.say("http %s -> %v x%d concurrency %d size %d timeout 2s", c.name, netip.AddrPortFrom(s.vip, max(s.port, 80)),
			1+g.r.IntN(12), 1+g.r.IntN(4), g.r.IntN(120000))
	case protoUDP:
		g.say("udp %s -> %v x%d size %d timeout 500ms", c.name, netip.AddrPortFrom(s.vip, port), 1+g.r.IntN(12), g.r.IntN(3000))
	default:
		g.say("ping %s -> %v x3", c.name, s.vip)
	}
}

func (g *generator) edit() {
	s := pick(g, g.services)
	if len(s.servers) == 0 || g.chance(4) {
		g.addServer(s)
		return
	}
	rs := pick(g, s.servers)
	switch g.r.IntN(13) {
	case 0, 1, 2:
		g.say("%s$ ipvsadm -e %s %s -w %d", s.on.name, s.id, rs.args, pick(g, []int{0, 1, 2, 3, 4, 6}))
	case 3, 4:
		g.say("%s$ ipvsadm -d %s %s", s.on.name, s.id, rs.args)
	case 5:
		g.say("%s$ ipvsadm -E %s -s %s", s.on.name, s.id, g.scheduler())
	case 6:
		g.say("%s$ ipvsadm -D %s", s.on.name, s.id)
	case 7:
		g.addService()
	case 8:
		g.say("%s$ ipvsadm -Z", s.on.name)
	case 9:
		g.say("%s$ ipvsadm --set %d %d %d", s.on.name, 10+g.r.IntN(100), 5+g.r.IntN(20), 5+g.r.IntN(50))
	case 11:
		g.say("%s$ ipvsadm -Lnc", s.on.name)
	case 10:
		g.say("%s$ ipvsadm -e %s %s %s", s.on.name, s.id, rs.args, pick(g, []string{"-g", "-m", "-i"}))
	default:
		g.say("%s$ ipvsadm -C", s.on.name)
	}
}

func (g *generator) fault() {
	who := pick(g, append(append([]station{}, g.clients...), g.servers...)).name
	if g.chance(4) {
		who = "director:eth" + fmt.Sprint(g.r.IntN(2))
	}
	switch n := g.r.IntN(10); {
	case n < 3:
		g.say("link %s up", who)
	case n == 3:
		g.say("link %s down", who)
	case n == 4:
		g.say("link %s cut %s", who, pick(g, []string{"in", "out"}))
	case n == 5 && g.dirty:
		g.say("link %s corrupt 2%%", who)
	case n == 6:
		g.say("link %s rate 10mbit", who)
	default:
		g.say("link %s %s", who, pick(g, []string{"loss 10%", "duplicate 10%", "reorder 20%", "delay 3ms jitter 5ms", "loss 2% reorder 5%"}))
	}
}

// arp asks for the director's addresses, and one that is not its: by ARP or ND.
func (g *generator) arp() {
	c := pick(g, g.clients)
	near := netip.MustParsePrefix("10.0.0.0/24").Contains(c.v4)
	if near && g.chance(2) {
		g.say("inject %s to director arp request %v > %v", c.name, c.v4, pick(g, append([]netip.Addr{unowned}, vips[:2]...)))
		return
	}
	g.solicit(c, pick(g, []netip.Addr{vips[2], unowned6, netip.MustParseAddr("2001:db8::1")}))
}

// solicit writes a neighbour solicitation (RFC 4861, 4.3) for an address, sent to
// all nodes.
func (g *generator) solicit(c station, target netip.Addr) {
	s := segment{
		proto: protoICMPv6, kind: [2]byte{135, 0}, ttl: 255, src: netip.AddrPortFrom(c.v6, 0),
		dst: netip.AddrPortFrom(netip.MustParseAddr("ff02::1"), 0),
	}
	s.data = append(make([]byte, 4), target.AsSlice()...)
	s.data = append(append(s.data, 1, 1), c.mac[:]...)
	g.say("#! frame %s:eth0 %x", c.name, ether(wire.MAC{0x33, 0x33, 0, 0, 0, 1}, c.mac, s.packet()))
}
