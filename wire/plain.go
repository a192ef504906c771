package wire

import (
	"encoding/binary"
	"math/bits"
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
// it, too, and finds the same. IPv4 is read in a few words, in the order that
// the machine has them in: checks and checksum need no other.
func (p *Plain) Parse(b []byte) bool {
	const (
		l4 = EthernetLen + IPv4Len
		// Of the first eight bytes: version and header length, more fragments and
		// fragment offset. All else may be as it likes.
		fixed, fixedIs = 0xff3f_0000_0000_00ff, 0x45
	)
	if len(b) < l4+UDPLen {
		return false
	}
	if be16(b[12:]) != TypeIPv4 {
		return be16(b[12:]) == TypeIPv6 && p.parseIPv6(b)
	}
	h := (*[IPv4Len]byte)(b[EthernetLen:])
	le := binary.LittleEndian
	first, second, dst := le.Uint64(h[0:]), le.Uint64(h[8:]), le.Uint32(h[16:])
	end := EthernetLen + int(bits.ReverseBytes16(uint16(first>>16)))
	if first&fixed != fixedIs || end > len(b) || !headerSumOK(first, second, dst) {
		return false
	}
	p.Src = Words{Lo: uint64(bits.ReverseBytes32(uint32(second >> 32)))}
	p.Dst = Words{Lo: uint64(bits.ReverseBytes32(dst))}
	p.TTL, p.Proto, p.V6 = uint8(second), uint8(second>>8), false
	return p.parseTransport(b, l4, end)
}

// headerSumOK verifies the checksum of a header without options: its words add
// up to 0xffff, or a multiple. In what byte order they are added does not matter.
func headerSumOK(first, second uint64, last uint32) bool {
	sum := first>>32 + first&0xffffffff + second>>32 + second&0xffffffff + uint64(last)
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

// SetPlain makes q what Parse finds in a frame in which p was found.
func (q *Packet) SetPlain(frame []byte, p *Plain) {
	*q = Packet{} // see Frame.Reset
	q.Data, q.EtherType, q.Version = frame, TypeIPv6, 6
	q.L3, q.L4, q.End = EthernetLen, int(p.L4), int(p.End)
	q.Proto, q.TTL, q.TCPFlags = p.Proto, p.TTL, p.TCPFlags
	q.Src, q.Dst = p.Src.Addr(p.V6), p.Dst.Addr(p.V6)
	q.SrcPort, q.DstPort = p.SrcPort, p.DstPort
	q.Ports, q.Full = true, true
	if !p.V6 {
		q.EtherType, q.Version, q.FragID = TypeIPv4, 4, uint32(IPv4(frame[EthernetLen:]).ID())
	}
}
