package netsim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"usvs/clock"
	"usvs/forward"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// learnedMTU is a path MTU that an ICMP error told of.
type learnedMTU struct {
	mtu   int
	until clock.Instant
}

// pmtuTime is how long a learned path MTU is believed (RFC 1191 section 6.3).
const pmtuTime = 10 * time.Minute

// maxPMTUs is how many learned path MTUs a host remembers.
const maxPMTUs = 4096

// PacketOptions are what a packet may differ in from the ordinary.
type PacketOptions struct {
	TTL          uint8 // 0: the host's default
	TOS          uint8
	DontFragment bool // IPv4 DF: too long a packet is refused; always so for an IPv6 one that Fragment does not allow
}

// ErrTooLong says that a packet with DF exceeds the path's MTU.
type ErrTooLong struct{ MTU int }

func (e ErrTooLong) Error() string {
	return fmt.Sprintf("message too long: the path's MTU is %d", e.MTU)
}

// Source is the address that packets to dst come from, or the zero Addr if
// there is no way there.
func (h *Host) Source(dst netip.Addr) netip.Addr {
	switch hop := h.table.Lookup(dst); hop.Kind {
	case route.Local:
		return dst
	case route.Unicast:
		return hop.Src
	}
	return netip.Addr{}
}

// PathMTU is the longest packet to dst, as far as the host knows.
func (h *Host) PathMTU(dst netip.Addr) int {
	hop := h.table.Lookup(dst)
	if hop.Kind == route.Local {
		return h.lo.mtu
	}
	return h.pathMTU(dst, hop.MTU)
}

func (h *Host) pathMTU(dst netip.Addr, mtu int) int {
	if len(h.pmtu) == 0 {
		return mtu
	}
	if m, ok := h.pmtu[dst]; ok && m.until > h.net.now {
		return min(mtu, m.mtu)
	}
	return mtu
}

// SendIP sends a packet of the given protocol. The payload, whose checksum is
// complete, is copied. A packet longer than the path's MTU goes in fragments
// unless the options forbid it.
func (h *Host) SendIP(src, dst netip.Addr, proto uint8, payload []byte, o PacketOptions) error {
	hop := h.table.Lookup(dst)
	if hop.Kind != route.Unicast && hop.Kind != route.Local && !h.isBroadcast(dst) {
		return fmt.Errorf("no route to %v", dst)
	}
	f := h.packet(src, dst, proto, len(payload), o)
	copy(f.Bytes()[f.Len()-len(payload):], payload)
	return h.transmit(f, o.DontFragment)
}

// SendPacket routes a complete IP packet, which may be anything.
func (h *Host) SendPacket(packet []byte) error {
	f := h.net.frame(wire.EthernetLen + len(packet))
	f.SetLen(wire.EthernetLen + len(packet))
	copy(f.Bytes()[wire.EthernetLen:], packet)
	if len(packet) == 0 || h.q.Parse(ethernetFor(f), wire.Ethernet) != wire.None {
		h.net.release(f)
		return fmt.Errorf("no IP packet")
	}
	h.send(f)
	return nil
}

// ethernetFor writes the EtherType that the packet's version asks for.
func ethernetFor(f *frame) []byte {
	b := f.Bytes()
	typ := uint16(wire.TypeIPv4)
	if b[wire.EthernetLen]>>4 == 6 {
		typ = wire.TypeIPv6
	}
	clear(b[:wire.EthernetLen])
	wire.EthernetHeader(b).SetType(typ)
	return b
}

// packet makes a frame with an Ethernet and an IP header and room for n bytes
// behind them.
func (h *Host) packet(src, dst netip.Addr, proto uint8, n int, o PacketOptions) *frame {
	ipLen := wire.IPv4Len
	if dst.Is6() {
		ipLen = wire.IPv6Len
	}
	f := h.net.frame(wire.EthernetLen + ipLen + n)
	f.SetLen(wire.EthernetLen + ipLen + n)
	b := f.Bytes()
	eth, ip := wire.EthernetHeader(b), b[wire.EthernetLen:]
	ttl := o.TTL
	if ttl == 0 {
		ttl = h.sysctl.ttl
	}
	if dst.Is6() {
		eth.SetType(wire.TypeIPv6)
		putIPv6(ip, src, dst, proto, ttl, n)
		wire.IPv6(ip).SetFlow(o.TOS, 0)
		return f
	}
	eth.SetType(wire.TypeIPv4)
	h.putIPv4(ip, src, dst, proto, ttl, n, o)
	return f
}

