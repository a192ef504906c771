package forward

import "usvs/wire"

const (
	blockSize         = 2048
	blocksPerDatagram = 32 // 64 KiB
	maxIPLen          = 65535
	maxExtents        = 32
	maxPieces         = 64  // boundaries remembered of a datagram that comes in order
	maxFragmentHead   = 512 // link header and IP headers of a first fragment
)

// fragmentKey tells datagrams apart (RFC 791 3.2, RFC 8200 4.5). IPv6 has no
// protocol in it: only the first fragment's counts.
type fragmentKey struct {
	src, dst [16]byte
	id       uint32
	version  uint8
	proto    uint8
}

// fragment is one fragment as it was received.
type fragment struct {
	f    *wire.Frame
	p    *wire.Packet
	key  fragmentKey
	hash uint64

	head   int // headers end here, before an IPv6 fragment header
	nextAt int // IPv6: where they say that a fragment header follows
	next   uint8
	data   []byte
	offset int
	last   bool
}

// read checks what can be checked without the other fragments.
func (fr *fragment) read(f *wire.Frame, p *wire.Packet, seed uint64) FragmentDrop {
	if !p.Fragment || f.GSO != wire.GSONone {
		return DropMalformed
	}
	*fr = fragment{f: f, p: p, offset: p.FragOffset, last: !p.MoreFrags}
	fr.key = fragmentKey{src: p.Src.As16(), dst: p.Dst.As16(), id: p.FragID, version: p.Version}
	start := p.L4
	if fr.head = p.L4; p.Version == 4 {
		fr.key.proto = p.Proto
	} else if fr.head, start = p.FragHeader, p.FragHeader+fragmentLen; !fr.findNext() {
		return DropMalformed
	}
	fr.data = p.Data[start:p.End]
	fr.hash = mix(mixAddr16(mixAddr16(seed, &fr.key.src), &fr.key.dst) ^ uint64(fr.key.id)<<8 ^ uint64(fr.key.proto))
	return fr.check()
}

// findNext walks the headers in front of an IPv6 fragment header. A second
// fragment header among them is refused.
func (fr *fragment) findNext() bool {
	b := fr.p.Data
	fr.next = b[fr.head]
	fr.nextAt = fr.p.L3 + 6
	for at := fr.p.L3 + wire.IPv6Len; at < fr.head; at += extensionLen(b[at:]) {
		if b[fr.nextAt] == wire.ProtoFragment {
			return false
		}
		fr.nextAt = at
	}
	return b[fr.nextAt] == wire.ProtoFragment
}

func (fr *fragment) check() FragmentDrop {
	n := len(fr.data)
	switch {
	case n == 0 && !(fr.last && fr.offset == 0), !fr.last && n&7 != 0:
		return DropMalformed
	case fr.offset == 0 && fr.head > maxFragmentHead:
		return DropHeader
	case fr.offset+n > maxIPLen:
		return DropTooLong
	}
	return accepted
}

// end is the offset behind the fragment's last byte.
func (fr *fragment) end() int { return fr.offset + len(fr.data) }

func (fr *fragment) ecn() uint8 {
	return 1 << (innerTOS(fr.p) & 3)
}

func (fr *fragment) df() bool { return fr.key.version == 4 && fr.p.V4().DF() }

// extent is a part of a datagram that is here: from, inclusive, to end.
type extent struct{ from, end uint16 }

// datagram is one that is not complete yet.
type datagram struct {
	slot   int
	key    fragmentKey
	blocks [blocksPerDatagram]uint16 // index of a block + 1; 0 for none yet

	extents  [maxExtents]extent // ascending, apart from each other
	nExtents int
	end      int  // of the fragment that reaches farthest
	ended    bool // the last fragment is here: end is the datagram's

	head   [maxFragmentHead]byte // the first fragment's headers
	first  firstFragment
	hidden bool
	ecn    uint8 // bit per codepoint seen
	size   int   // IP length of the largest fragment
	sizeDF int   // and of the largest that had DF

	pieces  [maxPieces]uint16
	nPieces int // -1: they did not come in order, or are too many
}

// firstFragment is what a datagram inherits from its first fragment.
type firstFragment struct {
	medium   wire.Medium
	port     int
	mark     uint32
	l3, head int
	nextAt   int
	next     uint8
}

func (d *datagram) reset(key fragmentKey) {
	*d = datagram{slot: d.slot, key: key}
}

// complete reports whether every byte up to the last is here.
func (d *datagram) complete() bool {
	return d.ended && d.nExtents == 1 && d.extents[0] == extent{0, uint16(d.end)}
}

// insert adds the fragment to d, or says why not.
func (s *shard) insert(d *datagram, fr *fragment) FragmentDrop {
	if fr.last && (fr.end() < d.end || d.ended && fr.end() != d.end) ||
		!fr.last && d.ended && fr.end() > d.end {
		return DropInconsistent
	}
	inOrder := d.nExtents <= 1 && fr.offset == int(d.extents[0].end)
	if why := d.cover(uint16(fr.offset), uint16(fr.end())); why != accepted {
		return why
	}
	d.end = max(d.end, fr.end())
	d.ended = d.ended || fr.last
	s.reserve(d, fr.offset, fr.end())
	for off, b := fr.offset, fr.data; len(b) > 0; {
		n := copy(s.block(d, off), b)
		off, b = off+n, b[n:]
	}
	d.note(fr, inOrder)
	return accepted
}

