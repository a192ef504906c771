package demo

import (
	"fmt"
	"net/netip"

	"usvs/wire"
)

// A scene is one forwarding method: a network, what is typed on its machines,
// and what is to be seen.
type scene struct {
	mode     string // as --mode has it
	title    string
	picture  string
	machines []machine

	vip       netip.AddrPort
	flag      string // ipvsadm's for the forwarding method
	scheduler string
	servers   []realServer

	realserver bool   // real servers get the VIP by `usvs realserver up`
	hold       bool   // the client keeps all its connections open
	remark     string // on how connections are made and scheduled
	wayBack    string // how answers avoid the director; empty if they do not
}

// realServer is a machine that answers for the VIP.
type realServer struct {
	machine
	weight int
}

// machine is a network namespace with its interfaces eth0, eth1 and so on.
type machine struct {
	name    string
	nics    []nic
	gateway netip.Addr // of the default route, if valid
	router  bool       // forwards packets of others
}

// nic is an interface, and the LAN it is plugged into.
type nic struct {
	lan  string
	addr netip.Prefix
}

// mac makes an interface's Ethernet address of its IPv4 address, for frames
// that are easy to read.
func (n nic) mac() wire.MAC {
	a := n.addr.Addr().As4()
	return wire.MAC{0x02, 0x00, a[0], a[1], a[2], a[3]}
}

func (m machine) addr() netip.Addr { return m.nics[0].addr.Addr() }

// Modes are the names of the scenes, in the order they are played.
var Modes = []string{"dr", "nat", "tun"}

var scenes = map[string]func() *scene{"dr": directRouting, "nat": masquerading, "tun": tunnelling}

// rounds is how many requests make every share a whole number in every scene.
const rounds = 12

// roundUp is the number of requests a scene makes when n are asked for.
func roundUp(n int) int { return max(1, (n+rounds-1)/rounds) * rounds }

func directRouting() *scene {
	return &scene{
		mode:  "dr",
		title: "LVS-DR: direct routing",
		picture: `
   client           director          rs1         rs2         rs3
   10.10.100.2      10.10.100.1       .111        .112        .113
      |                 |               |           |           |
   ---+-----------------+---------------+-----------+-----------+---  10.10.100.0/24
            VIP 10.10.100.107: the director answers ARP for it, the rs do not
`,
		machines: []machine{
			host("client", "", on("lan0", "10.10.100.2/24")),
			host("director", "", on("lan0", "10.10.100.1/24")),
		},
		vip:       netip.MustParseAddrPort("10.10.100.107:80"),
		flag:      "-g",
		scheduler: "rr",
		servers: []realServer{
			{host("rs1", "", on("lan0", "10.10.100.111/24")), 1},
			{host("rs2", "", on("lan0", "10.10.100.112/24")), 1},
			{host("rs3", "", on("lan0", "10.10.100.113/24")), 1},
		},
		realserver: true,
		remark:     "rr: each in turn",
		wayBack:    "the real server has the VIP too and answers the client itself",
	}
}

func masquerading() *scene {
	return &scene{
		mode:  "nat",
		title: "LVS-NAT: masquerading",
		picture: `
   client                 director                 rs1         rs2         rs3
   10.10.100.2     10.10.100.1   10.1.1.1          10.1.1.78   .79         .80
      |              eth0 |         | eth1            |           |           |
   ---+-------------------+---   ---+-----------------+-----------+-----------+---
         10.10.100.0/24                 10.1.1.0/24 (default route: the director)
            VIP 10.10.100.77
`,
		machines: []machine{
			host("client", "", on("lan0", "10.10.100.2/24")),
			host("director", "", on("lan0", "10.10.100.1/24"), on("lan1", "10.1.1.1/24")),
		},
		vip:       netip.MustParseAddrPort("10.10.100.77:80"),
		flag:      "-m",
		scheduler: "wrr",
		servers: []realServer{
			{host("rs1", "10.1.1.1", on("lan1", "10.1.1.78/24")), 3},
			{host("rs2", "10.1.1.1", on("lan1", "10.1.1.79/24")), 2},
			{host("rs3", "10.1.1.1", on("lan1", "10.1.1.80/24")), 1},
		},
		remark: "wrr: in turn, by weight",
	}
}

