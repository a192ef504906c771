package forward

import "usvs/wire"

const tcpCWR = 0x80

// Segment cuts a super-frame into the packets it stands for, finished with
// complete checksums, and emits them in order. Each is made in a frame from
// alloc, with the super-frame's Ethernet header and full headroom. f stays as
// it is. It returns false if f is no super-frame it understands, or if alloc
// returned nil or too small a frame: what was emitted by then is good.
//
// The IPv4 identification increases from segment to segment, the TCP sequence
// number by their payload; FIN and PSH stay on the last, CWR on the first.
func Segment(f *wire.Frame, p *wire.Packet, alloc func() *wire.Frame, emit func(*wire.Frame)) bool {
	head := segmentHeader(f, p)
	if head == 0 {
		return false
	}
	size := int(f.GSOSize)
	for i, off := 0, head; ; i++ {
		n := min(size, p.End-off)
		g := alloc()
		if g == nil || g.Cap() < head+n {
			return false
		}
		inherit(g, f)
		g.SetLen(head + n)
		b := g.Bytes()
		copy(b, p.Data[:head])
		copy(b[head:], p.Data[off:off+n])
		s := segment{b: b, index: i, offset: off - head, last: off+n == p.End}
		s.finish(f, p)
		emit(g)
		if off += n; s.last {
			return true
		}
	}
}

// inherit gives g what f's device said about the packet, except for how its
// checksum is to be finished and how it is to be cut.
func inherit(g, f *wire.Frame) {
	g.Reset()
	g.Medium, g.Port, g.Mark, g.Hidden = f.Medium, f.Port, f.Mark, f.Hidden
}

// segmentHeader is the length of a super-frame's headers, link and transport
// included, which every segment gets a copy of; 0 if f is no super-frame or
// not what it claims to be.
func segmentHeader(f *wire.Frame, p *wire.Packet) int {
	if f.GSO == wire.GSONone || f.GSOSize == 0 || p.Fragment || !p.Full {
		return 0
	}
	n := 0
	switch {
	case f.GSO == wire.GSOTCP4 && p.Version == 4 && p.Proto == wire.ProtoTCP,
		f.GSO == wire.GSOTCP6 && p.Version == 6 && p.Proto == wire.ProtoTCP:
		n = wire.TCP(p.Transport()).HeaderLen()
		if n < wire.TCPLen {
			return 0
		}
	case f.GSO == wire.GSOUDP && p.Proto == wire.ProtoUDP:
		n = wire.UDPLen
	default:
		return 0
	}
	if p.L4+n > p.End {
		return 0
	}
	return p.L4 + n
}

// segment is one piece of a super-frame: a copy of its headers and a part of
// its payload.
type segment struct {
	b      []byte
	index  int
	offset int // of the payload
	last   bool
}

func (s *segment) finish(f *wire.Frame, p *wire.Packet) {
	s.finishIP(p)
	t := s.b[p.L4:]
	if p.Proto == wire.ProtoTCP {
		s.finishTCP(t, p)
		return
	}
	u := wire.UDP(t)
	u.SetLength(len(t))
	if u.Checksum() == 0 && !f.Partial {
		return // a datagram without a checksum
	}
	u.SetChecksum(0)
	if u.SetChecksum(s.checksum(p)); u.Checksum() == 0 {
		u.SetChecksum(zeroIsNoneUDP)
	}
}

func (s *segment) finishIP(p *wire.Packet) {
	if p.Version == 6 {
		wire.IPv6(s.b[p.L3:]).SetPayloadLen(len(s.b) - p.L3 - wire.IPv6Len)
		return
	}
	h := wire.IPv4(s.b[p.L3:])
	h.SetTotalLen(len(s.b) - p.L3)
	h.SetID(h.ID() + uint16(s.index))
	h.UpdateChecksum()
}

func (s *segment) finishTCP(t wire.TCP, p *wire.Packet) {
	put32(t[4:], t.Seq()+uint32(s.offset))
	if !s.last {
		t[13] &^= wire.FlagFIN | wire.FlagPSH
	}
	if s.index > 0 {
		t[13] &^= tcpCWR
	}
	t.SetChecksum(0)
	t.SetChecksum(s.checksum(p))
}

func (s *segment) checksum(p *wire.Packet) uint16 {
	t := s.b[p.L4:]
	return ^wire.Fold(wire.Sum(t, wire.PseudoSum(p.Src, p.Dst, p.Proto, len(t))))
}
