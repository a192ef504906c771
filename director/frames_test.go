package director

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/wire"
)

// head is what of an IP header tests choose; the zero value is ordinary.
type head struct {
	ttl      uint8  // 0: 64
	id, frag uint16 // IPv4: identification, flags and offset
}

// ethernet puts a link header for the director's port 0 in front of an IP packet.
func ethernet(ip []byte) []byte {
	b := make([]byte, wire.EthernetLen, wire.EthernetLen+len(ip))
	eth := wire.EthernetHeader(b)
	eth.SetDst(dirMAC0)
	eth.SetSrc(gwMAC)
	eth.SetType(etherType(ip[0]))
	return append(b, ip...)
}

// packet is an IP packet.
func packet(src, dst netip.Addr, proto uint8, h head, l4 []byte) []byte {
	if h.ttl == 0 {
		h.ttl = 64
	}
	if src.Is6() {
		ip := wire.IPv6(make([]byte, wire.IPv6Len))
		ip.SetFlow(0, 0)
		ip.SetPayloadLen(len(l4))
		ip.SetNextHeader(proto)
		ip.SetHopLimit(h.ttl)
		ip.SetSrc(src)
		ip.SetDst(dst)
		return append(ip, l4...)
	}
	ip := wire.IPv4(make([]byte, wire.IPv4Len))
	ip[0] = 0x45
	ip.SetTotalLen(wire.IPv4Len + len(l4))
	ip.SetID(h.id)
	ip.SetFragWord(h.frag)
	ip.SetTTL(h.ttl)
	ip.SetProto(proto)
	ip.SetSrc(src)
	ip.SetDst(dst)
	ip.UpdateChecksum()
	return append(ip, l4...)
}

// datagram is the UDP part of a packet with n bytes of payload.
func datagram(src, dst netip.AddrPort, n int) []byte {
	b := make([]byte, wire.UDPLen+n)
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	u := wire.UDP(b)
	u.SetLength(len(b))
	u.SetChecksum(^wire.Fold(wire.Sum(b, wire.PseudoSum(src.Addr(), dst.Addr(), wire.ProtoUDP, len(b)))))
	return b
}

// udp is a frame with a datagram of n bytes of payload.
func udp(src, dst netip.AddrPort, n int) []byte {
	return ethernet(packet(src.Addr(), dst.Addr(), wire.ProtoUDP, head{}, datagram(src, dst, n)))
}

// icmp is a frame with an ICMP or ICMPv6 message.
func icmp(src, dst netip.Addr, typ, code uint8, word uint32, data []byte) []byte {
	b := append(make([]byte, wire.ICMPLen), data...)
	b[0], b[1] = typ, code
	binary.BigEndian.PutUint32(b[4:], word)
	proto, sum := uint8(wire.ProtoICMP), uint64(0)
	if src.Is6() {
		proto = wire.ProtoICMPv6
		sum = wire.PseudoSum(src, dst, proto, len(b))
	}
	wire.ICMP(b).SetChecksum(^wire.Fold(wire.Sum(b, sum)))
	return ethernet(packet(src, dst, proto, head{}, b))
}

// sctp is a frame with one chunk of that type.
func sctp(src, dst netip.AddrPort, chunk ...byte) []byte {
	b := make([]byte, wire.SCTPLen)
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	return ethernet(packet(src.Addr(), dst.Addr(), wire.ProtoSCTP, head{}, append(b, chunk...)))
}

// fragments cuts an IPv4 frame's payload at multiples of size.
func fragments(frame []byte, size int) (list [][]byte) {
	h := wire.IPv4(frame[wire.EthernetLen:])
	data := h[wire.IPv4Len:]
	for off := 0; off < len(data); off += size {
		n, word := min(size, len(data)-off), uint16(off/8)
		if off+n < len(data) {
			word |= 0x2000
		}
		list = append(list, ethernet(packet(h.Src(), h.Dst(), h.Proto(), head{id: 77, frag: word}, data[off:off+n])))
	}
	return list
}

// withTTL changes an IPv4 frame's TTL.
func withTTL(frame []byte, ttl uint8) []byte {
	h := wire.IPv4(frame[wire.EthernetLen:])
	h.SetTTL(ttl)
	h.UpdateChecksum()
	return frame
}

// withoutDF clears an IPv4 frame's DF bit.
func withoutDF(frame []byte) []byte {
	h := wire.IPv4(frame[wire.EthernetLen:])
	h.SetFragWord(0)
	h.UpdateChecksum()
	return frame
}

// bare takes the link header off.
func bare(frame []byte) []byte { return frame[wire.EthernetLen:] }

// feed gives the director frames one after the other and returns what the last
// one led to.
func (b *testbed) feed(port int, frames ...[]byte) (out *link.Output) {
	for _, f := range frames {
		out = b.handle(port, f)
	}
	return out
}

// onePacket is the single frame of a list, parsed.
func (b *testbed) onePacket(list []*link.Frame) wire.Packet {
	b.tb.Helper()
	require.Len(b.tb, list, 1, "the frame ended as %v", b.w.seen)
	return b.parse(list[0])
}

func (b *testbed) parse(f *link.Frame) (p wire.Packet) {
	b.tb.Helper()
	require.Equal(b.tb, wire.None, p.Parse(f.Bytes(), f.Medium))
	return p
}

// requireICMP is for an ICMP error: its kind, its source, and the packet quoted.
func requireICMP(tb testing.TB, p wire.Packet, typ, code uint8) (quote wire.Packet) {
	tb.Helper()
	require.Contains(tb, []uint8{wire.ProtoICMP, wire.ProtoICMPv6}, p.Proto)
	require.Equal(tb, []byte{typ, code}, p.Transport()[:2])
	require.Equal(tb, wire.None, quote.ParseQuoted(p.Transport()[wire.ICMPLen:], p.Version))
	return quote
}
