package fuzz

import (
	"encoding/binary"
	"net/netip"

	"usvs/wire"
)

// This file makes frames, right and wrong ones, with code of its own.

// segment is what a frame carries.
type segment struct {
	proto    uint8
	src, dst netip.AddrPort
	flags    uint8  // of TCP
	chunk    byte   // of SCTP
	data     []byte // behind the transport header; for ICMP, behind its 4 bytes
	kind     [2]byte
	ttl      uint8
	df       bool
	noSum    bool // UDP without a checksum
	options  bool // IPv4: record route; IPv6: destination options
	id       uint16
}

// transport is the transport packet with its checksum.
func (s *segment) transport() []byte {
	var b []byte
	at := 0
	switch s.proto {
	case protoTCP:
		b, at = make([]byte, 20), 16
		b[12], b[13], b[14] = 0x50, s.flags, 0xff
	case protoUDP:
		b, at = make([]byte, 8), 6
		binary.BigEndian.PutUint16(b[4:], uint16(8+len(s.data)))
	case protoSCTP:
		b = make([]byte, 16)
		b[12], b[15] = s.chunk, byte(4+len(s.data))
	case protoICMP, protoICMPv6:
		b, at = []byte{s.kind[0], s.kind[1], 0, 0}, 2
	default:
		return s.data
	}
	if s.proto != protoICMP && s.proto != protoICMPv6 {
		binary.BigEndian.PutUint16(b, s.src.Port())
		binary.BigEndian.PutUint16(b[2:], s.dst.Port())
	}
	b = append(b, s.data...)
	s.sum(b, at)
	return b
}

func (s *segment) sum(b []byte, at int) {
	if s.proto == protoSCTP {
		sealSCTP(b)
		return
	}
	p := packet{src: s.src, dst: s.dst, body: b}
	pseudo := p.pseudo(s.proto)
	if s.proto == protoICMP {
		pseudo = 0
	}
	v := checksum(b, pseudo)
	switch {
	case s.proto == protoUDP && s.noSum && s.src.Addr().Is4():
		v = 0
	case s.proto == protoUDP && v == 0:
		v = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], v)
}

// sealSCTP finds the CRC32c by its definition.
func sealSCTP(b []byte) {
	crc := ^uint32(0)
	for i, x := range b {
		if i >= 8 && i < 12 {
			x = 0
		}
		crc ^= uint32(x)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78*(crc&1)
		}
	}
	binary.LittleEndian.PutUint32(b[8:], ^crc)
}

// packet is the IP packet.
func (s *segment) packet() []byte {
	return s.wrap(s.transport(), 0, false)
}

// wrap puts the IP header before a piece of the transport packet.
func (s *segment) wrap(body []byte, offset int, more bool) []byte {
	if s.src.Addr().Is6() {
		return s.wrap6(body, offset, more)
	}
	h := make([]byte, 20)
	h[0] = 0x45
	if s.options {
		h[0] = 0x48
		h = append(h, 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(body)))
	binary.BigEndian.PutUint16(h[4:], s.id)
	word := uint16(offset / 8)
	if more {
		word |= 0x2000
	}
	if s.df {
		word |= 0x4000
	}
	binary.BigEndian.PutUint16(h[6:], word)
	h[8], h[9] = s.ttl, s.proto
	copy(h[12:], s.src.Addr().AsSlice())
	copy(h[16:], s.dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(h[10:], checksum(h, 0))
	return append(h, body...)
}

func (s *segment) wrap6(body []byte, offset int, more bool) []byte {
	next := s.proto
	if s.options && offset == 0 && !more { // destination options: padding
		body, next = append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, body...), 60
	}
	if offset > 0 || more {
		f := []byte{next, 0, 0, 0, 0, 0, byte(s.id >> 8), byte(s.id)}
		word := uint16(offset)
		if more {
			word |= 1
		}
		binary.BigEndian.PutUint16(f[2:], word)
		body, next = append(f, body...), protoFrag6
	}
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, next, s.ttl
	binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
	copy(h[8:], s.src.Addr().AsSlice())
	copy(h[24:], s.dst.Addr().AsSlice())
	return append(h, body...)
}

// pieces cuts the packet into fragments of at most size bytes of transport.
func (s *segment) pieces(size int) [][]byte {
	body := s.transport()
	var list [][]byte
	for at := 0; at < len(body); at += size {
		end := min(at+size, len(body))
		list = append(list, s.wrap(body[at:end:end], at, end < len(body)))
	}
	return list
}

// ether puts the link header before an IP packet.
func ether(dst, src wire.MAC, ip []byte) []byte {
	typ := []byte{0x08, 0x00}
	if ip[0]>>4 == 6 {
		typ = []byte{0x86, 0xdd}
	}
	return append(append(append(append([]byte{}, dst[:]...), src[:]...), typ...), ip...)
}

// zeroSum finds a source port with which the checksum of a UDP packet, once its
// destination was rewritten, comes out as 0, which must be written as 0xffff
// (RFC 768).
func (s *segment) zeroSum(real netip.AddrPort) {
	after := *s
	after.dst, after.src = real, netip.AddrPortFrom(s.src.Addr(), 0)
	b := after.transport()
	clear(b[6:8])
	p := packet{src: after.src, dst: after.dst, body: b}
	if port := checksum(b, p.pseudo(protoUDP)); port >= 1024 {
		s.src = netip.AddrPortFrom(s.src.Addr(), port)
	}
}
