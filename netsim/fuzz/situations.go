package fuzz

import (
	"net/netip"
	"sync"

	"usvs/netsim/fuzz/machine"
	"usvs/wire"
)

// This file leads cases to places that chance alone does not find.

// situation writes one of them.
func (g *generator) situation() {
	switch g.r.IntN(14) {
	case 0:
		g.otherFamily()
	case 1:
		g.foreignRoute()
	case 2:
		g.noEthernet()
	case 3:
		g.bypassEnds()
	case 4:
		g.defence()
	case 5:
		g.noKey()
	case 6:
		g.helperMistrusts()
	default:
		g.walk()
	}
}

// walker is the ways through the protocols' state machines.
type walker struct {
	proto uint8
	walk  *machine.Walk
	cell  machine.Cell
}

// walksPerCase is how many ways a case goes at least.
const walksPerCase = 4

// walkers has one for each cell that connections can meet.
var walkers = sync.OnceValue(func() (list []walker) {
	for _, c := range machine.WalkTCP().Cells {
		list = append(list, walker{protoTCP, machine.WalkTCP(), c})
	}
	sctp := machine.WalkSCTP()
	for _, c := range sctp.Cells {
		list = append(list, walker{protoSCTP, sctp, c})
	}
	return list
})

// phantoms are hosts that nobody is: what is sent to them is not answered, and
// so a connection between them goes nowhere by itself.
var (
	phantomClient = [2]netip.Addr{netip.MustParseAddr("10.0.0.240"), netip.MustParseAddr("2001:db8::240")}
	phantomServer = [2]netip.Addr{netip.MustParseAddr("10.1.0.240"), netip.MustParseAddr("fd00::240")}
	phantomVIP    = [2]netip.Addr{netip.MustParseAddr("10.0.0.102"), netip.MustParseAddr("2001:db8::102")}
)

// walk leads a connection to a cell of its state machine. The cells take turns
// from seed to seed, so that some hundreds of cases meet all.
func (g *generator) walk() {
	list := walkers()
	w := list[(g.seed*walksPerCase+uint64(g.walks%walksPerCase))%uint64(len(list))]
	g.walks++
	way := w.walk.To(w.cell)
	six := g.r.IntN(2)
	port := uint16(9000 + g.walks)
	id := map[uint8]string{protoTCP: "-t ", protoSCTP: "--sctp-service "}[w.proto] + netip.AddrPortFrom(phantomVIP[six], port).String()
	method := "-m"
	if way.Silent {
		method = "-g"
	}
	g.say("#! vs conn_reuse_mode=0")
	g.say("#! vs drop_packet=0")
	g.say("#! vs %s=1", map[uint8]string{protoTCP: "sloppy_tcp", protoSCTP: "sloppy_sctp"}[w.proto])
	g.say("director$ ipvsadm -A %s -s rr", id)
	g.say("director$ ipvsadm -a %s -r %v %s", id, netip.AddrPortFrom(phantomServer[six], port), method)
	in := segment{
		proto: w.proto, ttl: 64,
		src: netip.AddrPortFrom(phantomClient[six], uint16(2000+g.r.IntN(1000))), dst: netip.AddrPortFrom(phantomVIP[six], port),
	}
	out := in
	out.src, out.dst = in.dst, in.src
	if !way.Silent {
		out.src = netip.AddrPortFrom(phantomServer[six], port)
	}
	g.moves(&in, &out, way.Moves)
}

// moves sends what makes a connection do its moves.
func (g *generator) moves(in, out *segment, moves []machine.Move) {
	secure := -1
	for _, m := range moves {
		if want := map[*machine.Machine]int{machine.SecureTCP: 3}[m.Machine]; want != secure && m.Machine != machine.SCTP {
			secure = want
			g.say("#! vs secure_tcp=%d", want)
		}
		s, from := in, g.clients[0]
		if m.Out {
			s, from = out, g.servers[0]
		}
		if m.Machine == machine.SCTP {
			s.chunk = machine.Chunk(m.Event)
		} else {
			s.flags = machine.Flags(m.Event)
		}
		g.straight(from, m.Out, s)
	}
}

