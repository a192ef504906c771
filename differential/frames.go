package differential

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"usvs/wire"
)

// build makes the frame that a macro stands for.
func build(macro string) []byte {
	step, ok, err := frame(macro)
	if err != nil || !ok {
		panic(fmt.Sprintf("not a macro: %q: %v", macro, err)) // the generator wrote it
	}
	return slices.Clone(step.Data)
}

// raw adds a frame on a link.
func (d *draft) raw(link string, frame []byte) { d.add("> %s %x", link, frame) }

// headerLen is the length of a frame's headers before the transport's.
func headerLen(frame []byte) int {
	if frame[wire.EthernetLen]>>4 == 6 {
		return wire.EthernetLen + wire.IPv6Len
	}
	return wire.EthernetLen + wire.IPv4(frame[wire.EthernetLen:]).HeaderLen()
}

// packetFrom puts an IP header and the link's Ethernet header in front of a payload.
func packetFrom(link string, src, dst netip.Addr, proto uint8, payload []byte) []byte {
	like := "udp " + link + " " + netip.AddrPortFrom(src, 1).String() + " " + netip.AddrPortFrom(dst, 1).String()
	f := append(build(like)[:0:0], build(like)...)
	f = append(f[:headerLen(f)], payload...)
	if src.Is6() {
		h := wire.IPv6(f[wire.EthernetLen:])
		h.SetNextHeader(proto)
		h.SetPayloadLen(len(payload))
		return f
	}
	h := wire.IPv4(f[wire.EthernetLen:])
	h.SetProto(proto)
	h.SetTotalLen(len(f) - wire.EthernetLen)
	h.UpdateChecksum()
	return f
}

// icmpError makes an error about a frame: quote bytes of its packet are quoted.
func icmpError(link string, from, to netip.Addr, typ, code uint8, rest uint32, about []byte, quote int) []byte {
	about = about[wire.EthernetLen:]
	b := append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, about[:min(quote, len(about))]...)
	binary.BigEndian.PutUint32(b[4:], rest)
	proto, pseudo := uint8(wire.ProtoICMP), uint64(0)
	if from.Is6() {
		proto = wire.ProtoICMPv6
		pseudo = wire.PseudoSum(from, to, proto, len(b))
	}
	wire.ICMP(b).SetChecksum(^wire.Fold(wire.Sum(b, pseudo)))
	return packetFrom(link, from, to, proto, b)
}

// withOptions puts IPv4 options in a frame.
func withOptions(frame []byte, options ...byte) []byte {
	at := wire.EthernetLen + wire.IPv4Len
	f := slices.Concat(frame[:at], options, frame[at:])
	h := wire.IPv4(f[wire.EthernetLen:])
	h[0] += byte(len(options) / 4)
	h.SetTotalLen(len(f) - wire.EthernetLen)
	h.UpdateChecksum()
	return f
}

// withExtension puts an IPv6 options header, hop-by-hop or destination, in a frame.
func withExtension(frame []byte, kind byte) []byte {
	at := wire.EthernetLen + wire.IPv6Len
	ext := []byte{frame[wire.EthernetLen+6], 0, 1, 4, 0, 0, 0, 0} // PadN
	f := slices.Concat(frame[:at], ext, frame[at:])
	h := wire.IPv6(f[wire.EthernetLen:])
	h.SetNextHeader(kind)
	h.SetPayloadLen(len(f) - at)
	return f
}
