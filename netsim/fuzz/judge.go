package fuzz

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"usvs/conntrack"
	"usvs/director"
	"usvs/ipvs"
	"usvs/netsim"
	"usvs/wire"
)

// Violation is an invariant that a frame broke.
type Violation struct {
	Rule string // names the invariant; a shrunk case breaks the same one
	Text string
}

// Error describes it.
func (v *Violation) Error() string { return v.Rule + ": " + v.Text }

// Judge watches a director of a simulated network.
type Judge struct {
	dir   *netsim.Director
	net   *netsim.Net
	cover *Coverage
	dirty bool // links turn bits over: ARP may have been told lies
	first *Violation
	off   bool // it judges frames no more
	super bool // the frame at hand is a super-frame, with half a checksum

	table   shadow
	book    book
	twins   map[*ipvs.VirtualService]*twin
	heard   heard
	seeds   *rand.Rand                // of the director's schedulers
	deleted map[*ipvs.RealServer]bool // since the last frame

	ev *director.Event // at hand
	in *packet         // of ev.Before, nil if it is no sound packet
}

// Watch makes a Judge look at everything the director does from now on. dirty
// says that links may corrupt frames.
func Watch(d *netsim.Director, cover *Coverage, dirty bool) *Judge {
	j := &Judge{dir: d, net: d.Net(), cover: cover, dirty: dirty, twins: map[*ipvs.VirtualService]*twin{}}
	j.deleted = map[*ipvs.RealServer]bool{}
	j.seeds = j.net.Rand("schedulers of " + d.Name())
	j.table.init()
	j.book.init()
	d.Listen(j)
	d.Core().Observe(j.event)
	j.net.Observe(j.spoken)
	return j
}

// Err is the first Violation, or nil.
func (j *Judge) Err() *Violation { return j.first }

func (j *Judge) broken(rule, format string, args ...any) {
	if j.first != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if j.ev != nil {
		text += fmt.Sprintf("\n  at %v, %v: %s", netsim.Since(j.ev.Now), j.ev.Reason, netsim.Summary(j.ev.Before))
		for _, e := range j.ev.After {
			text += fmt.Sprintf("\n  out: %s", netsim.Summary(e.Data))
		}
	}
	j.first = &Violation{rule, text}
}

// event judges a frame that the director has just dealt with.
func (j *Judge) event(ev *director.Event) {
	if j.first != nil || j.off {
		return
	}
	j.ev = ev
	j.in, _ = readIP(ev.Before)
	j.account()
	for i := range ev.After {
		j.emitted(&ev.After[i])
	}
	j.forwarded()
	j.passed()
	j.ev, j.heard = nil, heard{}
	clear(j.deleted)
}

// emitted judges a frame by itself: lengths, checksums, stations.
func (j *Judge) emitted(e *director.Emitted) {
	p, err := j.left(e)
	if err != nil {
		j.broken("well-formed", "a frame that no host may send: %v", err)
		return
	}
	if !e.Host && j.ethernet(e) {
		j.stations(e, p)
	}
	if p == nil || j.super {
		return
	}
	if !p.sound() && j.judgesSum() && !j.tunnelUDP(p) {
		j.broken("checksum", "the transport checksum or length of a frame that left is wrong")
	}
	if j.ev.Reason == director.Consumed || j.ev.Reason == director.Passed {
		return // it waited for a neighbour; super-frames do, too
	}
	if n := len(p.raw); !e.Host && (n > everyHost || p.proto != protoICMP) && !(p.v6 && n <= minIPv6MTU) && e.Port >= 0 && e.Port < len(j.dir.Ports()) && n > j.dir.Ports()[e.Port].MTU() {
		j.broken("MTU", "a packet of %d bytes leaves by an interface whose MTU is %d", n, j.dir.Ports()[e.Port].MTU())
	}
}

// left reads a frame that left.
func (j *Judge) left(e *director.Emitted) (*packet, error) {
	switch {
	case j.ethernet(e):
		return readIP(e.Data)
	case len(e.Data) > 0 && e.Data[0]>>4 == 6:
		return read6(e.Data)
	}
	return read4(e.Data)
}

// ethernet reports whether a frame that left has a link header.
func (j *Judge) ethernet(e *director.Emitted) bool {
	return e.Host || e.Port < 0 || e.Port >= len(j.dir.Ports()) || j.dir.Ports()[e.Port].Medium() == wire.Ethernet
}

// minIPv6MTU is what every link carries that carries IPv6 (RFC 8200, 5).
const minIPv6MTU = 1280

// everyHost is what every host takes (RFC 791): ICMP errors are not cut further.
const everyHost = 576

