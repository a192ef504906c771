package fuzz

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Numbers of protocols, as far as the Judge tells them apart.
const (
	protoICMP   = 1
	protoIPIP   = 4
	protoTCP    = 6
	protoUDP    = 17
	protoIPv6   = 41
	protoFrag6  = 44
	protoGRE    = 47
	protoESP    = 50
	protoAH     = 51
	protoICMPv6 = 58
	protoSCTP   = 132
)

// packet is an IP packet as the Judge reads it: slowly, from the beginning, and
// with nothing of package wire.
type packet struct {
	raw      []byte // from the IP header to the packet's end
	v6       bool
	ttl      uint8
	proto    uint8
	src, dst netip.AddrPort
	frag     bool
	first    bool // of the fragments, or no fragment
	df       bool
	id       uint32
	options  bool
	body     []byte // behind the IP header and its extensions
	ports    bool
	flags    uint8 // of TCP
}

// readIP reads the packet of an Ethernet frame, padding excluded. It says what
// is wrong with a frame that no correct host sends.
func readIP(frame []byte) (*packet, error) {
	if len(frame) < 14 {
		return nil, fmt.Errorf("%d bytes are no Ethernet frame", len(frame))
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		return read4(frame[14:])
	case 0x86dd:
		return read6(frame[14:])
	}
	return nil, nil
}

func read4(b []byte) (*packet, error) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, fmt.Errorf("no IPv4 header")
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 || total < head || total > len(b) {
		return nil, fmt.Errorf("IPv4 lengths: header %d, packet %d, frame %d", head, total, len(b))
	}
	b = b[:total]
	if checksum(b[:head], 0) != 0 {
		return nil, fmt.Errorf("the IPv4 header's checksum %#04x is wrong", binary.BigEndian.Uint16(b[10:]))
	}
	word := binary.BigEndian.Uint16(b[6:])
	p := &packet{
		raw: b, ttl: b[8], proto: b[9], df: word&0x4000 != 0, options: head > 20,
		frag: word&0x3fff != 0, first: word&0x1fff == 0, id: uint32(binary.BigEndian.Uint16(b[4:])),
		body: b[head:],
	}
	p.src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), 0)
	p.dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), 0)
	p.readPorts()
	return p, nil
}

func read6(b []byte) (*packet, error) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return nil, fmt.Errorf("no IPv6 header")
	}
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) {
		return nil, fmt.Errorf("IPv6 lengths: packet %d, frame %d", total, len(b))
	}
	b = b[:total]
	p := &packet{raw: b, v6: true, ttl: b[7], proto: b[6], first: true, body: b[40:], df: true}
	p.src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), 0)
	p.dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])), 0)
	for p.proto == 0 || p.proto == 43 || p.proto == 60 || p.proto == protoFrag6 {
		n := 8
		if len(p.body) < n {
			return p, nil
		}
		if p.proto == protoFrag6 {
			word := binary.BigEndian.Uint16(p.body[2:])
			p.frag, p.first = true, word>>3 == 0
			p.id = binary.BigEndian.Uint32(p.body[4:])
		} else if n += int(p.body[1]) * 8; len(p.body) < n {
			return p, nil
		}
		p.options = true
		p.proto, p.body = p.body[0], p.body[n:]
		if !p.first {
			return p, nil
		}
	}
	p.readPorts()
	return p, nil
}

func (p *packet) readPorts() {
	if !p.first || len(p.body) < 4 || p.proto != protoTCP && p.proto != protoUDP && p.proto != protoSCTP {
		return
	}
	p.ports = true
	p.src = netip.AddrPortFrom(p.src.Addr(), binary.BigEndian.Uint16(p.body))
	p.dst = netip.AddrPortFrom(p.dst.Addr(), binary.BigEndian.Uint16(p.body[2:]))
	if p.proto == protoTCP && len(p.body) >= 20 {
		p.flags = p.body[13]
	}
}

