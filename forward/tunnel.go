package forward

import (
	"net/netip"

	"usvs/ipvs"
	"usvs/wire"
)

// Lengths of what stands between the outer IP header and the inner packet.
const (
	gueLen     = 4
	gueRemCsum = 8 // private flags, and where the checksum starts and goes
	greLen     = 4
	greCsumLen = 4
)

// Bits of the GUE (draft-ietf-intarea-gue, with the private fields of
// draft-herbert-remotecsumoffload as Linux lays them out) and GRE (RFC 2784) headers.
const (
	guePrivate     = 0x0001
	guePrivRemCsum = 0x80000000
	greChecksum    = 0x8000
)

// The source ports that a GUE tunnel uses: Linux's local ports.
const (
	firstFlowPort = 32768
	flowPorts     = 60999 - 32768
)

// Tunnel is the way to one real server of method Tunnel.
type Tunnel struct {
	Params   ipvs.TunnelParams
	Src, Dst netip.Addr // of the outer header; one family
	Seed     uint32     // of the hash that spreads a GUE tunnel's flows over source ports
}

// Overhead is by how much Encapsulate would lengthen f (ipvs.md 5.5). It
// depends on f only with remote checksum offload.
func Overhead(t *Tunnel, f *wire.Frame) int {
	return t.outerLen() + t.shimLen(f)
}

func (t *Tunnel) outerLen() int {
	if t.Dst.Is6() {
		return wire.IPv6Len
	}
	return wire.IPv4Len
}

// shimLen is the length of what stands between the outer IP header and the
// inner packet.
func (t *Tunnel) shimLen(f *wire.Frame) int {
	switch t.Params.Type {
	case ipvs.GUE:
		if t.remCsum(f) {
			return wire.UDPLen + gueLen + gueRemCsum
		}
		return wire.UDPLen + gueLen
	case ipvs.GRE:
		if t.Params.Flags&ipvs.TunnelCsum != 0 {
			return greLen + greCsumLen
		}
		return greLen
	}
	return 0
}

// remCsum reports whether the tunnel's far end is asked to fill in f's checksum.
func (t *Tunnel) remCsum(f *wire.Frame) bool {
	return t.Params.Type == ipvs.GUE && t.Params.Flags&ipvs.TunnelRemCsum != 0 && f.Partial
}

// envelope is what Encapsulate has to know of the inner packet, which is no
// longer where p says once there is something in front of it.
type envelope struct {
	t        *Tunnel
	l3       int // offset of the outer IP header
	shim     int // offset of what follows it
	inner    int // offset of the inner packet
	end      int
	version  uint8 // of the inner packet
	tos, ttl uint8
	df       bool
	id       uint32
	srcPort  uint16
}

// Encapsulate puts t's outer header in front of the packet, behind its
// Ethernet header if it has one, and parses p anew, which is then the outer
// packet. Padding is cut off. pmtuDisc copies DF to an outer IPv4 header; id is
// the outer packet's identification, used if it may be fragmented.
//
// It returns false, and leaves the packet alone, if the frame is a super-frame that
// is not Wrappable (cut it with Segment), if the packet would be longer than IP
// allows, or if there is too little headroom. One that is becomes Wrapped.
func Encapsulate(f *wire.Frame, p *wire.Packet, t *Tunnel, pmtuDisc bool, id uint32) bool {
	n := Overhead(t, f)
	if p.Version == 0 || n > f.Room() || n+p.IPLen() > 65535 {
		return false
	}
	if f.GSO != wire.GSONone {
		if !Wrappable(f, p, t) {
			return false
		}
		f.Wrapped = true
	}
	if !partialInside(f, p) {
		FinishChecksum(f, p)
		n = Overhead(t, f)
	}
	shim := p.L3 + t.outerLen()
	e := envelope{t: t, l3: p.L3, shim: shim, inner: p.L3 + n, version: p.Version, ttl: p.TTL, id: id}
	e.tos, e.df = innerTOS(p), p.Version == 4 && pmtuDisc && p.V4().DF()
	if t.Params.Type == ipvs.GUE {
		e.srcPort = flowPort(p, t.Seed)
	}
	f.Truncate(p.End)
	lengthenFirstPiece(f, p.IPLen(), e.inner-shim)
	carryOver(f, p.Version == 6, t.Dst.Is6(), p.Version == 4 && p.V4().DF())
	f.Prepend(n)
	b := f.Bytes()
	e.end = len(b)
	copy(b, b[n:n+p.L3])
	proto := e.writeShim(f, b)
	e.writeOuter(f, b, proto)
	return p.Parse(b, f.Medium) == wire.None
}