// tunnelUDP reports whether p is a GUE tunnel's outer packet without checksum,
// which IPv6 allows tunnels (RFC 6935).
func (j *Judge) tunnelUDP(p *packet) bool {
	return p.v6 && p.proto == protoUDP && p.body[6]|p.body[7] == 0 && j.dir.Routes().IsLocal(p.src.Addr())
}

// judgesSum reports whether what leaves must have a right transport checksum:
// what the director made itself, and what came with one. Frames that waited for
// a neighbour leave when that answers, and came long before.
func (j *Judge) judgesSum() bool {
	switch j.ev.Reason {
	case director.Forwarded, director.Handed:
		return j.in != nil && j.in.sound() && !j.in.frag
	case director.Consumed, director.Passed, director.Waiting:
		return false
	}
	return true
}

// stations judges the link header: our own MAC, and that of who is next.
func (j *Judge) stations(e *director.Emitted, p *packet) {
	if e.Port < 0 || e.Port >= len(j.dir.Ports()) {
		j.broken("station", "a frame leaves by interface %d, which does not exist", e.Port)
		return
	}
	port := j.dir.Ports()[e.Port]
	if got := wire.MAC(e.Data[6:12]); got != port.MAC() {
		j.broken("station", "a frame leaves %v with the source MAC %v", port, got)
	}
	to := wire.MAC(e.Data[:6])
	if p == nil || j.dirty || to.IsMulticast() || j.ev.Reason != director.Forwarded {
		return
	}
	dst := p.dst.Addr()
	if c := j.table.inbound(j.in); c != nil && c.Method == ipvs.DirectRoute {
		dst = c.Real.Addr()
	}
	hop := j.dir.Routes().Lookup(dst)
	if want, ok := j.station(port, hop.Via); ok && to != want {
		j.broken("station", "a frame for %v leaves %v for the station %v; %v has %v", dst, port, to, hop.Via, want)
	}
}

// station is the MAC address of who has an address, if that is one host on the
// port's segment and beyond doubt.
func (j *Judge) station(near *netsim.Port, a netip.Addr) (mac wire.MAC, ok bool) {
	for _, n := range j.net.Nodes() {
		h, _ := n.(interface{ Ports() []*netsim.Port })
		if h == nil {
			continue
		}
		for _, p := range h.Ports() {
			for _, own := range p.Addrs() {
				if own.Addr() != a || p.Node() == near.Node() {
					continue
				}
				if ok {
					return mac, false
				}
				mac, ok = p.MAC(), true
			}
		}
	}
	return mac, ok
}

// passed judges what the director left alone: a server's answer through NAT is
// never among it.
func (j *Judge) passed() {
	p := j.in
	if j.ev.Reason != director.Passed || p == nil || !p.ports || p.frag || !j.serves(p.v6) {
		return
	}
	if c := j.table.outbound(p, netip.AddrPort{}); c != nil && c.Method == ipvs.Masquerade && !j.dir.Routes().IsLocal(p.dst.Addr()) {
		j.broken("NAT symmetry", "an answer of %v to %v was left as it is; its connection is to %v", c.Real, c.Client, c.Virtual)
	}
}

// serves reports whether there is a service of a family. Without one, as in the
// kernel, the director looks at no packet of it.
func (j *Judge) serves(v6 bool) bool {
	return slices.ContainsFunc(j.dir.Core().Snapshot().Services, func(s *director.Service) bool {
		return (s.VS.ID.Family == ipvs.IPv6) == v6
	})
}

// forwarded compares a frame that was sent on with how it came.
func (j *Judge) forwarded() {
	p := j.in
	if j.ev.Reason == director.Handed && j.table.inbound(p) != nil {
		j.cover.Methods["Local"]++
	}
	if j.ev.Reason != director.Forwarded || p == nil || len(j.ev.After) == 0 {
		return
	}
	if p.icmpError() {
		j.related()
		return
	}
	out, _ := j.left(&j.ev.After[0])
	if out == nil {
		return
	}
	if !p.ports {
		j.reassembled(out)
		return
	}
	if c := j.table.inbound(p); c != nil {
		j.cover.Methods[methodName(c)]++
		j.towardsServer(c, out)
		return
	}
	if c := j.table.outbound(p, out.src); c != nil {
		j.cover.Methods["Masq, back"]++
		j.towardsClient(c, out)
		return
	}
	if p.frag {
		j.reassembled(out)
		return
	}
	if p.proto != protoUDP || !j.owns(p.dst.Addr()) {
		j.broken("affinity", "a frame was forwarded that belongs to no connection")
	}
	j.cover.Methods["one packet"]++
}

