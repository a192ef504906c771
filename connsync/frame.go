package connsync

import (
	"encoding/binary"
	"net/netip"

	"usvs/wire"
)

// Datagram is a message on its way from a master to the backups.
type Datagram struct {
	Interface string         // it leaves by
	Group     netip.AddrPort // it goes to
	TTL       int
	Payload   []byte
}

// Frame is the Ethernet frame of d from a station with that MAC, address and
// port. id is its IPv4 identification: the packet may be fragmented.
func (d *Datagram) Frame(mac wire.MAC, from netip.AddrPort, id uint16) []byte {
	udp := wire.UDPLen + len(d.Payload)
	b := make([]byte, wire.EthernetLen, wire.EthernetLen+wire.IPv6Len+udp)
	eth := wire.EthernetHeader(b)
	eth.SetSrc(mac)
	eth.SetDst(groupMAC(d.Group.Addr()))
	if d.Group.Addr().Is4() {
		eth.SetType(wire.TypeIPv4)
		b = append(b, make([]byte, wire.IPv4Len)...)
		h := wire.IPv4(b[wire.EthernetLen:])
		h[0] = 0x45
		h.SetTotalLen(wire.IPv4Len + udp)
		h.SetID(id)
		h.SetTTL(uint8(d.TTL))
		h.SetProto(wire.ProtoUDP)
		h.SetSrc(from.Addr())
		h.SetDst(d.Group.Addr())
		h.UpdateChecksum()
	} else {
		eth.SetType(wire.TypeIPv6)
		b = append(b, make([]byte, wire.IPv6Len)...)
		h := wire.IPv6(b[wire.EthernetLen:])
		h.SetFlow(0, 0)
		h.SetPayloadLen(udp)
		h.SetNextHeader(wire.ProtoUDP)
		h.SetHopLimit(uint8(d.TTL))
		h.SetSrc(from.Addr())
		h.SetDst(d.Group.Addr())
	}
	return d.appendUDP(b, from)
}

func (d *Datagram) appendUDP(b []byte, from netip.AddrPort) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, d.Group.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(wire.UDPLen+len(d.Payload)))
	b = append(append(b, 0, 0), d.Payload...)
	l4 := b[at:]
	sum := ^wire.Fold(wire.Sum(l4, wire.PseudoSum(from.Addr(), d.Group.Addr(), wire.ProtoUDP, len(l4))))
	if sum == 0 {
		sum = 0xffff // RFC 768: 0 would mean none
	}
	binary.BigEndian.PutUint16(l4[6:], sum)
	return b
}

// groupMAC is the MAC address of a multicast group (RFC 1112 6.4, RFC 2464 7).
func groupMAC(group netip.Addr) wire.MAC {
	if group.Is4() {
		a := group.As4()
		return wire.MAC{0x01, 0, 0x5e, a[1] & 0x7f, a[2], a[3]}
	}
	a := group.As16()
	return wire.MAC{0x33, 0x33, a[12], a[13], a[14], a[15]}
}

// Payload returns what a received UDP datagram carries and where it went. It
// reports false for everything else, fragments and wrong checksums included.
func Payload(p *wire.Packet) (to netip.AddrPort, payload []byte, ok bool) {
	l4 := p.Transport()
	if p.Proto != wire.ProtoUDP || p.Fragment || !p.Full || len(l4) < wire.UDPLen {
		return netip.AddrPort{}, nil, false
	}
	n := int(binary.BigEndian.Uint16(l4[4:]))
	if n < wire.UDPLen || n > len(l4) {
		return netip.AddrPort{}, nil, false
	}
	l4 = l4[:n]
	checked := l4[6] != 0 || l4[7] != 0
	if checked && wire.Fold(wire.Sum(l4, wire.PseudoSum(p.Src, p.Dst, wire.ProtoUDP, n))) != 0xffff {
		return netip.AddrPort{}, nil, false
	}
	return netip.AddrPortFrom(p.Dst, p.DstPort), l4[wire.UDPLen:], true
}
