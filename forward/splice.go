package forward

import "usvs/wire"

// Payload is the data of a TCP packet, nil if its header is not all there.
func Payload(p *wire.Packet) []byte {
	if p.Proto != wire.ProtoTCP || !p.Full || p.Fragment {
		return nil
	}
	t := p.Transport()
	if n := wire.TCP(t).HeaderLen(); n >= wire.TCPLen && n <= len(t) {
		return t[n:]
	}
	return nil
}

// TCPChecksumOK reports whether a packet's checksum is right, or is none yet
// because the device makes it.
func TCPChecksumOK(f *wire.Frame, p *wire.Packet) bool {
	if f.Partial || f.GSO != wire.GSONone {
		return true
	}
	return wire.Fold(wire.PseudoSum(p.Src, p.Dst, p.Proto, p.End-p.L4)+wire.Sum(p.Transport(), 0)) == 0xffff
}

// Splice puts text in the place of the bytes from start to end of a TCP
// packet's payload, and makes lengths and checksums follow. It reports false,
// and changes nothing, if the packet would become too long for itself or for
// the frame.
func Splice(f *wire.Frame, p *wire.Packet, start, end int, text []byte) bool {
	diff := len(text) - (end - start)
	if p.IPLen()+diff > maxIPLen || p.Version == 6 && p.End-p.L3-wire.IPv6Len+diff > maxIPLen || diff > tail(f) {
		return false
	}
	at := p.End - len(Payload(p)) + start
	rest, whole := at+end-start, p.End+diff
	f.Extend(max(p.End, whole))
	b := f.Bytes()
	copy(b[at+len(text):], b[rest:p.End])
	copy(b[at:], text)
	f.Truncate(whole) // link padding goes, too
	p.Data, p.End = f.Bytes(), whole
	setLength(p)
	finishTCP(f, p, diff)
	return true
}

// tail is how many bytes may follow the packet in the frame's buffer.
func tail(f *wire.Frame) int { return wire.Headroom + f.Cap() - f.Room() - f.Len() }

func setLength(p *wire.Packet) {
	if p.Version == 6 {
		p.V6().SetPayloadLen(p.IPLen() - wire.IPv6Len)
		return
	}
	h := p.V4()
	old := uint16(h.TotalLen())
	h.SetTotalLen(p.IPLen())
	h.SetChecksum(wire.Update16(h.Checksum(), old, uint16(p.IPLen())))
}

// finishTCP makes the checksum that of the changed payload. One that the device
// makes has only the length in it.
func finishTCP(f *wire.Frame, p *wire.Packet, diff int) {
	field := p.Data[p.L4+tcpChecksum:]
	if partialAt(f, p, tcpChecksum) {
		n := p.End - p.L4
		patchPartial(field, uint64(n-diff), uint64(n))
		return
	}
	put16(field, 0)
	put16(field, transportSum(f, p))
}

// ShiftTCP adds seq to a TCP packet's sequence number and takes what ack says
// off what the packet acknowledges: the acknowledgement and every edge of its
// SACK blocks (RFC 2018).
func ShiftTCP(f *wire.Frame, p *wire.Packet, seq int32, ack func(uint32) int32) {
	t := p.Transport()
	header := wire.TCP(t).HeaderLen()
	if header < wire.TCPLen || header > len(t) {
		return
	}
	s := shift{f: f, p: p}
	s.add(seqOffset, seq)
	if p.TCPFlags&wire.FlagACK == 0 {
		return
	}
	s.add(ackOffset, -ack(be32(t[ackOffset:])))
	for rest := t[wire.TCPLen:header]; len(rest) > 0; {
		option := nextTCPOption(rest)
		if option == nil {
			return
		}
		if option[0] == optSACK {
			s.sack(header-len(rest), len(option), ack)
		}
		rest = rest[len(option):]
	}
}

// Offsets in a TCP header, and its options.
const (
	seqOffset = 4
	ackOffset = 8

	optEnd  = 0
	optNop  = 1
	optSACK = 5
)

// nextTCPOption returns the first option of b, nil if there is none.
func nextTCPOption(b []byte) []byte {
	switch {
	case b[0] == optEnd:
		return nil
	case b[0] == optNop:
		return b[:1]
	case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
		return nil
	}
	return b[:b[1]]
}

// shift moves numbers of one TCP header.
type shift struct {
	f *wire.Frame
	p *wire.Packet
}

// add adds d to the number at offset off of the header.
func (s shift) add(off int, d int32) {
	if d == 0 {
		return
	}
	b := s.p.Data[s.p.L4+off:]
	old := be32(b)
	put32(b, old+uint32(d))
	if partialAt(s.f, s.p, tcpChecksum) {
		return // it does not cover the header yet
	}
	// At an odd offset, as SACK blocks may be, the bytes count the other way round.
	was, is := uint64(old), uint64(be32(b))
	if off%2 != 0 {
		was, is = swapped(old), swapped(be32(b))
	}
	patch16(s.p.Data[s.p.L4+tcpChecksum:], was, is)
}

// swapped exchanges the bytes of each 16-bit word.
func swapped(v uint32) uint64 { return uint64(v>>8&0x00ff00ff | v<<8&0xff00ff00) }

// sack moves the edges of the SACK option of n bytes at offset off.
func (s shift) sack(off, n int, ack func(uint32) int32) {
	for at := off + 2; at+4 <= off+n; at += 4 {
		s.add(at, -ack(be32(s.p.Data[s.p.L4+at:])))
	}
}
