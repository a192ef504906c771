package fuzz

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"usvs/wire"
)

// frame writes one frame that somebody sends: a client, a server, or an enemy.
func (g *generator) frame() {
	s := pick(g, g.services)
	c := g.client(s)
	seg := g.fromClient(s, c)
	switch n := g.r.IntN(40); {
	case n < 8 && len(s.servers) > 0:
		g.fromServer(s, c)
	case n < 16 && len(g.flows) > 0: // another packet of a flow there was
		old := pick(g, g.flows)
		old.flags, old.chunk = g.flags(), g.chunk()
		g.send(c, &old)
	case n < 18:
		g.fragments(s, c)
	case n < 20 && len(g.flows) > 0:
		g.icmpError(s, c)
	case n == 20:
		g.damaged(c, &seg)
	case n == 21: // from nowhere
		seg.src = netip.AddrPortFrom(pick(g, []netip.Addr{netip.MustParseAddr("127.0.0.5"), seg.dst.Addr(),
			netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("0.0.0.0")}), 999)
		if seg.src.Addr().Is4() == seg.dst.Addr().Is4() {
			g.send(c, &seg)
		}
	case n == 22:
		seg.ttl = byte(g.r.IntN(3))
		g.send(c, &seg)
	case n == 23 && seg.proto == protoUDP:
		seg.noSum = true
		g.send(c, &seg)
	case n < 26 && seg.proto == protoUDP && len(s.servers) > 0:
		if rs := pick(g, s.servers); rs.nat && rs.addr.Is4() == seg.src.Addr().Is4() {
			seg.zeroSum(netip.AddrPortFrom(rs.addr, rs.port))
		}
		g.send(c, &seg)
	case n == 26:
		seg.data, seg.df = make([]byte, 900+g.r.IntN(600)), g.chance(2)
		g.send(c, &seg)
	case n == 27:
		g.truncated(c, &seg)
	case n == 28:
		seg.proto = pick(g, []uint8{protoICMP, protoICMPv6, 50, 51, 2})
		seg.kind, seg.data = [2]byte{8, 0}, make([]byte, 40)
		g.send(c, &seg)
	case n == 29:
		g.send(c, &segment{proto: seg.proto, src: seg.src, dst: netip.AddrPortFrom(unowned, seg.dst.Port()), ttl: 64, flags: 2})
	case n == 31 && g.chance(4): // for a VLAN interface
		b := ether(c.gw, c.mac, seg.packet())
		g.say("#! frame %s:eth0 %x8100000a%x", c.name, b[:12], b[12:])
	case n == 30:
		seg.options = true
		g.send(c, &seg)
	default:
		g.flows = append(g.flows, seg)
		g.send(c, &seg)
	}
}

func (g *generator) flags() uint8 {
	return pick(g, []uint8{wire.FlagSYN, wire.FlagSYN, wire.FlagACK, wire.FlagACK, wire.FlagACK | wire.FlagFIN, wire.FlagRST,
		wire.FlagSYN | wire.FlagACK, 0, 0x18})
}

func (g *generator) chunk() byte {
	return pick(g, []byte{1, 1, 0, 2, 10, 11, 7, 8, 14, 9, 6, 3})
}

// fromClient is a packet from a client to a service, usually its first.
func (g *generator) fromClient(s *service, c station) segment {
	addr := c.v4
	if s.vip.Is6() {
		addr = c.v6
	}
	port := s.port
	if port == 0 || g.chance(20) {
		port = uint16(1 + g.r.IntN(2000))
	}
	seg := segment{
		proto: s.proto, src: netip.AddrPortFrom(addr, uint16(1024+g.r.IntN(40))), dst: netip.AddrPortFrom(s.vip, port),
		flags: wire.FlagSYN, chunk: 1, ttl: 64, id: uint16(g.r.IntN(65536)), data: make([]byte, g.r.IntN(40)*4%36),
	}
	if g.chance(4) {
		seg.flags, seg.chunk = g.flags(), g.chunk()
	}
	return seg
}

// fromServer is a server's answer, as NAT has it or as DR has it.
func (g *generator) fromServer(s *service, c station) {
	rs := pick(g, s.servers)
	seg := g.fromClient(s, c)
	if len(g.flows) > 0 && g.chance(2) {
		seg = pick(g, g.flows)
		seg.flags, seg.chunk = g.flags(), g.chunk()
	}
	end := netip.AddrPortFrom(rs.addr, rs.port)
	if rs.port == 0 {
		end = netip.AddrPortFrom(rs.addr, seg.dst.Port())
	}
	if end.Addr().Is4() != seg.src.Addr().Is4() {
		return
	}
	seg.dst = seg.src
	seg.src = end
	if g.chance(10) {
		seg.src = netip.AddrPortFrom(s.vip, s.port)
		if s.vip.Is4() != seg.dst.Addr().Is4() {
			return
		}
	}
	g.send(rs.at, &seg)
}

// send writes the frame of a packet.
func (g *generator) send(from station, s *segment) { g.raw(from, s.packet()) }

func (g *generator) raw(from station, ip []byte) {
	g.say("#! frame %s:eth0 %x", from.name, ether(from.gw, from.mac, ip))
}

