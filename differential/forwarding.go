package differential

import (
	"fmt"
	"net/netip"
	"strconv"

	"usvs/wire"
)

// forwarding: every forwarding method and tunnel, whole frames: sizes, TTLs,
// fragments, options, errors about them.
func forwarding(d *draft) {
	l := &lab{draft: d}
	d.add("full")
	if d.oneIn(3) {
		d.links = append(d.links, fmt.Sprintf("mtu s %d", pick(d, 1300, 1400, 1280, 1492, 9000)))
	}
	if d.oneIn(8) {
		d.links = append(d.links, fmt.Sprintf("mtu c %d", pick(d, 1300, 1400, 9000)))
	}
	if d.oneIn(4) {
		d.sysctl("pmtu_disc", 0)
	}
	if d.oneIn(4) {
		d.sysctl("nat_icmp_send", 1)
	}
	v6 := d.oneIn(3)
	for range d.between(1, 3) {
		l.forwarder(v6)
	}
	d.began = true
	flows := []flow{}
	for _, s := range l.services {
		f := l.flow(s, 6)
		flows = append(flows, f)
		l.packet(f, opening(f.protocol))
	}
	for range d.between(10, 30) {
		flows = l.exchange(flows)
		l.tick()
	}
	if d.oneIn(2) {
		d.add("@ 2.5")
		d.ipvsadm("-Ln --stats")
	}
	d.ipvsadm("-Lnc")
}

// forwarder defines a service with servers of any method.
func (l *lab) forwarder(v6 bool) {
	s := &service{
		protocol: often(l.draft, w(4, "tcp"), w(4, "udp"), w(1, "sctp")),
		vip:      l.vip(v6),
		port:     80 + len(l.services),
		method:   often(l.draft, w(4, "-m"), w(2, "-g"), w(4, "-i")),
		options:  "-s rr",
	}
	if l.oneIn(6) && len(l.services) == 0 {
		s.mark, s.port = 7, 0
	}
	if s.protocol == "udp" && l.oneIn(6) {
		s.options += " -o"
	}
	l.define(s)
	for range l.between(1, 3) {
		if s.method == "-i" {
			l.tunnel(s)
		} else {
			l.grow(s)
		}
	}
}

// tunnel adds a tunnel's end, sometimes of the other family.
func (l *lab) tunnel(s *service) {
	options := often(l.draft, w(3, ""),
		w(1, "--tun-type gre"), w(1, "--tun-type gre --tun-csum"),
		w(1, "--tun-type gue --tun-port 6080"), w(1, "--tun-type gue --tun-port 6080 --tun-csum"),
		w(1, "--tun-type gue --tun-port 6080 --tun-remcsum"))
	if !l.oneIn(5) {
		l.grow(s, options)
		return
	}
	n := l.between(firstServer, lastServer)
	r := server{netip.MustParseAddr(fmt.Sprintf("fd00:3::%d", n)), s.port}
	if s.vip.Is6() {
		r.addr = netip.MustParseAddr(fmt.Sprintf("10.3.0.%d", n))
	}
	for _, o := range s.servers {
		if o == r {
			return
		}
	}
	s.servers = append(s.servers, r)
	l.ipvsadm("-a", s.name(), "-r", r.String(), "-i", options)
}

// exchange adds one thing that happens on the wires.
func (l *lab) exchange(flows []flow) []flow {
	f := pick(l.draft, flows...)
	switch n := l.IntN(100); {
	case n < 30:
		l.packet(f, l.usual(f.protocol), l.looks(f)...)
	case n < 42:
		l.fromServer(f, func(r server) { l.reply(f, r, l.usual(f.protocol), l.looks(f)...) })
	case n < 54:
		l.fragments(f)
	case n < 66:
		l.errorFromClient(f)
	case n < 74:
		l.fromServer(f, func(r server) { l.errorFromServer(f, r) })
	case n < 78:
		l.errorAboutTunnel(f)
	case n < 86:
		l.odd(f)
	case n < 90:
		l.ipvsadm("-Lnc")
	case n < 93:
		l.change(f.service, "-w "+strconv.Itoa(l.IntN(3)))
	case n < 95:
		l.add("@ %d", pick(l.draft, 1, 3, 35, 70))
	default:
		f = l.flow(f.service, 6)
		l.packet(f, opening(f.protocol), l.looks(f)...)
		return append(flows, f)
	}
	return flows
}

