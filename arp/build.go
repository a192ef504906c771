package arp

import (
	"encoding/binary"
	"net/netip"

	"usvs/wire"
)

// ARP operations (RFC 826).
const (
	opRequest = 1
	opReply   = 2
)

// Neighbour Discovery and MLD messages (RFC 4861, RFC 3810).
const (
	typeMLDQuery = 130

	optSourceLink = 1
	optTargetLink = 2
	linkOptLen    = 8

	flagRouter    = 0x80
	flagSolicited = 0x40
	flagOverride  = 0x20

	ndLen = 24 // solicitation or advertisement without options
)

var (
	allNodes     = netip.MustParseAddr("ff02::1")
	allMLDv2     = netip.MustParseAddr("ff02::16")
	zero4, zero6 = netip.IPv4Unspecified(), netip.IPv6Unspecified()
)

// SolicitedNode is the multicast group of those who may be addr (RFC 4291 section 2.7.1).
func SolicitedNode(addr netip.Addr) netip.Addr {
	a := addr.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
}

// GroupMAC is the Ethernet address of an IP multicast group (RFC 1112, RFC 2464).
func GroupMAC(group netip.Addr) wire.MAC {
	if group.Is4() {
		a := group.As4()
		return wire.MAC{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}
	}
	a := group.As16()
	return wire.MAC{0x33, 0x33, a[12], a[13], a[14], a[15]}
}

// JoinMACs lists the multicast addresses a port must receive for the given
// addresses to be found and for MLD queries to be heard; without repetitions.
func JoinMACs(addrs []netip.Addr) []wire.MAC {
	var list []wire.MAC
	seen := map[wire.MAC]bool{}
	add := func(m wire.MAC) {
		if !seen[m] {
			seen[m] = true
			list = append(list, m)
		}
	}
	for _, a := range addrs {
		if a.Is6() && !a.Is4In6() {
			add(GroupMAC(allNodes))
			add(GroupMAC(SolicitedNode(a)))
		}
	}
	return list
}

// start returns an empty Ethernet frame with n bytes of payload to fill in.
func (c *Cache) start(out Sink, port int, dst, src wire.MAC, etherType uint16, n int) (*wire.Frame, []byte) {
	f := out.New()
	if f == nil || f.Cap() < wire.EthernetLen+n {
		c.count(NoFrame)
		return nil, nil
	}
	f.SetLen(wire.EthernetLen + n)
	f.Medium, f.Port = wire.Ethernet, port
	eth := wire.EthernetHeader(f.Bytes())
	clear(eth)
	eth.SetDst(dst)
	eth.SetSrc(src)
	eth.SetType(etherType)
	return f, eth[wire.EthernetLen:]
}

type arpMessage struct {
	op         uint16
	sha, tha   wire.MAC
	spa, tpa   netip.Addr
	linkTarget wire.MAC // where the frame goes
}

// sendARP reports whether the sink had a frame for it.
func (c *Cache) sendARP(port int, m arpMessage, out Sink) bool {
	f, b := c.start(out, port, m.linkTarget, m.sha, wire.TypeARP, wire.ARPLen)
	if f == nil {
		return false
	}
	copy(b, []byte{0, 1, wire.TypeIPv4 >> 8, wire.TypeIPv4 & 255, 6, 4, byte(m.op >> 8), byte(m.op)})
	spa, tpa := m.spa.As4(), m.tpa.As4()
	copy(b[8:], m.sha[:])
	copy(b[14:], spa[:])
	copy(b[18:], m.tha[:])
	copy(b[24:], tpa[:])
	out.Send(f)
	return true
}

type ndMessage struct {
	kind       uint8 // solicitation or advertisement
	flags      uint8
	target     netip.Addr
	src, dst   netip.Addr
	link       wire.MAC // carried in the option, and the frame's source
	linkTarget wire.MAC
}

// sendND reports whether the sink had a frame for it. The link-layer address
// option is always there: none of our messages is a DAD probe.
func (c *Cache) sendND(port int, m ndMessage, out Sink) bool {
	f, b := c.start(out, port, m.linkTarget, m.link, wire.TypeIPv6, wire.IPv6Len+ndLen+linkOptLen)
	if f == nil {
		return false
	}
	putIPv6(b, wire.ProtoICMPv6, 255, m.src, m.dst)
	icmp := b[wire.IPv6Len:]
	icmp[0], icmp[4] = m.kind, m.flags
	target := m.target.As16()
	copy(icmp[8:], target[:])
	icmp[24], icmp[25] = optSourceLink, 1
	if m.kind == wire.ICMPv6NeighAdv {
		icmp[24] = optTargetLink
	}
	copy(icmp[26:], m.link[:])
	putICMPv6Sum(icmp, m.src, m.dst)
	out.Send(f)
	return true
}

// sendReport tells routers and snooping switches that we listen to addr's
// solicited-node group: an MLDv2 report (RFC 3810 section 5.2) with one record,
// behind a router alert option (RFC 2711).
func (c *Cache) sendReport(port int, addr netip.Addr, record uint8, out Sink) bool {
	const reportLen = 8 + 20
	f, b := c.start(out, port, GroupMAC(allMLDv2), c.local.MAC(port, addr),
		wire.TypeIPv6, wire.IPv6Len+8+reportLen)
	if f == nil {
		return false
	}
	src := c.local.Source(port, allMLDv2)
	if !src.IsLinkLocalUnicast() || src.Is4() {
		src = zero6 // RFC 3590
	}
	putIPv6(b, wire.ProtoHopByHop, 1, src, allMLDv2)
	copy(b[wire.IPv6Len:], []byte{wire.ProtoICMPv6, 0, 5, 2, 0, 0, 1, 0})
	icmp := b[wire.IPv6Len+8:]
	icmp[0], icmp[7], icmp[8] = wire.ICMPv6MLDv2Report, 1, record
	group := SolicitedNode(addr).As16()
	copy(icmp[12:], group[:])
	putICMPv6Sum(icmp, src, allMLDv2)
	out.Send(f)
	return true
}

func putIPv6(b []byte, next, hopLimit uint8, src, dst netip.Addr) {
	ip := wire.IPv6(b)
	ip.SetFlow(0, 0)
	ip.SetPayloadLen(len(b) - wire.IPv6Len)
	ip.SetNextHeader(next)
	ip.SetHopLimit(hopLimit)
	ip.SetSrc(src)
	ip.SetDst(dst)
}

func putICMPv6Sum(icmp []byte, src, dst netip.Addr) {
	sum := wire.PseudoSum(src, dst, wire.ProtoICMPv6, len(icmp))
	binary.BigEndian.PutUint16(icmp[2:], ^wire.Fold(wire.Sum(icmp, sum)))
}
