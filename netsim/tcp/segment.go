package tcp

import (
	"encoding/binary"
	"net/netip"

	"usvs/wire"
)

// segment is a received segment whose lengths and checksum are good.
type segment struct {
	seq, ack uint32
	flags    uint8
	wnd      uint32
	mss      int // of the option; 0 without one
	data     []byte
}

func (sg *segment) has(flag uint8) bool { return sg.flags&flag != 0 }

// length is SEG.LEN: SYN and FIN count (RFC 9293 section 3.4).
func (sg *segment) length() uint32 {
	n := uint32(len(sg.data))
	if sg.has(wire.FlagSYN) {
		n++
	}
	if sg.has(wire.FlagFIN) {
		n++
	}
	return n
}

// end is the sequence number behind the segment.
func (sg *segment) end() uint32 { return sg.seq + sg.length() }

// fault says why a segment was not taken.
type fault uint8

const (
	faultNone fault = iota
	faultHeader
	faultChecksum
)

// parse checks the lengths and the checksum of b, which runs from the TCP
// header to the end of the IP packet.
func (sg *segment) parse(src, dst netip.Addr, b []byte) fault {
	if len(b) < wire.TCPLen {
		return faultHeader
	}
	h := wire.TCP(b)
	hl := h.HeaderLen()
	if hl < wire.TCPLen || hl > len(b) {
		return faultHeader
	}
	if wire.Fold(wire.Sum(b, wire.PseudoSum(src, dst, wire.ProtoTCP, len(b)))) != 0xffff {
		return faultChecksum
	}
	*sg = segment{seq: h.Seq(), ack: h.Ack(), flags: h.Flags(), wnd: uint32(h.Window()), data: b[hl:]}
	if sg.has(wire.FlagSYN) {
		sg.mss = mssOption(b[wire.TCPLen:hl])
	}
	return faultNone
}

// TCP option kinds (RFC 9293 section 3.2).
const (
	optEnd = 0
	optNop = 1
	optMSS = 2

	mssOptionLen = 4
)

// mssOption finds the MSS among the options; a malformed list ends the search.
func mssOption(o []byte) int {
	for len(o) > 0 && o[0] != optEnd {
		if o[0] == optNop {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			return 0
		}
		if o[0] == optMSS && o[1] == mssOptionLen {
			return int(binary.BigEndian.Uint16(o[2:]))
		}
		o = o[o[1]:]
	}
	return 0
}

// header is what goes in front of a segment's data.
type header struct {
	src, dst netip.AddrPort
	seq, ack uint32
	flags    uint8
	wnd      uint16
	mss      uint16 // sent as an option unless 0
}

// put appends the segment of h and data to b, checksum and all.
func (h *header) put(b, data []byte) []byte {
	start, hl := len(b), wire.TCPLen
	if h.mss != 0 {
		hl += mssOptionLen
	}
	be := binary.BigEndian
	b = be.AppendUint16(b, h.src.Port())
	b = be.AppendUint16(b, h.dst.Port())
	b = be.AppendUint32(b, h.seq)
	b = be.AppendUint32(b, h.ack)
	b = append(b, byte(hl/4)<<4, h.flags)
	b = be.AppendUint16(b, h.wnd)
	b = append(b, 0, 0, 0, 0) // checksum, urgent pointer
	if h.mss != 0 {
		b = append(b, optMSS, mssOptionLen)
		b = be.AppendUint16(b, h.mss)
	}
	b = append(b, data...)
	out := b[start:]
	sum := wire.Sum(out, wire.PseudoSum(h.src.Addr(), h.dst.Addr(), wire.ProtoTCP, len(out)))
	wire.TCP(out).SetChecksum(^wire.Fold(sum))
	return b
}
