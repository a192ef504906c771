package localstack

import (
	"net/netip"
	"sync/atomic"

	"usvs/clock"
	"usvs/wire"
)

// Outcome says what became of a packet.
type Outcome uint8

// The outcomes. The first three mean that the frame holds an answer to send.
const (
	EchoReplied  Outcome = iota
	ResetSent            // a TCP reset
	ErrorSent            // an ICMP error
	Silent               // a packet that is not answered
	Ineligible           // no ICMP error may be sent about it
	Fragment             // only whole packets are answered
	BadChecksum          // of the transport header
	BadTransport         // truncated or contradictory transport header
	Limited              // by the rate limit
	NoRoom               // the frame is too small for the answer
	numOutcomes
)

var outcomeNames = [numOutcomes]string{
	"echo replies", "resets", "ICMP errors", "not answered", "no error may be sent", "fragments",
	"wrong transport checksum", "bad transport header", "rate-limited", "no room for the answer",
}

// String names the outcome in a few words.
func (o Outcome) String() string { return outcomeNames[o] }

// Answered reports whether there is a frame to send.
func (o Outcome) Answered() bool { return o <= ErrorSent }

// Request is a received packet that may be answered. An answer goes out on
// the port it came from, to the station that sent it.
type Request struct {
	Frame  *wire.Frame  // says medium, port, and what checksums are worth
	Packet *wire.Packet // the frame, parsed
	MAC    wire.MAC     // ours on that port; unused for bare IP
}

// Options of a Stack.
type Options struct {
	Seed    uint64   // of the IPv4 identification
	Limiter *Limiter // of ICMP errors; nil: no limit
}

// Stack answers packets.
type Stack struct {
	limiter *Limiter
	id      atomic.Uint32
	counts  [numOutcomes]atomic.Uint64
}

// New returns a Stack.
func New(o Options) *Stack {
	s := &Stack{limiter: o.Limiter}
	s.id.Store(uint32(o.Seed))
	return s
}

// Count returns how many packets had that outcome.
func (s *Stack) Count(o Outcome) uint64 { return s.counts[o].Load() }

// Answer builds into f what a host with no service answers to a packet sent
// to an address of its own. f must not be the request's frame.
func (s *Stack) Answer(now clock.Instant, r Request, f *wire.Frame) Outcome {
	o := s.answer(now, r, f)
	s.counts[o].Add(1)
	return o
}

func (s *Stack) answer(now clock.Instant, r Request, f *wire.Frame) Outcome {
	p := r.Packet
	switch {
	case p.Version == 0, p.Dst.IsMulticast(), p.Src == p.Dst, !oneHost(p.Src):
		return Silent
	case p.Headless():
		return s.error(now, r, p.Dst, headerIncomplete(), f)
	case p.Uneven():
		return s.error(now, r, p.Dst, fragmentUneven(), f)
	case p.MoreFrags || p.FragOffset != 0:
		return Fragment
	}
	v4 := p.Version == 4
	switch {
	case v4 && p.Proto == wire.ProtoICMP, !v4 && p.Proto == wire.ProtoICMPv6:
		return s.echo(r, f)
	case p.Proto == wire.ProtoTCP:
		return s.reset(r, f)
	case p.Proto == wire.ProtoUDP:
		if o := checkUDP(r); o != ErrorSent {
			return o
		}
		return s.error(now, r, p.Dst, PortUnreachable(), f)
	case v4 && p.Proto == protoIGMP, !v4 && p.Proto == wire.ProtoNoNext:
		return Silent
	}
	return s.error(now, r, p.Dst, ProtocolUnreachable(), f)
}

const protoIGMP = 2

// oneHost reports whether a can be the address of a single remote host (RFC
// 1122 section 3.2.1.3).
func oneHost(a netip.Addr) bool {
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return false
	}
	return !a.Is4() || a.As4()[0] != 0 && a.As4()[0] < 240
}

// toGroup reports whether the packet's frame was not for us alone.
func toGroup(r Request) bool {
	return r.Frame.Medium == wire.Ethernet && wire.EthernetHeader(r.Packet.Data).Dst().IsMulticast()
}

// trusted reports whether the transport checksum need not be verified: it is
// not complete yet, or the device verified it when it merged segments.
func trusted(r Request) bool { return r.Frame.Partial || r.Frame.GSO != wire.GSONone }

func sumOK(p *wire.Packet, b []byte) bool {
	return wire.Fold(wire.Sum(b, wire.PseudoSum(p.Src, p.Dst, p.Proto, len(b)))) == 0xffff
}

// header is what an answer's IP header says.
type header struct {
	src, dst netip.Addr
	proto    uint8
	tos      uint8
	dontFrag bool
}

// start writes the link and IP headers of an answer with n bytes of payload
// and returns the payload, zeroed, or nil if the frame has no room for it.
func (s *Stack) start(r Request, f *wire.Frame, h header, n int) []byte {
	l2 := 0
	if r.Frame.Medium == wire.Ethernet {
		l2 = r.Packet.L3 // VLAN tags are kept
	}
	l3 := wire.IPv4Len
	if !h.src.Is4() {
		l3 = wire.IPv6Len
	}
	f.Reset()
	if f.Cap() < l2+l3+n {
		return nil
	}
	f.SetLen(l2 + l3 + n)
	f.Medium, f.Port = r.Frame.Medium, r.Frame.Port
	b := f.Bytes()
	clear(b[l2:])
	if l2 > 0 {
		copy(b, r.Packet.Data[:l2])
		wire.EthernetHeader(b).SetDst(wire.EthernetHeader(r.Packet.Data).Src())
		wire.EthernetHeader(b).SetSrc(r.MAC)
	}
	if h.src.Is4() {
		s.putIPv4(b[l2:], h)
	} else {
		putIPv6(b[l2:], h)
	}
	return b[l2+l3:]
}

const hopLimit = 64

func (s *Stack) putIPv4(b []byte, h header) {
	ip := wire.IPv4(b)
	ip[0] = 0x45
	ip.SetTOS(h.tos)
	ip.SetTotalLen(len(b))
	if h.dontFrag {
		ip.SetFragWord(0x4000) // and ID 0: RFC 6864 section 4.1
	} else {
		ip.SetID(s.nextID())
	}
	ip.SetTTL(hopLimit)
	ip.SetProto(h.proto)
	ip.SetSrc(h.src)
	ip.SetDst(h.dst)
	ip.UpdateChecksum()
}

// nextID runs through all identifications in an order that does not tell a
// passer-by how many answers were given.
func (s *Stack) nextID() uint16 {
	x := uint16(s.id.Add(1))
	x *= 0x9e3b
	x ^= x >> 7
	return x * 0x6b25
}

func putIPv6(b []byte, h header) {
	ip := wire.IPv6(b)
	ip.SetFlow(h.tos, 0)
	ip.SetPayloadLen(len(b) - wire.IPv6Len)
	ip.SetNextHeader(h.proto)
	ip.SetHopLimit(hopLimit)
	ip.SetSrc(h.src)
	ip.SetDst(h.dst)
}

// tos is the request's type of service or traffic class.
func tos(p *wire.Packet) uint8 {
	if p.Version == 4 {
		return p.V4().TOS()
	}
	return p.V6().TrafficClass()
}