// fragments sends a datagram in pieces: in order or not, complete or not,
// sometimes overlapping.
func (g *generator) fragments(s *service, c station) {
	seg := g.fromClient(s, c)
	seg.data = make([]byte, 8+g.r.IntN(2000))
	if seg.proto == protoSCTP {
		return
	}
	if g.chance(150) {
		g.say("#! burst director:eth0 1100 %x", ether(g.directors[0].macs[0], c.mac, seg.pieces(64)[0]))
	}
	list := seg.pieces(pick(g, []int{8, 64, 512, 1208}))
	list = list[:min(len(list), 40)]
	if g.chance(12) && seg.src.Addr().Is6() {
		for i := range list {
			list[i] = nested(list[i])
		}
	}
	switch g.r.IntN(6) {
	case 0:
		slices.Reverse(list)
	case 1:
		g.r.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	case 2:
		list = list[:len(list)-1]
	case 3:
		list = append(seg.pieces(24)[:1], list...)
	}
	for _, b := range list {
		g.raw(c, b)
	}
}

// nested puts one more fragment header before an IPv6 packet's, which says that
// it is whole: what is put together is then a fragment again.
func nested(ip []byte) []byte {
	b := append(append([]byte{}, ip[:40]...), ip[6], 0, 0, 0, 0, 0, 0, 7)
	b[6] = protoFrag6
	binary.BigEndian.PutUint16(b[4:], uint16(len(ip)-40+8))
	return append(b, ip[40:]...)
}

// icmpError reports an error about a packet of a flow, to either end.
func (g *generator) icmpError(s *service, c station) {
	old := pick(g, g.flows)
	from := c
	quoted := old
	quoted.data = make([]byte, 8)
	if len(s.servers) > 0 && g.chance(2) { // a server complains
		rs := pick(g, s.servers)
		if rs.addr.Is4() != old.src.Addr().Is4() {
			return
		}
		from = rs.at
		quoted.dst = netip.AddrPortFrom(rs.addr, rs.port)
	} else { // a client complains about an answer
		quoted.src, quoted.dst = old.dst, old.src
	}
	g.complain(from, &quoted, quoted.packet())
	if rsTunnel := g.chance(3); rsTunnel && quoted.src.Addr().Is4() {
		outer := segment{proto: protoIPIP, src: netip.AddrPortFrom(netip.MustParseAddr("10.1.0.1"), 0),
			dst: netip.AddrPortFrom(from.v4, 0), ttl: 64, data: old.packet()}
		if old.src.Addr().Is4() {
			g.complain(from, &outer, outer.packet())
		}
	}
}

func (g *generator) complain(from station, about *segment, quoted []byte) {
	e := segment{proto: protoICMP, ttl: 64, kind: pick(g, [][2]byte{{3, 1}, {3, 3}, {3, 4}, {11, 0}, {12, 0}})}
	here := from.v4
	if about.src.Addr().Is6() {
		e.proto, here = protoICMPv6, from.v6
		e.kind = pick(g, [][2]byte{{1, 4}, {2, 0}, {3, 0}})
	}
	e.src, e.dst = netip.AddrPortFrom(here, 0), netip.AddrPortFrom(about.src.Addr(), 0)
	e.data = append([]byte{0, 0, 4, 208}, quoted...)
	b := e.packet()
	if g.chance(6) {
		b[len(b)-1] ^= 1 // the checksum is wrong now
	}
	g.raw(from, b)
}

// damaged sends a packet with a byte changed.
func (g *generator) damaged(c station, s *segment) {
	b := s.packet()
	b[g.r.IntN(len(b))] ^= byte(1 << g.r.IntN(8))
	g.raw(c, b)
}

// truncated sends a packet whose transport header is cut short.
func (g *generator) truncated(c station, s *segment) {
	body := s.transport()
	g.raw(c, s.wrap(body[:min(g.r.IntN(20), len(body))], 0, false))
}

// super writes a super-frame of a flow, an open one if there is any.
func (g *generator) super() {
	for _, old := range slices.Backward(g.flows) {
		if old.proto != protoTCP || old.src.Addr().Is6() {
			continue
		}
		c := g.clients[0]
		syn := old
		syn.flags = wire.FlagSYN
		g.send(c, &syn)
		old.flags, old.df, old.data = wire.FlagACK, !g.chance(3), make([]byte, 3000+g.r.IntN(2000))
		size := pick(g, []int{3, 500, 1400, 1460})
		g.say("#! super director:eth0 %d %x", size, ether(g.directors[0].macs[0], c.mac, old.packet()))
		return
	}
}

// flood opens more connections from one port of one client than it may have.
func (g *generator) flood() {
	c := g.clients[0]
	g.say("director$ ipvsadm -A -u 10.0.0.101:0 -s rr -p 30")
	g.say("director$ ipvsadm -a -u 10.0.0.101:0 -r %v -g", g.servers[0].v4)
	seg := segment{proto: protoUDP, src: netip.AddrPortFrom(c.v4, 5000), ttl: 64}
	for port := range uint16(530) {
		seg.dst = netip.AddrPortFrom(vips[1], 2000+port)
		g.send(c, &seg)
	}
}