// sound reports whether the transport header's length and checksum are right,
// as far as one packet can tell.
func (p *packet) sound() bool {
	if p.frag {
		return true
	}
	switch p.proto {
	case protoTCP:
		return len(p.body) >= 20 && int(p.body[12]>>4)*4 >= 20 && int(p.body[12]>>4)*4 <= len(p.body) &&
			checksum(p.body, p.pseudo(protoTCP)) == 0
	case protoUDP:
		if len(p.body) < 8 || int(binary.BigEndian.Uint16(p.body[4:])) != len(p.body) {
			return false
		}
		if binary.BigEndian.Uint16(p.body[6:]) == 0 {
			return !p.v6
		}
		return checksum(p.body, p.pseudo(protoUDP)) == 0
	case protoICMP:
		return len(p.body) >= 8 && checksum(p.body, 0) == 0
	case protoICMPv6:
		return len(p.body) >= 8 && checksum(p.body, p.pseudo(protoICMPv6)) == 0
	case protoSCTP:
		return len(p.body) >= 12 && sctpSound(p.body)
	}
	return true
}

// sctpSound computes CRC32c bit by bit (RFC 9260, appendix A).
func sctpSound(b []byte) bool {
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
	return binary.LittleEndian.Uint32(b[8:]) == ^crc
}

// checksum is RFC 1071's, a byte pair at a time.
func checksum(b []byte, sum uint32) uint16 {
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		sum += word
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum&0xffff + sum>>16)
}

// pseudo is the sum of the pseudo-header.
func (p *packet) pseudo(proto uint8) uint32 {
	b := append(p.src.Addr().AsSlice(), p.dst.Addr().AsSlice()...)
	b = append(b, byte(len(p.body)>>8), byte(len(p.body)), 0, proto)
	return uint32(^checksum(b, 0))
}

// icmpError reports whether p tells of an error about another packet.
func (p *packet) icmpError() bool {
	if len(p.body) == 0 {
		return false
	}
	switch t := p.body[0]; p.proto {
	case protoICMP:
		return t == 3 || t == 4 || t == 5 || t == 11 || t == 12
	case protoICMPv6:
		return t < 128
	}
	return false
}

// inner is what a tunnel's packet carries.
func (p *packet) inner() (*packet, error) {
	b := p.body
	switch p.proto {
	case protoUDP:
		if len(b) < 12 {
			return nil, fmt.Errorf("GUE of %d bytes", len(b))
		}
		b = b[8:]
		if b[0]>>6 == 0 { // version 0: a header; version 1 is the packet itself
			if n := 4 + int(b[0]&31)*4; n <= len(b) {
				b = b[n:]
			}
		}
	case protoGRE:
		n := 4
		if len(b) > 0 && b[0]&0x80 != 0 {
			n = 8
		}
		if len(b) < n {
			return nil, fmt.Errorf("GRE of %d bytes", len(b))
		}
		b = b[n:]
	}
	if len(b) > 0 && b[0]>>4 == 6 {
		return read6(b)
	}
	return read4(b)
}

// quoted reads the ends of the packet that an ICMP error is about.
func (p *packet) quoted() (*packet, bool) {
	b, head, at := p.body[8:], 20, 12
	q := &packet{ports: true, v6: p.v6}
	n := 4
	if p.v6 {
		head, at, n = 40, 8, 16
	} else if len(b) > 0 {
		head = int(b[0]&15) * 4
	}
	if len(b) < head+4 || head < 20 {
		return nil, false
	}
	if q.proto = b[9]; p.v6 {
		q.proto = b[6]
	}
	src, _ := netip.AddrFromSlice(b[at : at+n])
	dst, _ := netip.AddrFromSlice(b[at+n : at+2*n])
	q.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b[head:]))
	q.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[head+2:]))
	return q, q.proto == protoTCP || q.proto == protoUDP || q.proto == protoSCTP
}