// usual is an ordinary packet of a connection.
func (l *lab) usual(protocol string) string {
	switch protocol {
	case "tcp":
		return pick(l.draft, "A", "PA", "S", "SA", "FA")
	case "sctp":
		return pick(l.draft, "INIT", "COOKIE_ECHO", "DATA", "SACK")
	}
	return ""
}

// looks are a macro's options: sizes about the limits, TTLs, DF, TOS.
func (l *lab) looks(f flow) (options []string) {
	if f.protocol != "sctp" && l.oneIn(2) {
		n := pick(l.draft, 0, 1, 7, 100, 1200, 1208, 1220, 1252, 1260, 1400, 1420, 1432, 1440, 1452, 1460)
		options = append(options, fmt.Sprintf("len=%d", n+pick(l.draft, 0, 0, -8, 8, 12)))
		if n == 0 || n == 1 || n == 7 {
			options[0] = fmt.Sprintf("len=%d", n)
		}
	}
	if l.oneIn(5) {
		options = append(options, fmt.Sprintf("ttl=%d", pick(l.draft, 0, 1, 2, 3, 255)))
	}
	if l.oneIn(5) {
		options = append(options, fmt.Sprintf("tos=%d", l.IntN(256)))
	}
	if f.client.Addr().Is4() {
		if l.oneIn(2) {
			options = append(options, "frag=0x4000")
		}
		options = append(options, fmt.Sprintf("id=%d", l.IntN(65536)))
	}
	return options
}

func (l *lab) fromServer(f flow, do func(server)) {
	if f.service.method == "-m" && len(f.service.servers) > 0 {
		do(pick(l.draft, f.service.servers...))
	}
}

// macro is the line that packet adds, for its frame.
func macro(f flow, kind string, options ...string) string {
	return join(append([]string{f.protocol, kind, f.client.String(), f.target.String()}, options...)...)
}

// backMacro is the line that reply adds, for its frame.
func backMacro(f flow, r server, kind string, options ...string) string {
	port := uint16(r.port)
	if port == 0 || f.service.mark != 0 {
		port = f.target.Port()
	}
	src := netip.AddrPortFrom(r.addr, port)
	return join(append([]string{f.protocol, "s", kind, src.String(), f.client.String()}, options...)...)
}

// errorFromClient is an ICMP error about a reply, which the client quotes as it
// saw it: from the virtual service.
func (l *lab) errorFromClient(f flow) {
	back := flow{f.service, f.protocol, f.target, f.client}
	about := build(macro(back, l.usual(f.protocol), l.reasonable(f)...))
	typ, code, rest := l.icmp(f.client.Addr().Is6())
	from := f.client.Addr()
	if l.oneIn(3) {
		from = client(20, from.Is6()) // a router on the way
	}
	l.raw("c", l.perhapsBroken(icmpError("c", from, f.target.Addr(), typ, code, rest, about, l.quote())))
}

// errorFromServer is one about a request, quoted as the server saw it.
func (l *lab) errorFromServer(f flow, r server) {
	port := uint16(r.port)
	if port == 0 || f.service.mark != 0 {
		port = f.target.Port()
	}
	seen := flow{f.service, f.protocol, f.client, netip.AddrPortFrom(r.addr, port)}
	about := build(macro(seen, l.usual(f.protocol), l.reasonable(f)...))
	typ, code, rest := l.icmp(f.client.Addr().Is6())
	l.raw("s", l.perhapsBroken(icmpError("s", r.addr, f.client.Addr(), typ, code, rest, about, l.quote())))
}

// errorAboutTunnel is one about a tunnel's packet, from a router on its way.
func (l *lab) errorAboutTunnel(f flow) {
	if f.service.method != "-i" || len(f.service.servers) == 0 || f.service.vip.Is6() {
		return
	}
	r := pick(l.draft, f.service.servers...)
	if r.addr.Is6() {
		return
	}
	const ipip = 4
	dip := netip.MustParseAddr("10.2.0.1")
	inner := build(macro(f, l.usual(f.protocol), l.reasonable(f)...))[wire.EthernetLen:]
	about := packetFrom("s", dip, r.addr, ipip, inner)
	typ, code, rest := l.icmp(false)
	l.raw("s", icmpError("s", netip.MustParseAddr("10.2.0.254"), dip, typ, code, rest, about, l.quote()))
}

