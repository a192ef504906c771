package forward

import "usvs/wire"

const (
	blockSize         = 2048
	blocksPerDatagram = 32 // 64 KiB
	maxIPLen          = 65535
	maxParts          = 128 // fragments of a datagram that are told apart
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
	start  int // and the data begins here
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
	*fr = fragment{f: f, p: p, head: p.L4, start: p.L4, offset: p.FragOffset, last: !p.MoreFrags}
	fr.key = fragmentKey{src: p.Src.As16(), dst: p.Dst.As16(), id: p.FragID, version: p.Version}
	if p.Version == 4 {
		fr.key.proto = p.Proto
	} else if fr.head, fr.start = p.FragHeader, p.FragHeader+fragmentLen; !fr.findNext() {
		return DropMalformed
	}
	fr.data = p.Data[fr.start:p.End]
	if p.Version == 4 && !fr.last {
		fr.data = fr.data[:len(fr.data)&fragmentUnit] // Linux ignores what is too much
	}
	fr.hash = mix(mixAddr16(mixAddr16(seed, &fr.key.src), &fr.key.dst) ^ uint64(fr.key.id)<<8 ^ uint64(fr.key.proto))
	switch {
	case fr.offset == 0 && fr.start > maxFragmentHead:
		return DropHeader
	case fr.end() > maxIPLen:
		return DropTooLong
	}
	return accepted
}