func (h *Host) putIPv4(b []byte, src, dst netip.Addr, proto, ttl uint8, n int, o PacketOptions) {
	ip := wire.IPv4(b)
	clear(ip[:wire.IPv4Len])
	ip[0] = 0x45
	ip.SetTOS(o.TOS)
	ip.SetTotalLen(wire.IPv4Len + n)
	h.ipID++
	ip.SetID(uint16(h.ipID))
	if o.DontFragment {
		ip.SetFragWord(0x4000)
	}
	ip.SetTTL(ttl)
	ip.SetProto(proto)
	ip.SetSrc(src)
	ip.SetDst(dst)
	ip.UpdateChecksum()
}

func putIPv6(b []byte, src, dst netip.Addr, proto, hopLimit uint8, n int) {
	ip := wire.IPv6(b)
	ip.SetFlow(0, 0)
	ip.SetPayloadLen(n)
	ip.SetNextHeader(proto)
	ip.SetHopLimit(hopLimit)
	ip.SetSrc(src)
	ip.SetDst(dst)
}

// dstOf reads where a frame's IP packet goes.
func dstOf(f *frame) netip.Addr {
	ip := f.Bytes()[wire.EthernetLen:]
	if ip[0]>>4 == 6 {
		return wire.IPv6(ip).Dst()
	}
	return wire.IPv4(ip).Dst()
}

// send routes a packet that may be cut into fragments.
func (h *Host) send(f *frame) { _ = h.transmit(f, false) }

// transmit routes a frame whose IP packet is complete, and takes it.
func (h *Host) transmit(f *frame, dontFragment bool) error {
	dst := dstOf(f)
	hop := h.table.Lookup(dst)
	switch {
	case hop.Kind == route.Local:
		h.loopBack(f)
		return nil
	case dst.IsMulticast() || hop.Kind != route.Unicast && h.isBroadcast(dst):
		h.drop(f, "no multicast routing")
		return fmt.Errorf("no route to %v", dst)
	case hop.Kind != route.Unicast:
		h.drop(f, "no route")
		return fmt.Errorf("no route to %v", dst)
	}
	mtu := h.pathMTU(dst, hop.MTU)
	if f.Len()-wire.EthernetLen <= mtu {
		h.emit(f, &hop)
		return nil
	}
	if dontFragment {
		h.drop(f, "longer than the path's MTU")
		return ErrTooLong{mtu}
	}
	h.fragment(f, &hop, mtu)
	return nil
}

// emit sends a frame to its next hop.
func (h *Host) emit(f *frame, hop *route.Hop) {
	p := h.ports[hop.Port]
	f.Medium, f.Port = wire.Ethernet, hop.Port
	wire.EthernetHeader(f.Bytes()).SetSrc(p.mac)
	if h.isBroadcast(hop.Via) {
		wire.EthernetHeader(f.Bytes()).SetDst(wire.Broadcast)
		p.send(f)
		return
	}
	h.neigh.send(p, hop.Via, f)
}

// loopbackDelay is how long a packet of a host to itself takes.
const loopbackDelay = time.Microsecond

// loopBack delivers a frame to the host itself.
func (h *Host) loopBack(f *frame) {
	f.to, f.Medium, f.Port = h.lo, wire.Ethernet, h.lo.index
	clear(f.Bytes()[:12]) // no MAC addresses within a host
	h.net.queue.push(item{at: h.net.now.Add(loopbackDelay), frame: f})
}

