package localstack

import (
	"encoding/binary"

	"usvs/wire"
)

// echo answers an ICMP or ICMPv6 echo request (RFC 792, RFC 4443 section 4.2)
// and nothing else of those protocols.
func (s *Stack) echo(r Request, f *wire.Frame) Outcome {
	p := r.Packet
	m := p.Transport()
	request, reply := byte(wire.ICMPEcho), byte(wire.ICMPEchoReply)
	if p.Version == 6 {
		request, reply = wire.ICMPv6Echo, wire.ICMPv6EchoReply
	}
	switch {
	case len(m) < wire.ICMPLen:
		return BadTransport
	case m[0] != request:
		return Silent
	case !trusted(r) && !icmpSumOK(p, m):
		return BadChecksum
	}
	h := header{src: p.Dst, dst: p.Src, proto: p.Proto, tos: tos(p)}
	b := s.start(r, f, h, len(m))
	if b == nil {
		return NoRoom
	}
	copy(b, m)
	b[0] = reply
	putICMPSum(b, h)
	return EchoReplied
}

func icmpSumOK(p *wire.Packet, m []byte) bool {
	if p.Version == 4 {
		return wire.Checksum(m) == 0
	}
	return sumOK(p, m)
}

// putICMPSum stores the checksum, which only ICMPv6 extends over a pseudo-header.
func putICMPSum(m []byte, h header) {
	sum := uint64(0)
	if h.proto == wire.ProtoICMPv6 {
		sum = wire.PseudoSum(h.src, h.dst, h.proto, len(m))
	}
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:], ^wire.Fold(wire.Sum(m, sum)))
}

// reset refuses a TCP segment (RFC 9293 section 3.10.7.1, state CLOSED).
func (s *Stack) reset(r Request, f *wire.Frame) Outcome {
	p := r.Packet
	t := wire.TCP(p.Transport())
	switch {
	case len(t) < wire.TCPLen || t.HeaderLen() < wire.TCPLen || t.HeaderLen() > len(t):
		return BadTransport
	case !trusted(r) && !sumOK(p, t):
		return BadChecksum
	case t.Flags()&wire.FlagRST != 0, toGroup(r):
		return Silent
	}
	const ecn = 3
	h := header{src: p.Dst, dst: p.Src, proto: p.Proto, tos: tos(p) &^ ecn, dontFrag: true}
	b := s.start(r, f, h, wire.TCPLen)
	if b == nil {
		return NoRoom
	}
	fillReset(b, t)
	wire.TCP(b).SetChecksum(^wire.Fold(wire.Sum(b, wire.PseudoSum(h.src, h.dst, h.proto, len(b)))))
	return ResetSent
}

// fillReset makes b the reset that answers t: with t's acknowledgement as its
// sequence number, or else acknowledging all that t occupies.
func fillReset(b []byte, t wire.TCP) {
	binary.BigEndian.PutUint16(b, t.DstPort())
	binary.BigEndian.PutUint16(b[2:], t.SrcPort())
	b[12], b[13] = wire.TCPLen/4<<4, wire.FlagRST
	if t.Flags()&wire.FlagACK != 0 {
		binary.BigEndian.PutUint32(b[4:], t.Ack())
		return
	}
	ack := t.Seq() + uint32(len(t)-t.HeaderLen())
	if t.Flags()&wire.FlagSYN != 0 {
		ack++
	}
	if t.Flags()&wire.FlagFIN != 0 {
		ack++
	}
	b[13] |= wire.FlagACK
	binary.BigEndian.PutUint32(b[8:], ack)
}

// checkUDP returns ErrorSent for a datagram that deserves an error.
func checkUDP(r Request) Outcome {
	p := r.Packet
	u := wire.UDP(p.Transport())
	if len(u) < wire.UDPLen || u.Length() < wire.UDPLen || u.Length() > len(u) {
		return BadTransport
	}
	u = u[:u.Length()]
	if u.Checksum() == 0 {
		if p.Version == 6 {
			return BadChecksum // RFC 8200 section 8.1
		}
		return ErrorSent
	}
	if !trusted(r) && !sumOK(p, u) {
		return BadChecksum
	}
	return ErrorSent
}
