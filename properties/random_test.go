package properties

import (
	"encoding/binary"
	"math/rand/v2"

	"usvs/wire"
)

// random makes packets of every shape that a sound sender may send, and wrong
// checksums.
type random struct{ *rand.Rand }

func (r random) bytes(n int) []byte {
	b := make([]byte, n+7)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n:n]
}

func (r random) chance(percent int) bool { return r.IntN(100) < percent }

// size is the length of a payload: mostly short, sometimes up to most.
func (r random) size(most int) int {
	switch r.IntN(4) {
	case 0:
		return r.IntN(4)
	case 1:
		return r.IntN(most + 1)
	}
	return r.IntN(min(most, 120) + 1)
}

// fill gives a header everything but addresses and protocol.
func (r random) fill(h *header) {
	h.tos, h.ttl = byte(r.Uint32()), byte(2+r.IntN(254))
	h.id, h.flow = uint16(r.Uint32()), r.Uint32()&0xfffff
	if r.chance(50) {
		h.frag = dontFragment
	}
	if r.chance(75) {
		return
	}
	if h.src.Is6() {
		h.options, h.first = r.extensions(h.proto)
		return
	}
	h.options = r.options()
}

// options are IPv4 options, padded to words.
func (r random) options() (b []byte) {
	for len(b) == 0 || r.chance(50) {
		var o []byte
		switch r.IntN(4) {
		case 0:
			o = []byte{1}
		case 1:
			o = []byte{148, 4, 0, 0} // router alert: belongs into every fragment
		case 2:
			o = append([]byte{byte(30 + r.IntN(30)), 0}, r.bytes(r.IntN(6))...) // unknown: into the first only
			o[1] = byte(len(o))
		default:
			o = append([]byte{7, 11, 8, 9, 9, 9, 9}, r.bytes(4)...) // record route
			o[2] += 4 * byte(r.IntN(2))                             // full
		}
		if len(b)+len(o) > 40 {
			break
		}
		b = append(b, o...)
	}
	for len(b)%4 != 0 {
		b = append(b, 1)
	}
	return b
}

// extensions are IPv6 extension headers that lead to proto, and the type of
// the first one.
func (r random) extensions(proto uint8) (b []byte, first uint8) {
	var types []uint8
	for _, t := range []uint8{hopByHop, dstOptions, routing, dstOptions} {
		if r.chance(40) {
			types = append(types, t)
		}
	}
	if len(types) == 0 {
		types = []uint8{dstOptions}
	}
	for i, t := range types {
		n := 8 * (1 + r.IntN(3))
		h := make([]byte, n)
		if h[0] = proto; i+1 < len(types) {
			h[0] = types[i+1]
		}
		h[1] = byte(n/8 - 1)
		if t == routing {
			h[2] = 4 // a type that is passed on once no segments are left
		} else {
			h[2], h[3] = 1, byte(n-4) // padding
		}
		b = append(b, h...)
	}
	return b, types[0]
}

// body is a transport header and payload, at most most bytes, with the
// checksum still to be filled in.
func (r random) body(proto uint8, sport, dport uint16, most int) []byte {
	switch proto {
	case tcp:
		b := make([]byte, 20)
		copy(b[4:], r.bytes(16)) // sequence, acknowledgement, window, urgent
		put16(b, sport)
		put16(b[2:], dport)
		opts := r.tcpOptions()
		b[12] = byte(20+len(opts)) / 4 << 4
		if b[13] &^= rst; r.chance(10) {
			b[13] |= rst
		}
		b = append(b, opts...)
		return append(b, r.bytes(r.size(most-len(b)))...)
	case udp:
		b := append(make([]byte, 8), r.bytes(r.size(most-8))...)
		put16(b, sport)
		put16(b[2:], dport)
		put16(b[4:], uint16(len(b)))
		return b
	}
	b := append(make([]byte, 12), r.bytes(8+r.size(most-20))...)
	put16(b, sport)
	put16(b[2:], dport)
	if b[12] == 6 && r.chance(80) {
		b[12] = 0 // data, not always an abort
	}
	return b
}

func (r random) tcpOptions() (b []byte) {
	known := [][]byte{{1}, {2, 4, 5, 180}, {3, 3, 7}, {4, 2}, {8, 10, 1, 2, 3, 4, 5, 6, 7, 8}}
	for r.chance(40) {
		if o := known[r.IntN(len(known))]; len(b)+len(o) <= 40 {
			b = append(b, o...)
		}
	}
	for len(b)%4 != 0 {
		b = append(b, 1)
	}
	return b
}

// seal gives the packet a checksum: mostly the right one, sometimes a wrong
// one; of UDP sometimes none.
func (r random) seal(p view) {
	p.seal()
	at := p.field()
	if p.proto == sctp {
		if r.chance(10) {
			copy(p.body()[8:], r.bytes(4))
		}
		return
	}
	switch {
	case r.chance(10):
		put16(p.body()[at:], uint16(r.Uint32()))
	case p.proto == udp && r.chance(15):
		put16(p.body()[at:], 0)
	}
}

// extreme sometimes changes the payload so that the right checksum is one where
// one's complement has its corners: before the director has had the packet, or
// afterwards, when it is what becomes makes of it.
func (r random) extreme(p view, becomes func(view) view) {
	q := p.clone()
	if q.seal(); r.chance(60) {
		q = becomes(q)
	}
	if !p.v6 && r.chance(5) { // of the header, by its identification
		put16(q.b[4:], 0)
		put16(q.b[10:], uint16(r.IntN(4)-2))
		put16(p.b[4:], ^sum(q.b[:q.l4], 0))
		p.sealIP()
	}
	n := len(p.body())
	if !r.chance(10) || n < 64 || p.proto == sctp {
		return
	}
	word, field := q.l4+((n-2)&^1), q.body()[q.field():] // at an even offset of the body
	put16(q.b[word:], 0)
	put16(field, uint16(r.IntN(4)-2))
	copy(p.b[word:], []byte{byte(^q.residue() >> 8), byte(^q.residue())})
}

// device is what a network card or the host says of a frame besides its bytes.
type device struct {
	partial bool
	super   wire.GSO
	size    int // of a super-frame's segments
	padding []byte
}

// apply tells the director, and makes the checksum of a partial frame half.
func (d device) apply(f *wire.Frame, p view, l2 int) {
	if d.partial {
		f.Partial, f.CsumStart, f.CsumOffset = true, uint16(l2+p.l4), uint16(p.fieldOrCRC())
	}
	f.GSO, f.GSOSize = d.super, uint16(d.size)
}

func (p view) fieldOrCRC() int {
	if p.proto == sctp {
		return 8
	}
	return p.field()
}

// half puts the sum of the pseudo-header into the checksum field, which is
// what a host leaves to its network card.
func (p view) half() {
	if at := p.field(); at >= 0 {
		put16(p.body()[at:], p.pseudo())
	}
}