// fragment sends a packet in pieces and releases it.
func (h *Host) fragment(f *frame, hop *route.Hop, mtu int) {
	f.Medium = wire.Ethernet
	h.ipID++
	f.FragID = h.ipID
	if h.q.Parse(f.Bytes(), wire.Ethernet) == wire.None {
		h.pieces(f, &h.q, hop, mtu)
	}
	h.net.release(f)
}

// pieces sends the fragments of a packet.
func (h *Host) pieces(f *frame, pk *wire.Packet, hop *route.Hop, mtu int) {
	var list []*frame
	alloc := func() *wire.Frame {
		g := h.net.frame(f.Len())
		list = append(list, g)
		return &g.Frame
	}
	if !forward.Fragment(&f.Frame, pk, mtu, alloc, func(*wire.Frame) {}) {
		h.count("cannot be fragmented")
		for _, g := range list {
			h.net.release(g)
		}
		return
	}
	for _, g := range list {
		h.emit(g, hop)
	}
}

// forward is what a router does with a packet for somebody else: TTL, MTU,
// next hop (RFC 1812 section 5.2).
func (h *Host) forward(p *Port, f *frame) {
	pk := &h.p
	if pk.Src.IsLinkLocalUnicast() && pk.Version == 6 {
		h.drop(f, "link-local source")
		return
	}
	hop := h.table.Lookup(pk.Dst)
	tooBig, fragment := forward.ExceedsMTU(&f.Frame, pk, hop.MTU)
	switch {
	case pk.TTL <= 1:
		h.refuse(p, f, localstack.TimeExceeded(), "TTL exceeded")
	case hop.Kind != route.Unicast:
		h.refuse(p, f, localstack.NetUnreachable(), "no route")
	case tooBig:
		h.refuse(p, f, localstack.FragNeeded(hop.MTU), "too big")
	default:
		forward.DecrementTTL(pk)
		h.trim(f)
		if !fragment {
			h.emit(f, &hop)
			return
		}
		h.pieces(f, pk, &hop, hop.MTU)
		h.net.release(f)
	}
}

// trim takes link padding off the current packet.
func (h *Host) trim(f *frame) {
	if h.p.End < f.Len() {
		f.Truncate(h.p.End)
	}
}

// refuse drops the current packet and tells its sender why.
func (h *Host) refuse(p *Port, f *frame, e localstack.Error, why string) {
	h.count(why)
	h.complain(p, f, e)
	h.net.release(f)
}

// complain sends an ICMP error about the current packet.
func (h *Host) complain(p *Port, f *frame, e localstack.Error) {
	src := h.Source(h.p.Src)
	if h.table.IsLocal(h.p.Dst) {
		src = h.p.Dst
	}
	g := h.net.frame(smallFrame)
	g.Medium = wire.Ethernet
	if !src.IsValid() || !h.stack().Error(h.net.now, h.request(p, f), src, e, &g.Frame).Answered() {
		h.net.release(g)
		return
	}
	h.send(g)
}

// unreachable ends a frame whose next hop does not answer. A packet of the
// host's own fails at its socket; another's sender is told.
func (h *Host) unreachable(p *Port, f *frame, e localstack.Error) {
	h.count("neighbour does not answer")
	saved := h.p
	defer func() { h.p = saved }()
	if h.p.Parse(f.Bytes(), wire.Ethernet) != wire.None || h.p.Version == 0 {
		h.net.release(f)
		return
	}
	if h.table.IsLocal(h.p.Src) {
		h.failOwn(&h.p)
	} else {
		h.complain(p, f, e)
	}
	h.net.release(f)
}

// failOwn tells the sender within this host that its packet went nowhere.
func (h *Host) failOwn(pk *wire.Packet) {
	e := ICMPError{From: pk.Src, Type: wire.ICMPUnreachable, Code: 1, Proto: pk.Proto}
	if pk.Version == 6 {
		e.Type, e.Code = wire.ICMPv6Unreachable, 3
	}
	e.Src = netip.AddrPortFrom(pk.Src, pk.SrcPort)
	e.Dst = netip.AddrPortFrom(pk.Dst, pk.DstPort)
	h.reportError(&e)
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