// related judges an ICMP error on its way to a client: neither it nor what it
// quotes may name a server that NAT hides.
func (j *Judge) related() {
	out, _ := j.left(&j.ev.After[0])
	if out == nil || out.proto != protoICMP && out.proto != protoICMPv6 || out.frag || len(out.body) < 28 {
		return
	}
	j.cover.Methods["ICMP error"]++
	j.lowerTTL(out)
	quoted, ok := out.quoted()
	if !ok || j.in.frag {
		return
	}
	if c := j.table.outbound(&packet{ports: true, proto: quoted.proto, src: quoted.dst, dst: quoted.src}, netip.AddrPort{}); c != nil &&
		c.Method == ipvs.Masquerade && out.dst.Addr() == c.Client.Addr() && c.Real != c.Virtual && j.table.inbound(quoted) == nil {
		j.broken("NAT symmetry", "an ICMP error shows the client %v that its server is %v", c.Client, c.Real)
	}
}

func methodName(c *conntrack.Conn) string {
	if c.Method == ipvs.Tunnel && c.Server != nil {
		return "Tunnel " + [...]string{"IPIP", "GUE", "GRE"}[c.Server.Tunnel().Type]
	}
	return c.Method.String()
}

// reassembled judges a datagram that came in fragments and left whole or in
// others: it goes where its connection goes.
func (j *Judge) reassembled(out *packet) {
	if !out.ports || out.proto != j.in.proto || j.dir.Routes().IsLocal(out.src.Addr()) {
		return
	}
	for _, c := range j.table.conns {
		in := c.Method == ipvs.DirectRoute && out.src == c.Client && out.dst == c.Virtual ||
			c.Method == ipvs.Masquerade && out.src == c.Client && out.dst == c.Real
		back := c.Method == ipvs.Masquerade && out.src == c.Virtual && out.dst == c.Client
		if uint8(c.Protocol) != out.proto || c.Template() || !in && !back {
			continue
		}
		j.cover.Faults["reassembled"]++
		if in && j.in.src.Addr() != c.Client.Addr() {
			j.broken("fragments", "a datagram of %v goes on as %v's", j.in.src.Addr(), c.Client)
		}
		j.direct(&c, out)
		return
	}
	if out.proto == protoTCP || !j.onePacket(out) {
		j.broken("fragments", "a datagram that came in fragments left as %v > %v, of which there is no connection", out.src, out.dst)
	}
}

// onePacket reports whether a UDP packet may be forwarded without leaving a
// connection behind.
func (j *Judge) onePacket(*packet) bool {
	for _, svc := range j.dir.Core().Snapshot().Services {
		if svc.Spec.Flags&ipvs.FlagOnePacket != 0 {
			return true
		}
	}
	return false
}

// direct judges the station of a directly routed frame.
func (j *Judge) direct(c *conntrack.Conn, _ *packet) {
	e := &j.ev.After[0]
	if c.Method != ipvs.DirectRoute || e.Host || j.dirty {
		return
	}
	hop := j.dir.Routes().Lookup(c.Real.Addr())
	if want, ok := j.station(j.dir.Ports()[e.Port], hop.Via); ok && wire.MAC(e.Data[:6]) != want {
		j.broken("affinity", "a frame of the connection %v > %v leaves for %v, not for its server %v",
			c.Client, c.Virtual, wire.MAC(e.Data[:6]), c.Real)
	}
}

func (j *Judge) towardsServer(c *conntrack.Conn, out *packet) {
	p := j.in
	if !j.owns(p.dst.Addr()) {
		j.broken("ownership", "a frame for %v was forwarded, which is not the director's", p.dst)
	}
	switch c.Method {
	case ipvs.Masquerade:
		j.translated(out, p.src, c.Real)
	case ipvs.DirectRoute:
		j.direct(c, out)
		j.unchanged(out)
	case ipvs.Tunnel:
		if out.dst.Addr() != c.Real.Addr() {
			j.broken("affinity", "the tunnel's packet goes to %v; the connection's server is %v", out.dst, c.Real)
			return
		}
		if out.frag || c.Server == nil {
			return
		}
		inner, err := out.inner()
		if err != nil {
			j.broken("well-formed", "inside the tunnel: %v", err)
			return
		}
		j.unchanged(inner)
	}
}

// owns reports whether the director may take packets to an address: its own,
// and any while a service takes marks.
func (j *Judge) owns(a netip.Addr) bool {
	s := j.dir.Core().Snapshot()
	for _, svc := range s.Services {
		if svc.VS.ID.Mark != 0 {
			return true
		}
	}
	return s.Owned.Has(a)
}