// Wrappable reports whether a super-frame may stay whole within t, for a device
// that takes such frames: TCP, every byte where a device would look for it,
// and nothing in front of it that depends on a segment's bytes. How UDP was cut
// its receiver must be able to tell, and not all tunnels' ends can.
func Wrappable(f *wire.Frame, p *wire.Packet, t *Tunnel) bool {
	return (f.GSO == wire.GSOTCP4 || f.GSO == wire.GSOTCP6) && segmentHeader(f, p) != 0 &&
		f.Partial && int(f.CsumStart) == p.L4 && f.CsumOffset == tcpChecksum && f.Medium == wire.Ethernet && p.L3 == wire.EthernetLen &&
		t.Params.Flags&(ipvs.TunnelCsum|ipvs.TunnelRemCsum) == 0
}

// partialInside reports whether f's checksum can still be filled in once it is
// an inner packet's: by a device, by the far end, and on paper by wireSum.
func partialInside(f *wire.Frame, p *wire.Packet) bool {
	start := int(f.CsumStart)
	return p.Proto != wire.ProtoSCTP && start >= p.L3 && (start-p.L3)&1 == 0 &&
		start+int(f.CsumOffset)+2 <= p.End
}

// lengthenFirstPiece accounts for the headers, the inner packet's and those of
// the tunnel, that become data of a reassembled datagram's first fragment.
func lengthenFirstPiece(f *wire.Frame, innerLen, shimLen int) {
	if len(f.Pieces) == 0 {
		return
	}
	header := innerLen
	for _, n := range f.Pieces {
		header -= int(n)
	}
	f.Pieces[0] += uint16(header + shimLen)
}

// carryOver makes of what is known about a reassembled datagram, df if its
// fragments had DF, what Linux does in a tunnel. Pieces cut of IPv4 have DF again,
// pmtu_disc or not. In a tunnel of the other family it forgets the size of the
// largest fragment; but it keeps that for IPv6 where it has flags for IPv4, so
// that one is taken for the other: some sizes make pieces carry DF, and DF is a
// very small size. IPv4's pieces lack headroom and are cut anew.
func carryOver(f *wire.Frame, from6, to6, df bool) {
	const pmtuFlag = 1 << 6
	switch {
	case f.FragSize == 0 || from6 && to6:
	case !from6 && !to6:
		f.PiecesDF = df
	case from6:
		f.PiecesDF = f.FragSize&pmtuFlag != 0
		f.FragSize = 0
	case df:
		f.FragSize, f.Pieces = pmtuFlag, f.Pieces[:0]
	default:
		f.FragSize, f.Pieces = 0, f.Pieces[:0]
	}
}

func innerTOS(p *wire.Packet) uint8 {
	if p.Version == 6 {
		return p.V6().TrafficClass()
	}
	return p.V4().TOS()
}

// writeShim writes what stands in front of the inner packet and returns the
// outer header's protocol.
func (e *envelope) writeShim(f *wire.Frame, b []byte) uint8 {
	switch e.t.Params.Type {
	case ipvs.GUE:
		e.writeGUE(f, b[e.shim+wire.UDPLen:])
		e.writeUDP(f, b)
		return wire.ProtoUDP
	case ipvs.GRE:
		e.writeGRE(f, b)
		return wire.ProtoGRE
	}
	return ipProto(e.version)
}

// ipProto is the protocol number of an IP packet inside another.
func ipProto(version uint8) uint8 {
	if version == 6 {
		return wire.ProtoIPv6
	}
	return wire.ProtoIPIP
}

// writeGUE writes the GUE header. With remote checksum offload it says where
// in the inner packet the checksum starts and where it goes; what is there now,
// the pseudo-header's sum, is what the far end expects to find.
func (e *envelope) writeGUE(f *wire.Frame, b []byte) {
	b[0], b[1] = 0, ipProto(e.version)
	put16(b[2:], 0)
	if !e.t.remCsum(f) {
		return
	}
	b[0] = gueRemCsum / 4 // header length in words, without the first
	put16(b[2:], guePrivate)
	put32(b[4:], guePrivRemCsum)
	start := f.CsumStart - uint16(e.inner)
	put16(b[8:], start)
	put16(b[10:], start+f.CsumOffset)
	f.Partial = false
}

