package host

import (
	"net/netip"

	"usvs/wire"
)

// Addresses of the tests.
var (
	vip4, vip6     = netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("2001:db8:1::80")
	host4, host6   = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	peer4, peer6   = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::2")
	hostLink       = netip.MustParseAddr("fe80::1")
	other4, other6 = netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8:7::7")
	away4, away6   = netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8:9::9") // of services that the host does not carry
	rs4, rs6       = netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("2001:db8::9")
)

// packet describes an IP packet for a test to make.
type packet struct {
	src, dst   netip.Addr
	proto      uint8
	sport      uint16
	dport      uint16
	icmpType   uint8
	id         uint16 // IPv4 identification or IPv6 flow label
	fragOffset int    // bytes, a multiple of 8
	moreFrags  bool
	extensions []uint8 // IPv6: hop-by-hop, destination options, authentication
	payload    []byte  // instead of a transport header
}

// ip returns the bare packet.
func (p packet) ip() []byte {
	body := p.payload
	if body == nil {
		body = p.transport()
	}
	if p.dst.Is4() {
		return p.ipv4(body)
	}
	return p.ipv6(body)
}

// frame returns the packet as an untagged Ethernet frame.
func (p packet) frame(dst wire.MAC) []byte {
	etherType := []byte{0x08, 0x00}
	if !p.dst.Is4() {
		etherType = []byte{0x86, 0xdd}
	}
	head := append(append(dst[:len(dst):len(dst)], 2, 0, 0, 0, 0, 99), etherType...)
	return append(head, p.ip()...)
}

func (p packet) ipv4(body []byte) []byte {
	h := wire.IPv4(make([]byte, wire.IPv4Len, wire.IPv4Len+len(body)))
	h[0] = 0x45
	h.SetTotalLen(wire.IPv4Len + len(body))
	h.SetID(p.id)
	frag := uint16(p.fragOffset / 8)
	if p.moreFrags {
		frag |= 0x2000
	}
	h.SetFragWord(frag)
	h.SetTTL(64)
	h.SetProto(p.proto)
	h.SetSrc(p.src)
	h.SetDst(p.dst)
	h.UpdateChecksum()
	return append(h, body...)
}

func (p packet) ipv6(body []byte) []byte {
	h := wire.IPv6(make([]byte, wire.IPv6Len))
	h.SetFlow(0, uint32(p.id))
	h[7] = 64
	h.SetSrc(p.src)
	h.SetDst(p.dst)
	headers := append([]uint8{}, p.extensions...)
	if p.fragOffset != 0 || p.moreFrags {
		headers = append(headers, wire.ProtoFragment)
	}
	headers = append(headers, p.proto)
	h.SetNextHeader(headers[0])
	out := []byte(h)
	for i, this := range headers[:len(headers)-1] {
		out = append(out, p.extension(this, headers[i+1])...)
	}
	out = append(out, body...)
	wire.IPv6(out).SetPayloadLen(len(out) - wire.IPv6Len)
	return out
}

func (p packet) extension(this, next uint8) []byte {
	switch this {
	case wire.ProtoFragment:
		off := uint16(p.fragOffset)
		if p.moreFrags {
			off |= 1
		}
		return []byte{next, 0, byte(off >> 8), byte(off), 0, 0, byte(p.id >> 8), byte(p.id)}
	case wire.ProtoAH: // RFC 4302: the length counts words less two
		return append([]byte{next, 4}, make([]byte, 22)...)
	}
	return []byte{next, 0, 1, 4, 0, 0, 0, 0} // PadN
}

func (p packet) transport() []byte {
	b := make([]byte, 24)
	b[0], b[1], b[2], b[3] = byte(p.sport>>8), byte(p.sport), byte(p.dport>>8), byte(p.dport)
	switch p.proto {
	case wire.ProtoTCP:
		b[12], b[13] = 0x50, wire.FlagACK
	case wire.ProtoUDP:
		wire.UDP(b).SetLength(len(b))
	case wire.ProtoICMP, wire.ProtoICMPv6:
		b[0], b[1], b[2], b[3] = p.icmpType, 0, 0, 0
	}
	return b
}
