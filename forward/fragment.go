package forward

import "usvs/wire"

// Fragment header fields (RFC 791 3.1, RFC 8200 4.5).
const (
	ipv4DF            = 0x4000
	ipv4MF            = 0x2000
	ipv6MoreFragments = 1
	fragmentLen       = 8      // of an IPv6 fragment header
	minMTU6           = 1280   // RFC 8200 5
	fragmentUnit      = ^0 - 7 // fragments but the last carry a multiple of 8 bytes
)

// Fragment cuts the packet into fragments for a route with the given MTU and
// emits them in order, each made in a frame from alloc. f keeps its packet,
// with its checksum finished. A super-frame is cut into segments first.
//
// A reassembled datagram gets the boundaries it arrived with, if they are known
// and all fit; otherwise it is cut anew, to the MTU or the
// largest fragment it arrived in, whichever is smaller (ipvs.md 5.1). IPv6
// fragments carry Frame.FragID; an IPv6 datagram that would fit is still one,
// alone, if it arrived in smaller ones. A reassembled datagram's DF bit was its
// fragments' and is, if it is cut anew, theirs again: as Linux has it. Any other
// is ignored and taken off.
//
// It returns false if the packet cannot be cut: no IP packet, an IPv6 fragment,
// an MTU below the headers and 8 bytes, an IPv6 datagram whose fragments were
// larger than the MTU, or alloc returned nil or too small a frame.
func Fragment(f *wire.Frame, p *wire.Packet, mtu int, alloc func() *wire.Frame, emit func(*wire.Frame)) bool {
	if f.GSO != wire.GSONone {
		return fragmentSegments(f, p, mtu, alloc, emit)
	}
	return fragmentPacket(f, p, mtu, alloc, emit)
}

// fragmentSegments fragments each segment of a super-frame.
func fragmentSegments(f *wire.Frame, p *wire.Packet, mtu int, alloc func() *wire.Frame, emit func(*wire.Frame)) bool {
	ok := true
	done := Segment(f, p, alloc, func(seg *wire.Frame) {
		var q wire.Packet
		ok = ok && q.Parse(seg.Bytes(), seg.Medium) == wire.None &&
			fragmentPacket(seg, &q, mtu, alloc, emit)
	})
	return done && ok
}

// fragmentPacket fragments anything but a super-frame.
func fragmentPacket(f *wire.Frame, p *wire.Packet, mtu int, alloc func() *wire.Frame, emit func(*wire.Frame)) bool {
	FinishChecksum(f, p)
	var c cut
	switch {
	case p.Version == 4:
		c.planIPv4(f, p, mtu)
	case p.Version == 6 && !p.Fragment:
		c.planIPv6(f, p, mtu)
	}
	if c.room < 8 {
		return false
	}
	for off, i := 0, 0; i == 0 || off < len(c.data); i++ {
		n := c.length(off, i)
		g := alloc()
		if g == nil || g.Cap() < c.head+c.extra+n {
			return false
		}
		inherit(g, f)
		c.write(g, p, off, n)
		emit(g)
		off += n
	}
	return true
}

// cut is how a packet is taken apart.
type cut struct {
	head   int      // headers up to here are copied to every fragment
	extra  int      // and this is put behind them
	nextAt int      // IPv6: where the last of them says what follows
	data   []byte   // what is cut
	room   int      // most data in a fragment
	pieces []uint16 // data in each fragment, or nil
	id     uint32   // IPv6
	df     uint16   // IPv4: the DF bit of every fragment
}

func (c *cut) planIPv4(f *wire.Frame, p *wire.Packet, mtu int) {
	if f.FragSize != 0 {
		mtu = min(mtu, f.FragSize)
		c.df = p.V4().FragWord() & ipv4DF
	}
	c.head = p.L4
	c.data = p.Data[p.L4:p.End]
	c.room = mtu - (p.L4 - p.L3)
	c.keepPieces(f.Pieces)
	switch {
	case c.pieces != nil:
		c.df = 0
	case f.PiecesDF:
		c.df = ipv4DF
	}
}