func tunnelling() *scene {
	return &scene{
		mode:  "tun",
		title: "LVS-TUN: IP-in-IP tunnelling",
		picture: `
   client        director             router             rs1            rs2    rs3
   10.10.100.2   10.10.100.1     .254   172.16.52.254    172.16.52.61   .62    .63
      |             |              |       |                |            |      |
   ---+-------------+--------------+---  --+----------------+------------+------+---
               10.10.100.0/24                     172.16.52.0/24
         VIP 10.10.100.107
`,
		machines: []machine{
			host("client", "10.10.100.254", on("lan0", "10.10.100.2/24")),
			host("director", "10.10.100.254", on("lan0", "10.10.100.1/24")),
			{name: "router", router: true, nics: []nic{on("lan0", "10.10.100.254/24"), on("lan1", "172.16.52.254/24")}},
		},
		vip:       netip.MustParseAddrPort("10.10.100.107:80"),
		flag:      "-i",
		scheduler: "wlc",
		servers: []realServer{
			{host("rs1", "172.16.52.254", on("lan1", "172.16.52.61/24")), 2},
			{host("rs2", "172.16.52.254", on("lan1", "172.16.52.62/24")), 1},
			{host("rs3", "172.16.52.254", on("lan1", "172.16.52.63/24")), 1},
		},
		realserver: true,
		hold:       true,
		remark:     "wlc, and all are kept open",
		wayBack:    "the real server unpacks the packet and answers the client through its own router",
	}
}

func host(name, gateway string, nics ...nic) machine {
	m := machine{name: name, nics: nics}
	if gateway != "" {
		m.gateway = netip.MustParseAddr(gateway)
	}
	return m
}

func on(lan, addr string) nic { return nic{lan: lan, addr: netip.MustParsePrefix(addr)} }

// all is every machine of the scene, real servers last.
func (s *scene) all() []machine {
	all := append([]machine(nil), s.machines...)
	for _, rs := range s.servers {
		all = append(all, rs.machine)
	}
	return all
}

// find is the machine of that name.
func (s *scene) find(name string) machine {
	for _, m := range s.all() {
		if m.name == name {
			return m
		}
	}
	panic(fmt.Sprintf("demo: scene %s has no machine %q", s.mode, name))
}

// expected is how many of n requests each real server is to answer. The
// schedulers owe exactly this whenever n is a multiple of rounds.
func (s *scene) expected(n int) map[string]int {
	total := 0
	for _, rs := range s.servers {
		total += rs.weight
	}
	shares := map[string]int{}
	for _, rs := range s.servers {
		shares[rs.name] = n * rs.weight / total
	}
	return shares
}

// owners says whose the addresses of the scene are.
func (s *scene) owners() owners {
	o := owners{macs: map[wire.MAC]string{}, ips: map[netip.Addr]string{s.vip.Addr(): "VIP"}}
	for _, m := range s.all() {
		for _, n := range m.nics {
			o.macs[n.mac()] = m.name
			o.ips[n.addr.Addr()] = m.name
		}
	}
	return o
}

// directorCommands are the ipvsadm commands that set the service up, as typed.
func (s *scene) directorCommands() [][]string {
	vip := s.vip.String()
	commands := [][]string{{"usvs", "ipvsadm", "-A", "-t", vip, "-s", s.scheduler}}
	for _, rs := range s.servers {
		commands = append(commands, []string{"usvs", "ipvsadm", "-a", "-t", vip,
			"-r", netip.AddrPortFrom(rs.addr(), s.vip.Port()).String(), s.flag, "-w", fmt.Sprint(rs.weight)})
	}
	return commands
}

// runCommand starts the director on all its interfaces.
func (s *scene) runCommand() []string {
	args := []string{"usvs", "run"}
	for i := range s.find("director").nics {
		args = append(args, "-i", fmt.Sprintf("eth%d", i))
	}
	return args
}

// realserverCommand makes a machine a real server of the VIP.
func (s *scene) realserverCommand() []string {
	return []string{"usvs", "realserver", "up", "--vip", s.vip.Addr().String(), "--mode", s.mode, "--dev", "eth0"}
}
