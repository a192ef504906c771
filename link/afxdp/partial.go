package afxdp

import (
	"encoding/binary"

	"usvs/wire"
)

// Offsets of the checksum fields in the transport headers.
const (
	tcpChecksum = 16
	udpChecksum = 6
)

// mayBePartial reports false only if the checksum field certainly does not hold
// the sum of the pseudo-header, which is so for nearly all finished frames.
// What is not simple to find out is left to the parser.
func mayBePartial(b []byte) bool {
	const ip = wire.EthernetLen
	if len(b) < ip+wire.IPv4Len {
		return true
	}
	var sum uint64
	var l4 int
	proto := b[ip+9]
	switch typ := binary.BigEndian.Uint16(b[12:]); {
	case typ == wire.TypeIPv4 && b[ip] == 0x45:
		l4 = ip + wire.IPv4Len
		sum = uint64(binary.BigEndian.Uint16(b[ip+2:])) - wire.IPv4Len
		sum += words(b[ip+12 : ip+20])
	case typ == wire.TypeIPv6 && len(b) >= ip+wire.IPv6Len:
		l4, proto = ip+wire.IPv6Len, b[ip+6]
		sum = uint64(binary.BigEndian.Uint16(b[ip+4:]))
		sum += words(b[ip+8:ip+16]) + words(b[ip+16:ip+24]) + words(b[ip+24:ip+32]) + words(b[ip+32:ip+40])
	default:
		return true
	}
	var at int
	switch proto {
	case wire.ProtoTCP:
		at = l4 + tcpChecksum
	case wire.ProtoUDP:
		at = l4 + udpChecksum
	default:
		return true
	}
	return len(b) < at+2 || binary.BigEndian.Uint16(b[at:]) == wire.Fold(sum+uint64(proto))
}

// words is the sum of four 16-bit words.
func words(b []byte) uint64 {
	v := binary.BigEndian.Uint64(b)
	return v>>48 + v>>32&0xffff + v>>16&0xffff + v&0xffff
}

// markPartial finds out whether f's transport checksum is only half made, and
// says so in the frame. A half made field holds the sum of the pseudo-header. A
// finished one does so once in 65536 times, and verifies then. So the mark is
// wrong only about a frame that was damaged on its way and has that value by
// chance, which is as likely as that a checksum does not notice the damage.
func markPartial(f *wire.Frame, p *wire.Packet) {
	if !mayBePartial(f.Bytes()) || p.Parse(f.Bytes(), f.Medium) != wire.None || p.Fragment {
		return
	}
	var offset int
	switch p.Proto {
	case wire.ProtoTCP:
		offset = tcpChecksum
	case wire.ProtoUDP:
		offset = udpChecksum
	default:
		return
	}
	data := p.Transport()
	if len(data) < offset+2 {
		return
	}
	field := binary.BigEndian.Uint16(data[offset:])
	pseudo := wire.PseudoSum(p.Src, p.Dst, p.Proto, len(data))
	if field != wire.Fold(pseudo) || wire.Fold(wire.Sum(data, pseudo)) == 0xffff {
		return
	}
	f.Partial, f.CsumStart, f.CsumOffset = true, uint16(p.L4), uint16(offset)
}
