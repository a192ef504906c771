package properties

import (
	"encoding/binary"
	"fmt"

	"usvs/wire"
)

// onWire is the packets that a frame stands for once a network card is done
// with it: cut into segments, checksums filled in.
func onWire(f *wire.Frame) []view {
	b, l2 := append([]byte(nil), f.Bytes()...), 0
	if f.Medium == wire.Ethernet {
		l2 = 14
	}
	p := look(b[l2:])
	if f.GSO != wire.GSONone {
		return p.segments(int(f.GSOSize), f.Partial)
	}
	if f.Partial {
		finish(b[:l2+len(p.b)], int(f.CsumStart), int(f.CsumOffset))
	}
	return []view{p}
}

// finish is what a network card does: it sums from start to the end, knows
// nothing of protocols, and stores the complement.
func finish(b []byte, start, offset int) {
	v := ^sum(b[start:], 0)
	if v == 0 {
		v = 0xffff // as Linux tells them to, for UDP's sake
	}
	put16(b[start+offset:], v)
}

// segments cuts a super-frame.
func (p view) segments(size int, partial bool) (list []view) {
	head := p.l4 + 8
	if p.proto == tcp {
		head = p.l4 + int(p.body()[12]>>4)*4
	}
	data := p.b[head:]
	for off := 0; off == 0 || off < len(data); off += size {
		n := min(size, len(data)-off)
		b := append(append([]byte(nil), p.b[:head]...), data[off:off+n]...)
		if p.v6 {
			put16(b[4:], uint16(len(b)-40))
		} else {
			put16(b[2:], uint16(len(b)))
			put16(b[4:], get16(b[4:])+uint16(off/size))
		}
		s := look(b)
		s.sealIP()
		s.finishSegment(off, off+n == len(data), partial)
		list = append(list, s)
	}
	return list
}

func (p view) finishSegment(off int, last, partial bool) {
	b := p.body()
	if p.proto == udp {
		put16(b[4:], uint16(len(b)))
		if get16(b[6:]) != 0 || partial {
			p.seal()
		}
		return
	}
	binary.BigEndian.PutUint32(b[4:], binary.BigEndian.Uint32(b[4:])+uint32(off))
	if !last {
		b[13] &^= fin | psh
	}
	if off > 0 {
		b[13] &^= cwr
	}
	p.seal()
}

// isFragment reports whether p is a part of a datagram.
func (p view) isFragment() bool {
	if p.v6 {
		return p.frag != 0
	}
	return get16(p.b[6:])&^dontFragment != 0
}

// identification tells a fragment's datagram from others.
func (p view) identification() uint32 {
	if p.v6 {
		return binary.BigEndian.Uint32(p.b[p.frag+4:])
	}
	return uint32(get16(p.b[4:]))
}

// place is what of the datagram a fragment carries.
func (p view) place() (offset int, more bool, data []byte) {
	if p.v6 {
		w := get16(p.b[p.frag+2:])
		return int(w &^ 7), w&1 != 0, p.b[p.frag+8:]
	}
	w := get16(p.b[6:])
	return int(w&0x1fff) * 8, w&moreFragments != 0, p.b[p.l4:]
}

// reassemble puts a datagram together from its fragments, which must come in
// order, fit the MTU, and say the same in their headers.
func reassemble(list []view, mtu int) (whole view, err error) {
	var data []byte
	first := list[0]
	for i, p := range list {
		offset, more, part := p.place()
		switch {
		case !p.isFragment():
			return whole, fmt.Errorf("packet %d of %d is no fragment", i, len(list))
		case len(p.b) > mtu:
			return whole, fmt.Errorf("fragment %d has %d bytes, the MTU is %d", i, len(p.b), mtu)
		case offset != len(data) || more == (i == len(list)-1) || more && len(part)%8 != 0:
			return whole, fmt.Errorf("fragment %d: offset %d, more %v, %d bytes; %d bytes before", i, offset, more, len(part), len(data))
		}
		if err := p.continues(first, i); err != nil {
			return whole, err
		}
		data = append(data, part...)
	}
	return first.with(data), nil
}