// cover adds from..end to the extents. What is here entirely is a duplicate;
// what is here in part overlaps, whatever its bytes are.
func (d *datagram) cover(from, end uint16) FragmentDrop {
	i := 0
	for i < d.nExtents && d.extents[i].end < from {
		i++
	}
	if i < d.nExtents && d.extents[i].end == from {
		return d.extend(i, end)
	}
	if i < d.nExtents && d.extents[i].from < end {
		if d.extents[i].from <= from && end <= d.extents[i].end {
			return DropDuplicate
		}
		return DropOverlap
	}
	if i < d.nExtents && d.extents[i].from == end {
		d.extents[i].from = from
		return accepted
	}
	if d.nExtents == maxExtents {
		return DropHoles
	}
	copy(d.extents[i+1:d.nExtents+1], d.extents[i:d.nExtents])
	d.extents[i] = extent{from, end}
	d.nExtents++
	return accepted
}

// extend moves extent i's end to end, and joins it with the next if they meet.
func (d *datagram) extend(i int, end uint16) FragmentDrop {
	if i+1 == d.nExtents || end < d.extents[i+1].from {
		d.extents[i].end = end
		return accepted
	}
	if end > d.extents[i+1].from {
		return DropOverlap
	}
	d.extents[i].end = d.extents[i+1].end
	d.nExtents--
	copy(d.extents[i+1:d.nExtents], d.extents[i+2:])
	return accepted
}

// note remembers what the whole datagram will need to know of an accepted fragment.
func (d *datagram) note(fr *fragment, inOrder bool) {
	d.ecn |= fr.ecn()
	d.hidden = d.hidden || fr.f.Hidden
	d.size = max(d.size, fr.p.IPLen())
	if fr.df() {
		d.sizeDF = max(d.sizeDF, fr.p.IPLen())
	}
	if fr.offset == 0 {
		d.first = fr.first()
		copy(d.head[:], fr.p.Data[:fr.head])
	}
	if !inOrder || d.nPieces == maxPieces {
		d.nPieces = -1
	}
	if d.nPieces >= 0 {
		d.pieces[d.nPieces] = uint16(len(fr.data))
		d.nPieces++
	}
}

func (fr *fragment) first() firstFragment {
	return firstFragment{
		medium: fr.f.Medium, port: fr.f.Port, mark: fr.f.Mark,
		l3: fr.p.L3, head: fr.head, nextAt: fr.nextAt, next: fr.next,
	}
}

// write makes out the complete datagram.
func (s *shard) write(d *datagram, out *wire.Frame) FragmentDrop {
	h := &d.first
	if d.ecn&(1<<3) != 0 && d.ecn&1 != 0 {
		return DropECN
	}
	if !startDatagram(out, h, d.end) {
		return DropTooLong
	}
	b := out.Bytes()
	copy(b, d.head[:h.head])
	for off := 0; off < d.end; {
		off += copy(b[h.head+off:], s.block(d, off))
	}
	out.Hidden, out.FragSize, out.FragID = d.hidden, d.size, d.key.id
	if d.nPieces > 0 {
		out.Pieces = append(out.Pieces[:0], d.pieces[:d.nPieces]...)
	}
	if d.key.version == 6 {
		finishDatagram6(b, h, d.ecn)
	} else {
		finishDatagram4(b, h, d.ecn, d.sizeDF == d.size)
	}
	return accepted
}

// startDatagram gives out the length and metadata of the datagram, if it may
// be that long.
func startDatagram(out *wire.Frame, h *firstFragment, dataLen int) bool {
	limit := maxIPLen
	if h.nextAt != 0 { // IPv6 counts the payload only
		limit += wire.IPv6Len
	}
	total := h.head + dataLen
	if total-h.l3 > limit || total > out.Cap() {
		return false
	}
	out.Reset()
	out.Medium, out.Port, out.Mark = h.medium, h.port, h.mark
	out.SetLen(total)
	return true
}

// finishDatagram4 makes the first fragment's header the datagram's. It keeps
// DF if the largest fragment had it.
func finishDatagram4(b []byte, first *firstFragment, ecn uint8, df bool) {
	h := wire.IPv4(b[first.l3:])
	h.SetTotalLen(len(h))
	h.SetFragWord(0)
	if df {
		h.SetFragWord(ipv4DF)
	}
	if ecn&(1<<3) != 0 {
		h.SetTOS(h.TOS() | 3)
	}
	h.UpdateChecksum()
}

func finishDatagram6(b []byte, first *firstFragment, ecn uint8) {
	b[first.nextAt] = first.next
	h := wire.IPv6(b[first.l3:])
	h.SetPayloadLen(len(h) - wire.IPv6Len)
	if ecn&(1<<3) != 0 {
		h.SetFlow(h.TrafficClass()|3, h.FlowLabel())
	}
}

// writeAtomic takes the fragment header out of a datagram in one fragment. It
// does not wait for, nor disturb, others with the same identification.
func writeAtomic(fr *fragment, out *wire.Frame) FragmentDrop {
	h := fr.first()
	if !startDatagram(out, &h, len(fr.data)) {
		return DropTooLong
	}
	b := out.Bytes()
	copy(b, fr.p.Data[:fr.head])
	copy(b[fr.head:], fr.data)
	out.Hidden, out.FragSize, out.FragID = fr.f.Hidden, fr.p.IPLen(), fr.key.id
	finishDatagram6(b, &h, 0)
	return accepted
}
