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

// markPartial finds out whether f's transport checksum is only half made, and
// says so in the frame. A half made field holds the sum of the pseudo-header. A
// finished one does so once in 65536 times, and verifies then. So the mark is
// wrong only about a frame that was damaged on its way and has that value by
// chance, which is as likely as that a checksum does not notice the damage.
func markPartial(f *wire.Frame, p *wire.Packet) {
	if p.Parse(f.Bytes(), f.Medium) != wire.None || p.Fragment {
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
