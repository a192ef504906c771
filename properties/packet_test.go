package properties

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers and flags, written down again so that the tests do not take
// the word of what they test.
const (
	icmp4, ipip, tcp, udp, ip6, gre, icmp6, sctp = 1, 4, 6, 17, 41, 47, 58, 132

	hopByHop, routing, fragmentHeader, dstOptions = 0, 43, 44, 60

	fin, syn, rst, psh, ack, urg, cwr = 1, 2, 4, 8, 16, 32, 128

	dontFragment, moreFragments = 0x4000, 0x2000
)

func get16(b []byte) uint16    { return binary.BigEndian.Uint16(b) }
func put16(b []byte, v uint16) { binary.BigEndian.PutUint16(b, v) }

// header is what of an IP header a test chooses.
type header struct {
	src, dst netip.Addr
	proto    uint8
	tos, ttl uint8
	id       uint16 // IPv4
	frag     uint16 // IPv4: flags and offset
	flow     uint32 // IPv6 flow label
	options  []byte // IPv4 options, or IPv6 extension headers, the first of which is of type first
	first    uint8
}

// packet is an IP packet with that header.
func (h header) packet(body []byte) []byte {
	if h.src.Is6() {
		return h.packet6(body)
	}
	b := make([]byte, 20, 20+len(h.options)+len(body))
	b = append(append(b, h.options...), body...)
	b[0], b[1] = 0x40|byte(20+len(h.options))/4, h.tos
	put16(b[2:], uint16(len(b)))
	put16(b[4:], h.id)
	put16(b[6:], h.frag)
	b[8], b[9] = h.ttl, h.proto
	src, dst := h.src.As4(), h.dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	put16(b[10:], ^sum(b[:20+len(h.options)], 0))
	return b
}

func (h header) packet6(body []byte) []byte {
	b := make([]byte, 40, 40+len(h.options)+len(body))
	b = append(append(b, h.options...), body...)
	binary.BigEndian.PutUint32(b, 6<<28|uint32(h.tos)<<20|h.flow)
	put16(b[4:], uint16(len(b)-40))
	if b[6] = h.proto; len(h.options) > 0 {
		b[6] = h.first
	}
	b[7] = h.ttl
	src, dst := h.src.As16(), h.dst.As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	return b
}

// view is an IP packet, taken apart.
type view struct {
	b     []byte // without link header and padding
	v6    bool
	proto uint8 // behind all extension headers
	l4    int   // where that begins
	// Of IPv6:
	last int // where the last extension header says what follows
	frag int // the fragment header; 0: none
}

// look takes b apart. It believes what b says of itself: others judge that.
func look(b []byte) (p view) {
	if p.v6 = b[0]>>4 == 6; !p.v6 {
		p.b, p.proto, p.l4 = b[:get16(b[2:])], b[9], int(b[0]&15)*4
		return p
	}
	p.b, p.proto, p.l4, p.last = b[:40+int(get16(b[4:]))], b[6], 40, 6
	for {
		switch p.proto {
		case hopByHop, routing, dstOptions:
			p.proto, p.last, p.l4 = b[p.l4], p.l4, p.l4+8+8*int(b[p.l4+1])
		case fragmentHeader:
			p.frag = p.l4
			p.proto, p.last, p.l4 = b[p.l4], p.l4, p.l4+8
			if get16(b[p.frag+2:])&^7 != 0 {
				return p // a later fragment: what follows is data
			}
		default:
			return p
		}
	}
}

func (p view) body() []byte { return p.b[p.l4:] }

func (p view) clone() view {
	p.b = append([]byte(nil), p.b...)
	return p
}

// addresses are where source and destination stand.
func (p view) addresses() (src, dst []byte) {
	if p.v6 {
		return p.b[8:24], p.b[24:40]
	}
	return p.b[12:16], p.b[16:20]
}

func (p view) ttl() *byte {
	if p.v6 {
		return &p.b[7]
	}
	return &p.b[8]
}

func (p view) tos() uint8 {
	if p.v6 {
		return p.b[0]<<4 | p.b[1]>>4
	}
	return p.b[1]
}

// sealIP makes an IPv4 header's checksum right.
func (p view) sealIP() {
	if !p.v6 {
		put16(p.b[10:], 0)
		put16(p.b[10:], ^sum(p.b[:p.l4], 0))
	}
}

// field is where in the body the checksum stands; -1: there is none we know.
func (p view) field() int {
	switch p.proto {
	case tcp:
		return 16
	case udp:
		return 6
	case icmp4, icmp6:
		return 2
	}
	return -1
}

// pseudo is the sum of the pseudo-header, of which ICMP has none.
func (p view) pseudo() uint16 {
	if p.proto == icmp4 {
		return 0
	}
	src, dst := p.addresses()
	return sum(dst, sum(src, add(uint16(len(p.b)-p.l4), uint16(p.proto))))
}

// residue is the sum over all that the transport checksum covers, itself
// included: 0xffff if it is right, and otherwise how wrong it is.
func (p view) residue() uint16 { return sum(p.body(), p.pseudo()) }

// seal makes the transport checksum right.
func (p view) seal() {
	b := p.body()
	if p.proto == sctp {
		binary.LittleEndian.PutUint32(b[8:], 0)
		binary.LittleEndian.PutUint32(b[8:], crc32c(b))
		return
	}
	at := p.field()
	put16(b[at:], 0)
	v := ^p.residue()
	if p.proto == udp && v == 0 {
		v = 0xffff
	}
	put16(b[at:], v)
}

// add is the one's complement sum of two words.
func add(a, b uint16) uint16 {
	s := uint32(a) + uint32(b)
	return uint16(s&0xffff + s>>16)
}

// sum adds b to s word by word, and the carries at the end (RFC 1071); an odd
// byte counts as if a zero followed.
func sum(b []byte, s uint16) uint16 {
	total := uint64(s)
	for i := 0; i+1 < len(b); i += 2 {
		total += uint64(b[i])<<8 | uint64(b[i+1])
	}
	if len(b)%2 == 1 {
		total += uint64(b[len(b)-1]) << 8
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}

// crc32c is CRC-32C (RFC 9260 appendix A), a byte at a time.
func crc32c(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c = crcTable[byte(c)^x] ^ c>>8
	}
	return ^c
}

var crcTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0x82f63b78
			} else {
				c >>= 1
			}
		}
		t[i] = c
	}
	return t
}()

// segment is a TCP segment without checksum.
func segment(src, dst uint16, flags uint8, data []byte) []byte {
	b := append(make([]byte, 20), data...)
	put16(b, src)
	put16(b[2:], dst)
	b[12], b[13] = 5<<4, flags
	return b
}

// chunks is an SCTP packet's body without checksum.
func chunks(src, dst uint16, list []byte) []byte {
	b := append(make([]byte, 12), list...)
	put16(b, src)
	put16(b[2:], dst)
	return b
}

// whole is a packet with a right transport checksum.
func whole(src, dst netip.Addr, proto uint8, body []byte) []byte {
	p := look(header{src: src, dst: dst, proto: proto, ttl: 64}.packet(body))
	p.seal()
	return p.b
}

// source is the address that the packet comes from.
func (p view) source() netip.Addr {
	src, _ := p.addresses()
	a, _ := netip.AddrFromSlice(src)
	return a
}