// reasonable are options of a packet that an error is about.
func (l *lab) reasonable(f flow) []string {
	options := []string{"ttl=" + strconv.Itoa(l.between(1, 60))}
	if f.protocol != "sctp" {
		options = append(options, "len="+strconv.Itoa(pick(l.draft, 0, 20, 500, 1400)))
	}
	if f.client.Addr().Is4() && l.oneIn(2) {
		options = append(options, "frag=0x4000")
	}
	return options
}

// icmp is an error's type, code and the four bytes that follow.
func (l *lab) icmp(v6 bool) (typ, code uint8, rest uint32) {
	type kind struct {
		typ, codes uint8
		mtu        bool
	}
	k := often(l.draft, w(5, kind{3, 16, false}), w(3, kind{11, 2, false}), w(1, kind{4, 1, false}), w(1, kind{12, 1, false}), w(1, kind{5, 2, false}))
	if v6 {
		k = often(l.draft, w(5, kind{1, 7, false}), w(3, kind{2, 1, true}), w(3, kind{3, 2, false}), w(1, kind{4, 3, false}))
	}
	code = uint8(l.IntN(int(k.codes)))
	if k.mtu || k.typ == 3 && code == 4 && !v6 {
		rest = uint32(pick(l.draft, 0, 68, 576, 1280, 1400, 1500))
	}
	return k.typ, code, rest
}

// quote is how much of a packet an error quotes, headers included.
func (l *lab) quote() int { return pick(l.draft, 28, 28, 40, 48, 68, 76, 128, 548, 20, 24, 1300) }

// perhapsBroken spoils the transport checksum of a frame, rarely.
func (l *lab) perhapsBroken(frame []byte) []byte {
	if l.oneIn(12) {
		frame[headerLen(frame)+2] ^= 0xff
	}
	return frame
}

// odd is a packet that is unusual without being an error.
func (l *lab) odd(f flow) {
	v6 := f.client.Addr().Is6()
	b := build(macro(f, l.usual(f.protocol)))
	body := b[headerLen(b):]
	switch l.IntN(8) {
	case 0:
		if v6 {
			b = withExtension(b, pick[byte](l.draft, 0, 60))
		} else {
			b = withOptions(b, 1, 1, 1, 1)
		}
	case 1: // a wrong checksum
		body[len(body)-1] ^= 0x55
	case 2: // a UDP datagram without one
		if f.protocol == "udp" && !v6 {
			body[6], body[7] = 0, 0
		}
	case 3: // a ping to the virtual address
		b = l.ping("c", f.client.Addr(), f.target.Addr())
	case 4: // a ping through the director
		if len(f.service.servers) > 0 {
			b = l.ping("c", f.client.Addr(), serverOf(l, f))
		}
	case 5: // a packet for nobody's service
		f.target = netip.AddrPortFrom(f.target.Addr(), 9)
		b = build(macro(f, l.usual(f.protocol)))
	case 6: // padding behind the packet, as short frames have
		b = append(b, make([]byte, l.between(1, 20))...)
	case 7: // a protocol that IPVS does not know
		kind := pick[uint8](l.draft, 47, 50, 51, 89)
		if v6 && kind == wire.ProtoAH {
			kind = wire.ProtoESP // see docs/differential.md
		}
		b = packetFrom("c", f.client.Addr(), f.target.Addr(), kind, body)
	}
	l.raw("c", b)
}

// serverOf is a server's address that a ping of the flow's family can go to.
func serverOf(l *lab, f flow) netip.Addr {
	addr := pick(l.draft, f.service.servers...).addr
	if addr.Is6() != f.client.Addr().Is6() {
		return f.target.Addr()
	}
	return addr
}

func (l *lab) ping(link string, from, to netip.Addr) []byte {
	b := []byte{wire.ICMPEcho, 0, 0, 0, 0, 1, 0, 1, 'p', 'i', 'n', 'g'}
	proto, pseudo := uint8(wire.ProtoICMP), uint64(0)
	if from.Is6() {
		b[0], proto = wire.ICMPv6Echo, wire.ProtoICMPv6
		pseudo = wire.PseudoSum(from, to, proto, len(b))
	}
	wire.ICMP(b).SetChecksum(^wire.Fold(wire.Sum(b, pseudo)))
	return packetFrom(link, from, to, proto, b)
}