// straight sends a packet to the director from the network of the clients or of
// the servers, whoever is there.
func (g *generator) straight(from station, back bool, s *segment) {
	i := 0
	if back && g.two {
		i = 1
	}
	mac := from.mac
	g.say("#! arrive director:eth%d %x", i, ether(g.directors[0].macs[i], mac, s.packet()))
}

// syn is a client's first packet to an address.
func (g *generator) syn(c station, port uint16, to netip.AddrPort) *segment {
	src := c.v4
	if to.Addr().Is6() {
		src = c.v6
	}
	return &segment{proto: protoTCP, ttl: 64, flags: wire.FlagSYN, src: netip.AddrPortFrom(src, port), dst: to}
}

// otherFamily: as in the kernel, a server that was deleted comes back under a
// mark's service of the other family, with the templates that remember it.
func (g *generator) otherFamily() {
	mark, c := 40+g.r.IntN(3), g.clients[0]
	rs, vip := g.servers[0].v6, phantomVIP[0]
	g.say("director$ iptables -t mangle -A PREROUTING -d %v -p tcp --dport 80 -j MARK --set-mark %d", vip, mark)
	g.say("director$ ipvsadm -A -f %d -s rr -p 300", mark)
	g.say("director$ ipvsadm -a -f %d -r %v -i", mark, rs)
	to := netip.AddrPortFrom(vip, 80)
	g.straight(c, false, g.syn(c, 3001, to))
	g.say("director$ ipvsadm -d -f %d -r %v", mark, rs)
	g.say("director$ ipvsadm -A -f %d -6 -s rr", mark)
	g.say("director$ ipvsadm -a -f %d -6 -r %v -m", mark, rs)
	g.straight(c, false, g.syn(c, 3002, to))
}

// foreignRoute: a server that is reached by an interface which usvs has nothing
// to do with.
func (g *generator) foreignRoute() {
	c, to := g.clients[0], netip.AddrPortFrom(phantomVIP[0], 81)
	g.say("director$ ip link add dum0 type dummy")
	g.say("director$ ip route add 192.0.2.0/24 dev dum0")
	g.say("director$ ipvsadm -A -t %v -s rr", to)
	g.say("director$ ipvsadm -a -t %v -r 192.0.2.9 %s", to, pick(g, []string{"-m", "-i", "-g"}))
	g.straight(c, false, g.syn(c, 3003, to))
}

// noEthernet: a server that is routed to directly turns out to be reached by an
// interface without MAC addresses.
func (g *generator) noEthernet() {
	c, to := g.clients[0], netip.AddrPortFrom(phantomVIP[0], 82)
	g.say("director$ ip tuntap add dev tun0 mode tun")
	g.say("director$ ip addr add 10.9.0.1/24 dev tun0")
	g.say("director$ ipvsadm -A -t %v -s rr", to)
	g.say("director$ ipvsadm -a -t %v -r 10.1.0.230 -g", to)
	g.say("director$ ipvsadm -a -t %v -r 10.9.0.2 %s", to, pick(g, []string{"-m", "-i"}))
	g.straight(c, false, g.syn(c, 3004, to))
	g.say("director$ ip route add 10.1.0.230/32 dev tun0")
	for i := range uint16(3) {
		g.straight(c, false, g.syn(c, 3005+i, to))
	}
}

