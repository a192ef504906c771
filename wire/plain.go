package wire

import (
	"encoding/binary"
	"net/netip"
)

// Words is an address in two words; IPv4 is the lower half of Lo.
type Words struct{ Hi, Lo uint64 }

// WordsOf returns a in two words.
func WordsOf(a netip.Addr) Words {
	if a.Is4() {
		b := a.As4()
		return Words{Lo: uint64(be32(b[:]))}
	}
	b := a.As16()
	return Words{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Addr is the address, of IPv6 or of IPv4.
func (w Words) Addr(v6 bool) netip.Addr {
	if !v6 {
		return netip.AddrFrom4([4]byte{byte(w.Lo >> 24), byte(w.Lo >> 16), byte(w.Lo >> 8), byte(w.Lo)})
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], w.Hi)
	binary.BigEndian.PutUint64(b[8:], w.Lo)
	return netip.AddrFrom16(b)
}

// Plain is what most frames are: an untagged Ethernet frame with a TCP segment
// or UDP datagram behind an IPv4 header without options or an IPv6 header
// without extensions, whole, no fragment, and not for a multicast group.
type Plain struct {
	Src, Dst         Words
	SrcPort, DstPort uint16
	L4               uint16 // offset of the transport header
	End              uint32 // offset of what is behind the IP packet
	V6               bool
	Proto            uint8
	TTL              uint8
	TCPFlags         uint8
}

// Parse reports whether the frame is a plain one. If so, Packet.Parse accepts
// it, too, and finds the same.
func (p *Plain) Parse(b []byte) bool {
	if len(b) < EthernetLen+IPv4Len+UDPLen {
		return false
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case TypeIPv4:
		return p.parseIPv4(b)
	case TypeIPv6:
		return p.parseIPv6(b)
	}
	return false
}

func (p *Plain) parseIPv4(b []byte) bool {
	const fragmented = 0x3fff // more fragments, or an offset
	h := (*[IPv4Len]byte)(b[EthernetLen:])
	end := EthernetLen + int(be16(h[2:]))
	if h[0] != 0x45 || end > len(b) || be16(h[6:])&fragmented != 0 || !headerSumOK(h) {
		return false
	}
	p.Src = Words{Lo: uint64(be32(h[12:]))}
	p.Dst = Words{Lo: uint64(be32(h[16:]))}
	p.TTL, p.Proto, p.V6 = h[8], h[9], false
	return p.parseTransport(b, EthernetLen+IPv4Len, end)
}

// headerSumOK verifies the checksum of a header without options: its words add
// up to 0xffff, or a multiple. In what byte order they are added does not matter.
func headerSumOK(h *[IPv4Len]byte) bool {
	le := binary.LittleEndian
	sum := le.Uint64(h[0:])>>32 + le.Uint64(h[0:])&0xffffffff + le.Uint64(h[8:])>>32 + le.Uint64(h[8:])&0xffffffff +
		uint64(le.Uint32(h[16:]))
	return sum%0xffff == 0
}

func (p *Plain) parseIPv6(b []byte) bool {
	const multicast = 0xff
	if len(b) < EthernetLen+IPv6Len+UDPLen {
		return false
	}
	h := (*[IPv6Len]byte)(b[EthernetLen:])
	end := EthernetLen + IPv6Len + int(be16(h[4:]))
	if h[0]>>4 != 6 || end > len(b) || h[24] == multicast {
		return false
	}
	be := binary.BigEndian
	p.Src = Words{be.Uint64(h[8:]), be.Uint64(h[16:])}
	p.Dst = Words{be.Uint64(h[24:]), be.Uint64(h[32:])}
	p.TTL, p.Proto, p.V6 = h[7], h[6], true
	return p.parseTransport(b, EthernetLen+IPv6Len, end)
}

func (p *Plain) parseTransport(b []byte, l4, end int) bool {
	p.TCPFlags = 0
	switch p.Proto {
	case ProtoTCP:
		if end-l4 < TCPLen {
			return false
		}
		p.TCPFlags = b[l4+13] & 0x3f
	case ProtoUDP:
		if end-l4 < UDPLen {
			return false
		}
	default:
		return false
	}
	ports := be32(b[l4:])
	p.SrcPort, p.DstPort = uint16(ports>>16), uint16(ports)
	p.L4, p.End = uint16(l4), uint32(end)
	return true
}

// IPLen is the length of the IP packet, header included.
func (p *Plain) IPLen() int { return int(p.End) - EthernetLen }