// spoils reports whether refusing the fragment for that reason ends its
// datagram: IPv4's ends with everything that contradicts it, but IPv6's only
// with what could be taken for a part of it.
func (fr *fragment) spoils(why FragmentDrop) bool {
	switch why {
	case DropMalformed, DropInconsistent:
		return fr.key.version == 4
	case DropTooLong, DropOverlap, DropECN, DropHoles:
		return true
	}
	return false
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

// end is the offset behind the fragment's last byte.
func (fr *fragment) end() int { return fr.offset + len(fr.data) }

func (fr *fragment) ecn() uint8 {
	return 1 << (innerTOS(fr.p) & 3)
}

func (fr *fragment) df() bool { return fr.key.version == 4 && fr.p.V4().DF() }

// size is the length of the fragment's IP packet.
func (fr *fragment) size() int { return fr.start - fr.p.L3 + len(fr.data) }

// datagram is one that is not complete yet.
type datagram struct {
	slot   int
	key    fragmentKey
	blocks [blocksPerDatagram]uint16 // index of a block + 1; 0 for none yet

	parts parts
	end   int  // of the fragment that reaches farthest
	ended bool // the last fragment was here: end is the datagram's

	head   [maxFragmentHead]byte // the first fragment's headers
	first  firstFragment
	hidden bool
	ecn    uint8 // bit per codepoint seen
	size   int   // IP length of the largest fragment
	sizeDF int   // and of the largest that had DF
}

// firstFragment is what a datagram inherits from its first fragment.
type firstFragment struct {
	here     bool
	medium   wire.Medium
	port     int
	mark     uint32
	hidden   bool
	l3, head int
	start    int
	n        int // bytes of data
	trimmed  int // and what was ignored behind them
	nextAt   int
	next     uint8
}

func (d *datagram) reset(key fragmentKey) {
	*d = datagram{slot: d.slot, key: key}
}

// complete reports whether every byte up to the last is here.
func (d *datagram) complete() bool { return d.ended && d.first.here && d.parts.bytes == d.end }

// insert adds the fragment to d, or says why not.
func (s *shard) insert(d *datagram, fr *fragment) FragmentDrop {
	if fr.last && (fr.end() < d.end || d.ended && fr.end() != d.end) ||
		!fr.last && d.ended && fr.end() > d.end {
		return DropInconsistent
	}
	d.end = max(d.end, fr.end())
	d.ended = d.ended || fr.last
	if len(fr.data) == 0 {
		return DropMalformed
	}
	if why := d.parts.add(fr.offset, fr.end()); why != accepted {
		return why
	}
	s.reserve(d, fr.offset, fr.end())
	for off, b := fr.offset, fr.data; len(b) > 0; {
		n := copy(s.block(d, off), b)
		off, b = off+n, b[n:]
	}
	d.note(fr)
	return accepted
}

// note remembers what the whole datagram will need to know of an accepted fragment.
func (d *datagram) note(fr *fragment) {
	d.ecn |= fr.ecn()
	d.hidden = d.hidden || fr.f.Hidden
	d.size = max(d.size, fr.size())
	if fr.df() {
		d.sizeDF = max(d.sizeDF, fr.size())
	}
	if fr.offset == 0 {
		d.first = fr.first()
		copy(d.head[:], fr.p.Data[:fr.start])
	}
}

func (fr *fragment) first() firstFragment {
	return firstFragment{
		here: true, medium: fr.f.Medium, port: fr.f.Port, mark: fr.f.Mark, hidden: fr.f.Hidden,
		l3: fr.p.L3, head: fr.head, start: fr.start, n: len(fr.data), nextAt: fr.nextAt, next: fr.next,
		trimmed: fr.p.End - fr.start - len(fr.data),
	}
}

// writeFirst makes out the first fragment, as it came, if that is here and fits.
// Zeros stand for what was ignored of it.
func (s *shard) writeFirst(d *datagram, out *wire.Frame) bool {
	h := &d.first
	if !h.here || h.start+h.n+h.trimmed > out.Cap() {
		return false
	}
	h.begin(out, h.start+h.n+h.trimmed)
	out.Hidden = h.hidden
	b := out.Bytes()
	clear(b[h.start+h.n:])
	s.copyData(d, b, d.head[:h.start], h.n)
	return true
}

// ECN codepoints seen, a bit for each (RFC 3168 5).
const (
	seenNotECT = 1 << 0
	seenCE     = 1 << 3
)

// write makes out the complete datagram.
func (s *shard) write(d *datagram, out *wire.Frame) FragmentDrop {
	h := &d.first
	if d.ecn&seenNotECT != 0 && d.ecn != seenNotECT {
		return DropECN
	}
	if !h.fits(out, d.end) {
		return DropTooLong
	}
	h.begin(out, h.head+d.end)
	b := out.Bytes()
	s.copyData(d, b, d.head[:h.head], d.end)
	out.Hidden, out.FragSize, out.FragID = d.hidden, d.size, d.key.id
	out.Pieces = d.parts.pieces(out.Pieces)
	if d.key.version == 6 {
		finishDatagram6(b, h, d.ecn)
	} else {
		finishDatagram4(b, h, d.ecn, d.sizeDF == d.size)
	}
	return accepted
}

// copyData writes headers and the first n bytes of d's data to b.
func (s *shard) copyData(d *datagram, b, head []byte, n int) {
	b = b[copy(b, head):]
	for off := 0; off < n; {
		off += copy(b[off:n], s.block(d, off))
	}
}

// fits reports whether the datagram may be as long as its data makes it.
func (h *firstFragment) fits(out *wire.Frame, dataLen int) bool {
	limit := maxIPLen
	if h.nextAt != 0 { // IPv6 counts the payload only
		limit += wire.IPv6Len
	}
	total := h.head + dataLen
	return total-h.l3 <= limit && total <= out.Cap()
}

// begin gives out its metadata and length.
func (h *firstFragment) begin(out *wire.Frame, n int) {
	out.Reset()
	out.Medium, out.Port, out.Mark = h.medium, h.port, h.mark
	out.SetLen(n)
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
	if ecn&seenCE != 0 {
		h.SetTOS(h.TOS() | 3)
	}
	h.UpdateChecksum()
}

func finishDatagram6(b []byte, first *firstFragment, ecn uint8) {
	b[first.nextAt] = first.next
	h := wire.IPv6(b[first.l3:])
	h.SetPayloadLen(len(h) - wire.IPv6Len)
	if ecn&seenCE != 0 {
		h.SetFlow(h.TrafficClass()|3, h.FlowLabel())
	}
}
