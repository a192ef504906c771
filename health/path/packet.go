package path

import (
	"encoding/binary"
	"net/netip"

	"usvs/wire"
)

// ttl is Linux's default.
const ttl = 64

// packet makes an IP packet, which is valid until the next one is made.
func (p *Prober) packet(src, dst netip.Addr, proto uint8, payload []byte) []byte {
	n := wire.IPv4Len
	if dst.Is6() {
		n = wire.IPv6Len
	}
	p.buf = append(p.buf[:0], make([]byte, n)...)
	p.buf = append(p.buf, payload...)
	if dst.Is6() {
		ip := wire.IPv6(p.buf)
		ip.SetFlow(0, 0)
		ip.SetPayloadLen(len(payload))
		ip.SetNextHeader(proto)
		ip.SetHopLimit(ttl)
		ip.SetSrc(src)
		ip.SetDst(dst)
		return p.buf
	}
	ip := wire.IPv4(p.buf)
	ip[0] = 0x45
	ip.SetTotalLen(len(p.buf))
	p.ipID++
	ip.SetID(p.ipID)
	ip.SetFragWord(0x4000) // DF
	ip.SetTTL(ttl)
	ip.SetProto(proto)
	ip.SetSrc(src)
	ip.SetDst(dst)
	ip.UpdateChecksum()
	return p.buf
}

// datagram makes an IP packet with a UDP datagram.
func (p *Prober) datagram(src, dst netip.AddrPort, payload []byte) []byte {
	b := make([]byte, wire.UDPLen, wire.UDPLen+len(payload))
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	sum := ^wire.Fold(wire.Sum(b, wire.PseudoSum(src.Addr(), dst.Addr(), wire.ProtoUDP, len(b))))
	if sum == 0 {
		sum = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(b[6:], sum)
	return p.packet(src.Addr(), dst.Addr(), wire.ProtoUDP, b)
}