// bypassEnds: a connection without a server, to what becomes the host's own.
func (g *generator) bypassEnds() {
	c, dst := g.clients[0], netip.MustParseAddr("10.0.0.150")
	g.say("#! vs cache_bypass=1")
	g.say("#! vs drop_packet=0")
	g.say("director$ iptables -t mangle -A PREROUTING -d 10.0.0.144/28 -p tcp --dport 83 -j MARK --set-mark 50")
	g.say("director$ ipvsadm -A -f 50 -s rr")
	to := netip.AddrPortFrom(dst, 83)
	for range 2 {
		g.straight(c, false, g.syn(c, 3010, to))
	}
	g.say("director$ ip addr add %v/32 dev eth0", dst)
	g.straight(c, false, g.syn(c, 3010, to))
	g.say("director$ ip addr del %v/32 dev eth0", dst)
}

// defence makes the director refuse some new connections.
func (g *generator) defence() {
	c, to := g.clients[0], netip.AddrPortFrom(phantomVIP[0], 84)
	g.say("#! vs am_droprate=%d", 1+g.r.IntN(4))
	g.say("#! vs drop_packet=3")
	g.say("director$ ipvsadm -A -t %v -s rr", to)
	g.say("director$ ipvsadm -a -t %v -r %v -m", to, phantomServer[0])
	for i := range uint16(6) {
		g.straight(c, false, g.syn(c, 3020+i, to))
	}
	g.say("#! vs drop_packet=%d", g.r.IntN(2)*3)
}

// noKey: a persistence engine that does not find what it goes by.
func (g *generator) noKey() {
	c, to := g.clients[0], netip.AddrPortFrom(phantomVIP[0], 5060)
	g.say("director$ ipvsadm -A -u %v -s rr -p 60 --pe sip", to)
	g.say("director$ ipvsadm -a -u %v -r %v -m", to, phantomServer[0])
	s := g.syn(c, 3040, to)
	s.proto, s.data = protoUDP, []byte("OPTIONS sip:x SIP/2.0\r\n\r\n")
	g.straight(c, false, s)
}

// ftpControl opens a connection to an FTP service.
func (g *generator) ftpControl(port uint16) *segment {
	to := netip.AddrPortFrom(phantomVIP[0], 21)
	g.say("director$ ipvsadm -A -t %v -s rr", to)
	g.say("director$ ipvsadm -a -t %v -r %v:21 -m", to, phantomServer[0])
	g.say("#! vs drop_packet=0")
	g.say("#! vs secure_tcp=0")
	s := g.syn(g.clients[0], port, to)
	g.straight(g.clients[0], false, s)
	s.flags = wire.FlagACK
	g.straight(g.clients[0], false, s)
	return s
}

// helperMistrusts: the helper of FTP reads nothing with a wrong checksum.
func (g *generator) helperMistrusts() {
	s := g.ftpControl(uint16(3050 + g.r.IntN(100)))
	s.data = []byte("PASV\r\n")
	b := ether(g.directors[0].macs[0], g.clients[0].mac, s.packet())
	b[len(b)-1] ^= 1
	g.say("#! arrive director:eth0 %x", b)
}

// templateRace: while a worker opens a connection, its client's template dies,
// again and again. The case ends with it, for the workers' clocks go apart.
func (g *generator) templateRace() {
	to := netip.AddrPortFrom(phantomVIP[0], 85)
	g.say("#! vs drop_packet=0")
	g.say("director$ ipvsadm -A -t %v -s rr -p 1", to)
	g.say("director$ ipvsadm -a -t %v -r %v -m", to, phantomServer[0])
	c := g.clients[0]
	g.race("template", g.syn(c, 3030, to), g.syn(c, 3031, to))
}

// helperRace: two workers show the helper two packets of one connection.
func (g *generator) helperRace() {
	one := g.ftpControl(3041)
	two := *one
	one.data, two.data = []byte("PASV\r\n"), []byte("EPSV\r\n")
	g.race("helper", one, &two)
}

func (g *generator) race(kind string, first, second *segment) {
	c, mac := g.clients[0], g.directors[0].macs[0]
	g.say("#! race %s director:eth0 %x %x", kind, ether(mac, c.mac, first.packet()), ether(mac, c.mac, second.packet()))
}