// continues checks a later fragment's headers against the first one's.
func (p view) continues(first view, i int) error {
	a, b := first.clone(), p.clone()
	if !p.v6 {
		if sum(p.b[:p.l4], 0) != 0xffff {
			return fmt.Errorf("fragment %d: wrong header checksum", i)
		}
		if i > 0 {
			firstOnly(a.b[20:a.l4])
		}
		for _, h := range [][]byte{a.b, b.b} {
			put16(h[2:], 0)
			put16(h[6:], get16(h[6:])&dontFragment)
			put16(h[10:], 0)
		}
		if a.l4 != b.l4 || string(a.b[:a.l4]) != string(b.b[:b.l4]) {
			return fmt.Errorf("fragment %d has header %x, the first one %x", i, b.b[:b.l4], a.b[:a.l4])
		}
		return nil
	}
	for _, h := range []view{a, b} {
		put16(h.b[4:], 0)
		put16(h.b[h.frag+2:], 0)
	}
	if a.frag != b.frag || string(a.b[:a.frag+8]) != string(b.b[:b.frag+8]) {
		return fmt.Errorf("fragment %d has headers %x, the first one %x", i, b.b[:b.frag+8], a.b[:a.frag+8])
	}
	return nil
}

// firstOnly blanks options that later fragments do not carry (RFC 791).
func firstOnly(o []byte) {
	for len(o) > 0 && o[0] != 0 {
		n := 1
		if o[0] != 1 {
			n = int(o[1])
		}
		if o[0]&0x80 == 0 {
			for i := range n {
				o[i] = 1
			}
		}
		o = o[n:]
	}
}

// with is the first fragment's header with all the data.
func (p view) with(data []byte) view {
	if p.v6 {
		b := append([]byte(nil), p.b[:p.frag]...)
		b[p.before()] = p.b[p.frag]
		b = append(b, data...)
		put16(b[4:], uint16(len(b)-40))
		return look(b)
	}
	b := append(append([]byte(nil), p.b[:p.l4]...), data...)
	put16(b[2:], uint16(len(b)))
	put16(b[6:], get16(b[6:])&dontFragment)
	w := look(b)
	w.sealIP()
	return w
}

// before is where the header in front of the fragment header says that that
// follows.
func (p view) before() int {
	at, next := 40, 6
	for at < p.frag {
		next, at = at, at+8+8*int(p.b[at+1])
	}
	return next
}

// fragments cuts a datagram for size bytes a packet, before the transport
// header of IPv4 and behind the extension headers that every hop reads of IPv6.
func (p view) fragments(size int, id uint32) (list []view) {
	head := p.l4
	next := 0
	if p.v6 {
		head, next = p.perHop()
	}
	data := p.b[head:]
	room := size - head
	if p.v6 {
		room -= 8
	}
	room &^= 7
	for off := 0; off < len(data); off += room {
		n := min(room, len(data)-off)
		list = append(list, p.fragment(head, next, off, data[off:off+n], off+n < len(data), id))
	}
	return list
}

// perHop is where the headers that stay in front of a fragment header end, and
// where the last of them says what follows.
func (p view) perHop() (end, next int) {
	end, next = 40, 6
	for at, here, last := 40, p.b[6], 6; at < p.l4; {
		last = at
		n := 8 + 8*int(p.b[at+1])
		if here == hopByHop || here == routing {
			end, next = at+n, last
		}
		here, at = p.b[at], at+n
	}
	return end, next
}

// recut reports whether Linux cuts the datagram behind more headers than the
// standard: destination options stay in front unless they follow a routing header.
func (p view) recut() bool {
	end, last := p.perHop()
	routed := false
	for at, here := 40, p.b[6]; at < end; {
		routed = routed || here == routing
		at, here = at+8+8*int(p.b[at+1]), p.b[at]
	}
	return p.b[last] == dstOptions && !routed
}

func (p view) fragment(head, next, off int, data []byte, more bool, id uint32) view {
	b := append([]byte(nil), p.b[:head]...)
	w := uint16(off / 8)
	if !p.v6 {
		if more {
			w |= moreFragments
		}
		put16(b[6:], get16(b[6:])&dontFragment|w)
		put16(b[4:], uint16(id))
		if off > 0 {
			firstOnly(b[20:])
		}
		b = append(b, data...)
		put16(b[2:], uint16(len(b)))
		f := look(b)
		f.sealIP()
		return f
	}
	h := make([]byte, 8)
	h[0], b[next] = b[next], fragmentHeader
	if put16(h[2:], uint16(off)); more {
		put16(h[2:], uint16(off)|1)
	}
	binary.BigEndian.PutUint32(h[4:], id)
	b = append(append(b, h...), data...)
	put16(b[4:], uint16(len(b)-40))
	f := look(b)
	return f
}