func (e *envelope) writeUDP(f *wire.Frame, b []byte) {
	u := wire.UDP(b[e.shim:])
	put16(u, e.srcPort)
	put16(u[2:], e.t.Params.Port)
	u.SetLength(e.end - e.shim)
	u.SetChecksum(0)
	if e.t.Params.Flags&(ipvs.TunnelCsum|ipvs.TunnelRemCsum) == 0 {
		return
	}
	pseudo := wire.PseudoSum(e.t.Src, e.t.Dst, wire.ProtoUDP, e.end-e.shim)
	sum := ^wire.Fold(pseudo + uint64(wire.Fold(wireSum(f, e.shim, e.end))))
	if sum == 0 {
		sum = zeroIsNoneUDP
	}
	u.SetChecksum(sum)
}

func (e *envelope) writeGRE(f *wire.Frame, b []byte) {
	h := b[e.shim:]
	put16(h, 0)
	put16(h[2:], etherType(e.version))
	if e.t.Params.Flags&ipvs.TunnelCsum == 0 {
		return
	}
	put16(h, greChecksum)
	put32(h[4:], 0)
	put16(h[4:], ^wire.Fold(wireSum(f, e.shim, e.end)))
}

func etherType(version uint8) uint16 {
	if version == 6 {
		return wire.TypeIPv6
	}
	return wire.TypeIPv4
}

// writeOuter writes the outer IP header and what the Ethernet header says of it.
func (e *envelope) writeOuter(f *wire.Frame, b []byte, proto uint8) {
	version := uint8(4)
	if e.t.Dst.Is6() {
		version = 6
		e.writeIPv6(f, b, proto)
	} else {
		e.writeIPv4(f, b, proto)
	}
	if f.Medium == wire.Ethernet {
		put16(b[e.l3-2:], etherType(version))
	}
}

func (e *envelope) writeIPv4(f *wire.Frame, b []byte, proto uint8) {
	h := wire.IPv4(b[e.l3:])
	h[0] = 0x45
	h.SetTOS(outerTOS(e.tos))
	h.SetTotalLen(e.end - e.l3)
	h.SetID(uint16(e.id))
	h.SetFragWord(0)
	if e.df {
		h.SetFragWord(0x4000)
		if f.FragSize == 0 {
			h.SetID(0) // it will not be fragmented
		}
	}
	h.SetTTL(e.ttl)
	h.SetProto(proto)
	h.SetSrc(e.t.Src)
	h.SetDst(e.t.Dst)
	h.UpdateChecksum()
}

func (e *envelope) writeIPv6(f *wire.Frame, b []byte, proto uint8) {
	h := wire.IPv6(b[e.l3:])
	h.SetFlow(outerTOS(e.tos), 0)
	h.SetPayloadLen(e.end - e.shim)
	h.SetNextHeader(proto)
	h.SetHopLimit(e.ttl)
	h.SetSrc(e.t.Src)
	h.SetDst(e.t.Dst)
	f.FragID = e.id
}

// outerTOS is the inner TOS, except that congestion experienced within the
// tunnel must be told from that before it (RFC 3168 9.1.1, full functionality).
func outerTOS(inner uint8) uint8 {
	const ecnMask, ecnCE, ecnECT0 = 3, 3, 2
	if inner&ecnMask == ecnCE {
		return inner&^ecnMask | ecnECT0
	}
	return inner
}

// flowPort is the UDP source port of the packet's flow: the same for all its
// packets, so that routers on the way keep them in order.
func flowPort(p *wire.Packet, seed uint32) uint16 {
	h := uint64(seed) ^ uint64(p.Proto)<<32
	h = mixAddr(h, p.Src)
	h = mixAddr(h, p.Dst)
	if p.Ports {
		h = mix(h ^ uint64(p.SrcPort)<<16 ^ uint64(p.DstPort))
	}
	return firstFlowPort + uint16(h>>32*flowPorts>>32)
}
