package localstack

import (
	"encoding/binary"
	"net/netip"

	"usvs/clock"
	"usvs/wire"
)

// Error is an ICMP error, of either family.
type Error struct {
	v4, v6  typeCode
	mtu     int
	pointer bool // ICMPv6 parameter problem: points at the next-header field
	at      int  // ICMPv6 parameter problem: points here
}

type typeCode struct{ kind, code uint8 }

// TimeExceeded says that the TTL or hop limit ran out.
func TimeExceeded() Error {
	return Error{v4: typeCode{wire.ICMPTimeExceeded, 0}, v6: typeCode{wire.ICMPv6TimeExceeded, 0}}
}

// ReassemblyTimeExceeded says that the rest of a datagram did not come in time.
func ReassemblyTimeExceeded() Error {
	return Error{v4: typeCode{wire.ICMPTimeExceeded, 1}, v6: typeCode{wire.ICMPv6TimeExceeded, 1}}
}

// Relayed is an error as somebody else reported it. The numbers mean different
// things to the two families (RFC 792, RFC 4443 section 3.1).
func Relayed(kind, code uint8) Error {
	return Error{v4: typeCode{kind, code}, v6: typeCode{kind, code}}
}

// NetUnreachable says that there is no route.
func NetUnreachable() Error { return unreachable(0, 0) }

// HostUnreachable says that the next hop or the host does not answer.
func HostUnreachable() Error { return unreachable(1, 3) }

// PortUnreachable says that nobody serves the port.
func PortUnreachable() Error { return unreachable(3, 4) }

func unreachable(v4, v6 uint8) Error {
	return Error{v4: typeCode{wire.ICMPUnreachable, v4}, v6: typeCode{wire.ICMPv6Unreachable, v6}}
}

// ProtocolUnreachable says that the transport protocol is not known; for IPv6
// a parameter problem (RFC 4443 section 3.4).
func ProtocolUnreachable() Error {
	return Error{
		v4:      typeCode{wire.ICMPUnreachable, 2},
		v6:      typeCode{wire.ICMPv6ParamProblem, 1},
		pointer: true,
	}
}

// headerIncomplete says that an IPv6 first fragment lacks some of the headers
// (RFC 8200 section 4.5, RFC 7112).
func headerIncomplete() Error {
	return Error{v6: typeCode{wire.ICMPv6ParamProblem, 3}}
}

// fragmentUneven says that an IPv6 fragment other than the last is no multiple
// of 8 bytes long (RFC 8200 section 4.5).
func fragmentUneven() Error {
	const payloadLength = 4
	return Error{v6: typeCode{wire.ICMPv6ParamProblem, 0}, at: payloadLength}
}

// FragNeeded says that the packet exceeds the MTU of the next link: IPv4
// fragmentation needed (RFC 1191), or IPv6 packet too big.
func FragNeeded(mtu int) Error {
	return Error{
		v4:  typeCode{wire.ICMPUnreachable, 4},
		v6:  typeCode{wire.ICMPv6TooBig, 0},
		mtu: mtu,
	}
}

// An ICMP error quotes as much as fits into a packet that every link carries
// (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 c).
const (
	maxError4 = 576
	maxError6 = 1280
)

// Error builds an error about the request, sent from src, into f. It quotes
// the packet as it is now. f must not be the request's frame.
func (s *Stack) Error(now clock.Instant, r Request, src netip.Addr, e Error, f *wire.Frame) Outcome {
	o := s.error(now, r, src, e, f)
	s.counts[o].Add(1)
	return o
}

func (s *Stack) error(now clock.Instant, r Request, src netip.Addr, e Error, f *wire.Frame) Outcome {
	p := r.Packet
	if p.Version == 0 || !src.IsValid() || src.Is4() != (p.Version == 4) || !eligible(r, e) {
		return Ineligible
	}
	if s.limiter != nil && e.mtu == 0 && !s.limiter.Allow(now, p.Src) {
		return Limited
	}
	h := header{src: src, dst: p.Src, proto: wire.ProtoICMP, tos: tos(p)&0x1e | 0xc0} // RFC 1812 section 4.3.2.5
	is, room := e.v4, maxError4-wire.IPv4Len-wire.ICMPLen
	if p.Version == 6 {
		h.proto, h.tos = wire.ProtoICMPv6, 0
		is, room = e.v6, maxError6-wire.IPv6Len-wire.ICMPLen
	}
	quote := p.Data[p.L3:p.End]
	quote = quote[:min(len(quote), room)]
	b := s.start(r, f, h, wire.ICMPLen+len(quote))
	if b == nil {
		return NoRoom
	}
	b[0], b[1] = is.kind, is.code
	binary.BigEndian.PutUint32(b[4:], e.word(p))
	copy(b[wire.ICMPLen:], quote)
	putICMPSum(b, h)
	return ErrorSent
}

// word is the second word of the error's header.
func (e Error) word(p *wire.Packet) uint32 {
	switch {
	case e.mtu != 0 && p.Version == 4:
		return uint32(min(e.mtu, 0xffff))
	case e.mtu != 0:
		return uint32(e.mtu)
	case e.pointer && p.Version == 6:
		return uint32(nextHeaderOffset(p))
	}
	return uint32(e.at)
}

// nextHeaderOffset finds the field that named the transport protocol, behind
// whatever extension headers Parse walked over.
func nextHeaderOffset(p *wire.Packet) int {
	field, next, at := 6, p.V6().NextHeader(), p.L3+wire.IPv6Len
	for at < p.L4 {
		h := p.Data[at:]
		field = at - p.L3
		size := 8
		if next != wire.ProtoFragment {
			size += int(h[1]) * 8
		}
		next = h[0]
		at += size
	}
	return field
}

// eligible reports whether an error may be sent about the packet (RFC 1122
// section 3.2.2, RFC 4443 section 2.4 e).
func eligible(r Request, e Error) bool {
	p := r.Packet
	tooBig := p.Version == 6 && e.v6.kind == wire.ICMPv6TooBig
	group := p.Dst.IsMulticast() || toGroup(r) || p.Version == 4 && p.Dst == broadcast4
	switch {
	case !oneHost(p.Src), group && !tooBig:
		return false
	case p.FragOffset != 0:
		// A later IPv6 fragment is fair game, as on Linux, but of a packet
		// too big the first one tells all.
		return p.Version == 6 && !tooBig
	}
	return !aboutICMPError(p)
}

var broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// aboutICMPError reports whether the packet is an ICMP error or a redirect. An
// ICMP message too short to tell counts as one.
func aboutICMPError(p *wire.Packet) bool {
	if p.Version == 4 && p.Proto == wire.ProtoICMP {
		return p.L4 >= p.End || !query4(p.Data[p.L4])
	}
	if p.Version != 6 {
		return false
	}
	const redirect = 137
	proto, at := behindAH(p)
	return proto == wire.ProtoICMPv6 && (at >= p.End || p.Data[at] < 128 || p.Data[at] == redirect)
}

// behindAH returns an IPv6 packet's protocol and where it begins, behind
// authentication headers: to Linux they are extension headers here.
func behindAH(p *wire.Packet) (proto uint8, at int) {
	proto, at = p.Proto, p.L4
	for proto == wire.ProtoAH && at+2 <= p.End {
		proto, at = p.Data[at], at+(int(p.Data[at+1])+2)*4
	}
	return proto, at
}

// query4 reports whether an ICMP type is known not to be an error.
func query4(kind uint8) bool {
	return kind == wire.ICMPEchoReply || kind >= 8 && kind <= 10 || kind >= 13 && kind <= 18
}