// towardsClient judges an answer on its way back: from the virtual service.
func (j *Judge) towardsClient(c *conntrack.Conn, out *packet) {
	if c.Method != ipvs.Masquerade {
		return
	}
	if out.src.Addr() != c.Virtual.Addr() || out.ports && out.src != c.Virtual {
		j.broken("NAT symmetry", "an answer leaves in the name of %v; the client asked %v", out.src, c.Virtual)
		return
	}
	j.translated(out, c.Virtual, j.in.dst)
}

// translated judges a packet through NAT: the addresses are these, the TTL is
// one lower, the rest is as it was.
func (j *Judge) translated(out *packet, src, dst netip.AddrPort) {
	p := j.in
	j.lowerTTL(out)
	if out.src.Addr() != src.Addr() || out.dst.Addr() != dst.Addr() || out.ports && (out.src != src || out.dst != dst) {
		j.broken("affinity", "a packet %v > %v leaves as %v > %v, not as %v > %v", p.src, p.dst, out.src, out.dst, src, dst)
		return
	}
	if j.super || p.frag || out.frag || p.options || out.proto != p.proto {
		return
	}
	if a, b := payload(p), payload(out); !bytes.Equal(a, b) {
		j.broken("payload", "the payload changed on its way")
	}
	j.udpChecksum(out)
}

// udpChecksum: a sum of 0 is written as 0xffff, for 0 says that there is none
// (RFC 768). As in the kernel, NAT may give a packet without one a checksum.
func (j *Judge) udpChecksum(out *packet) {
	p := j.in
	if p.proto != protoUDP || !p.sound() {
		return
	}
	before, after := p.body[6]|p.body[7], out.body[6]|out.body[7]
	if before != 0 && after == 0 {
		j.broken("UDP checksum", "the checksum %x became 0, which means none", p.body[6:8])
	}
	switch {
	case before == 0:
		j.cover.Faults["UDP without checksum"]++
	case out.body[6] == 0xff && out.body[7] == 0xff:
		j.cover.Faults["UDP checksum 0xffff"]++
	}
}

// payload is the transport packet without its ports and checksum.
func payload(p *packet) []byte {
	b := append([]byte(nil), p.body...)
	if len(b) < 8 {
		return nil
	}
	b[0], b[1], b[2], b[3] = 0, 0, 0, 0
	at := map[uint8]int{protoTCP: 16, protoUDP: 6}[p.proto]
	if p.proto == protoSCTP {
		clear(b[8:min(12, len(b))])
	} else if at > 0 && len(b) >= at+2 {
		b[at], b[at+1] = 0, 0
	}
	return b
}

func (j *Judge) lowerTTL(out *packet) {
	if out.ttl != j.in.ttl-1 {
		j.broken("TTL", "it came with TTL %d and leaves with %d", j.in.ttl, out.ttl)
	}
}

// unchanged judges a packet that goes on as it came, but for the TTL.
func (j *Judge) unchanged(out *packet) {
	p := j.in
	if j.ev.After[0].Host {
		return
	}
	j.lowerTTL(out)
	if j.super || out.frag || p.frag || p.options {
		return
	}
	a, b := append([]byte(nil), p.raw...), append([]byte(nil), out.raw...)
	for _, x := range [][]byte{a, b} {
		if p.v6 {
			x[7] = 0
		} else {
			x[8], x[10], x[11] = 0, 0, 0
		}
	}
	if !bytes.Equal(a, b) {
		j.broken("payload", "a packet that was to go on as it came was changed")
	}
}

// spoken judges the director's ARP and ND: it answers, asks and announces in the
// name of its own addresses.
func (j *Judge) spoken(r *netsim.Record) {
	if r.From.Node() != netsim.Node(j.dir) || len(r.Data) < 42 {
		return
	}
	if r.Data[12] == 8 && r.Data[13] == 6 {
		j.owning(netip.AddrFrom4([4]byte(r.Data[28:32])), "ARP", r)
		return
	}
	p, _ := readIP(r.Data)
	if p == nil || p.proto != protoICMPv6 || len(p.body) < 24 {
		return
	}
	switch p.body[0] {
	case neighbourSolicitation:
		j.owning(p.src.Addr(), "ND", r)
	case neighbourAdvertisement: // RFC 4861, 4.4
		j.owning(netip.AddrFrom16([16]byte(p.body[8:24])), "ND", r)
	}
}

// Types of neighbour discovery messages (RFC 4861).
const (
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
)

// owning judges that the director may speak for an address.
func (j *Judge) owning(a netip.Addr, what string, r *netsim.Record) {
	if a.IsUnspecified() || j.dir.Routes().IsLocal(a) || slices.Contains(j.dir.Core().Snapshot().Answered(), a) {
		j.cover.Faults[what+" spoken"]++
		return
	}
	j.broken("ownership", "the director speaks %s for %v, which is not its own: %s", what, a, netsim.Summary(r.Data))
}