func (c *cut) planIPv6(f *wire.Frame, p *wire.Packet, mtu int) {
	if f.FragSize > mtu {
		return
	}
	if f.FragSize != 0 {
		mtu = min(mtu, max(f.FragSize, minMTU6))
	}
	c.head, c.nextAt = unfragmentable(p)
	c.data = p.Data[c.head:p.End]
	c.room = mtu - (c.head - p.L3)
	if f.FragSize == 0 && p.IPLen() <= mtu {
		return
	}
	c.extra = fragmentLen
	c.room -= fragmentLen
	c.id = f.FragID
	c.keepPieces(f.Pieces)
}

// keepPieces takes over the boundaries a datagram arrived with, if they still
// make sense.
func (c *cut) keepPieces(pieces []uint16) {
	sum := 0
	for i, n := range pieces {
		if n == 0 || int(n) > c.room || n&7 != 0 && i < len(pieces)-1 {
			return
		}
		sum += int(n)
	}
	if sum == len(c.data) && sum != 0 {
		c.pieces = pieces
	}
}

// length is how much the i-th fragment, at off, carries.
func (c *cut) length(off, i int) int {
	switch left := len(c.data) - off; {
	case c.pieces != nil:
		return int(c.pieces[i])
	case left > c.room:
		return c.room & fragmentUnit
	default:
		return left
	}
}

func (c *cut) write(g *wire.Frame, p *wire.Packet, off, n int) {
	g.SetLen(c.head + c.extra + n)
	b := g.Bytes()
	copy(b, p.Data[:c.head])
	copy(b[c.head+c.extra:], c.data[off:off+n])
	last := off+n == len(c.data)
	if p.Version == 6 {
		c.finishIPv6(b, p, off, last)
		return
	}
	h := wire.IPv4(b[p.L3:])
	h.SetTotalLen(len(h))
	h.SetFragWord(c.fragWord(p, off, last))
	if p.FragOffset+off != 0 {
		dropFirstOnly(h[wire.IPv4Len:h.HeaderLen()])
	}
	h.UpdateChecksum()
}

// fragWord also serves a packet that is a fragment already.
func (c *cut) fragWord(p *wire.Packet, off int, last bool) uint16 {
	w := c.df | uint16((p.FragOffset+off)/8)
	if !last || p.MoreFrags {
		w |= ipv4MF
	}
	return w
}

func (c *cut) finishIPv6(b []byte, p *wire.Packet, off int, last bool) {
	wire.IPv6(b[p.L3:]).SetPayloadLen(len(b) - p.L3 - wire.IPv6Len)
	if c.extra == 0 {
		return // all of it fits
	}
	h := b[c.head:]
	h[0], h[1] = b[c.nextAt], 0
	b[c.nextAt] = wire.ProtoFragment
	w := uint16(off)
	if !last {
		w |= ipv6MoreFragments
	}
	put16(h[2:], w)
	put32(h[4:], c.id)
}

// unfragmentable is where the part of an IPv6 packet ends that every fragment
// has, and where it says which header follows: the IPv6 header, then hop-by-hop
// and routing headers, and destination options unless they follow a routing
// header. RFC 8200 4.5 would cut before options that precede none; Linux does
// not. Parse has checked the headers' lengths.
func unfragmentable(p *wire.Packet) (end, nextAt int) {
	end, nextAt = p.L3+wire.IPv6Len, p.L3+6
	routed := false
	for end < p.L4 {
		switch p.Data[nextAt] {
		case wire.ProtoHopByHop:
		case wire.ProtoRouting:
			routed = true
		case wire.ProtoDstOpts:
			if routed {
				return end, nextAt
			}
		default:
			return end, nextAt
		}
		end, nextAt = end+extensionLen(p.Data[end:]), end
	}
	return end, nextAt
}

func extensionLen(h []byte) int { return int(h[1])*8 + 8 }
