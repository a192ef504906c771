package wire

import "net/netip"

// Malformed says why Parse refused a frame; None means it did not.
type Malformed uint8

const (
	None Malformed = iota
	ShortEthernet
	ShortVLAN
	ShortIPv4
	BadIPv4Version
	BadIPv4HeaderLen
	BadIPv4TotalLen
	BadIPv4Checksum
	ShortIPv6
	BadIPv6Version
	BadIPv6Length
	BadIPv6Extension
	UnknownIPVersion
)

var malformedText = [...]string{
	"ok", "short Ethernet header", "short VLAN tag", "short IPv4 header", "IPv4 version is not 4",
	"IPv4 header length below 20 or beyond the packet", "IPv4 total length beyond the frame",
	"wrong IPv4 header checksum", "short IPv6 header", "IPv6 version is not 6",
	"IPv6 payload length beyond the frame", "malformed IPv6 extension header", "neither IPv4 nor IPv6",
}

func (m Malformed) String() string { return malformedText[m] }

// Packet is what Parse found in a frame. It is reused from frame to frame;
// Data aliases the frame's buffer.
type Packet struct {
	Data      []byte // the frame as it was parsed, from its first byte
	EtherType uint16 // of the innermost tag; for medium IP the matching one
	L3        int    // offset of the IP (or ARP) header
	L4        int    // offset of the transport header, or of the fragment's data
	End       int    // end of the IP packet: what lies behind it is link padding

	Version  uint8 // 4 or 6; 0 if the frame carries neither
	Proto    uint8 // transport protocol, behind every IPv6 extension header
	Src, Dst netip.Addr
	TTL      uint8

	Fragment   bool // it is a fragment, even a first one
	MoreFrags  bool
	FragOffset int // bytes
	FragID     uint32
	FragHeader int // IPv6: offset of the fragment header

	// Ports says that SrcPort and DstPort were readable (TCP, UDP, SCTP; not
	// in later fragments). Full says that the whole fixed transport header was.
	Ports            bool
	Full             bool
	SrcPort, DstPort uint16
	TCPFlags         uint8
}

// Parse checks every length of the frame and records where its parts are.
func (p *Packet) Parse(frame []byte, m Medium) Malformed {
	*p = Packet{} // see Frame.Reset
	p.Data, p.End = frame, len(frame)
	if m == IP {
		return p.parseBareIP()
	}
	if len(frame) < EthernetLen {
		return ShortEthernet
	}
	p.EtherType, p.L3 = be16(frame[12:]), EthernetLen
	for p.EtherType == TypeVLAN || p.EtherType == TypeQinQ {
		if len(frame) < p.L3+VLANLen {
			return ShortVLAN
		}
		p.EtherType = be16(frame[p.L3+2:])
		p.L3 += VLANLen
	}
	switch p.EtherType {
	case TypeIPv4:
		return p.parseIPv4()
	case TypeIPv6:
		return p.parseIPv6()
	}
	return None
}

// ParseQuoted parses b as a bare IPv4 or IPv6 packet, for instance one quoted in
// an ICMP error or carried in a tunnel. A quote may be cut short: its total
// length is then not held against it.
func (p *Packet) ParseQuoted(b []byte, version uint8) Malformed {
	*p = Packet{}
	p.Data, p.End = b, len(b)
	if version == 4 {
		return p.parseIPv4Header(true)
	}
	return p.parseIPv6Header(true)
}

func (p *Packet) parseBareIP() Malformed {
	if len(p.Data) == 0 {
		return UnknownIPVersion
	}
	switch p.Data[0] >> 4 {
	case 4:
		p.EtherType = TypeIPv4
		return p.parseIPv4()
	case 6:
		p.EtherType = TypeIPv6
		return p.parseIPv6()
	}
	return UnknownIPVersion
}

func (p *Packet) parseIPv4() Malformed { return p.parseIPv4Header(false) }

func (p *Packet) parseIPv4Header(quoted bool) Malformed {
	h := IPv4(p.Data[p.L3:])
	if len(h) < IPv4Len {
		return ShortIPv4
	}
	if h[0]>>4 != 4 {
		return BadIPv4Version
	}
	hl := h.HeaderLen()
	if hl < IPv4Len || hl > len(h) {
		return BadIPv4HeaderLen
	}
	if total := h.TotalLen(); total >= hl && total <= len(h) {
		p.End = p.L3 + total
	} else if !quoted {
		return BadIPv4TotalLen
	}
	if !quoted && !h.HeaderChecksumOK() {
		return BadIPv4Checksum
	}
	p.Version, p.Proto, p.TTL = 4, h.Proto(), h.TTL()
	p.Src, p.Dst = h.Src(), h.Dst()
	p.L4 = p.L3 + hl
	p.MoreFrags, p.FragOffset, p.FragID = h.MF(), h.FragOffset(), uint32(h.ID())
	p.Fragment = p.MoreFrags || p.FragOffset != 0
	p.parseTransport()
	return None
}

func (p *Packet) parseIPv6() Malformed { return p.parseIPv6Header(false) }

func (p *Packet) parseIPv6Header(quoted bool) Malformed {
	h := IPv6(p.Data[p.L3:])
	if len(h) < IPv6Len {
		return ShortIPv6
	}
	if h[0]>>4 != 6 {
		return BadIPv6Version
	}
	if end := IPv6Len + h.PayloadLen(); end <= len(h) {
		p.End = p.L3 + end
	} else if !quoted {
		return BadIPv6Length
	}
	p.Version, p.TTL = 6, h.HopLimit()
	p.Src, p.Dst = h.Src(), h.Dst()
	p.Proto, p.L4 = h.NextHeader(), p.L3+IPv6Len
	if !p.walkExtensions() {
		return BadIPv6Extension
	}
	p.parseTransport()
	return None
}

// walkExtensions moves Proto and L4 behind the extension headers. The packet's
// length bounds the walk.
func (p *Packet) walkExtensions() bool {
	for {
		b := p.Data[p.L4:p.End]
		n := 0
		switch p.Proto {
		case ProtoHopByHop, ProtoRouting, ProtoDstOpts, ProtoMobility:
			if len(b) < 8 {
				return false
			}
			n = int(b[1])*8 + 8
		case ProtoFragment:
			if len(b) < 8 {
				return false
			}
			n = 8
			p.FragHeader = p.L4
			p.FragOffset = int(be16(b[2:]) &^ 7)
			p.MoreFrags = b[3]&1 != 0
			p.FragID = be32(b[4:])
			p.Fragment = true
		default:
			return true
		}
		if n > len(b) {
			return false
		}
		p.Proto = b[0]
		p.L4 += n
		if p.FragOffset != 0 {
			return true // a later fragment: what follows is data
		}
	}
}

func (p *Packet) parseTransport() {
	if p.FragOffset != 0 {
		return
	}
	b := p.Data[p.L4:p.End]
	full := 0
	switch p.Proto {
	case ProtoTCP:
		full = TCPLen
	case ProtoUDP:
		full = UDPLen
	case ProtoSCTP:
		full = SCTPLen
	default:
		p.Full = (p.Proto == ProtoICMP || p.Proto == ProtoICMPv6) && len(b) >= ICMPLen
		return
	}
	if len(b) < 4 {
		return
	}
	p.Ports = true
	p.SrcPort, p.DstPort = be16(b), be16(b[2:])
	if p.Full = len(b) >= full; !p.Full {
		return
	}
	if p.Proto == ProtoTCP {
		p.TCPFlags = TCP(b).Flags()
	}
}

// IPLen is the length of the IP packet, header included.
func (p *Packet) IPLen() int { return p.End - p.L3 }

// V4 is the packet's IPv4 header and all behind it.
func (p *Packet) V4() IPv4 { return IPv4(p.Data[p.L3:p.End]) }

// V6 is the packet's IPv6 header and all behind it.
func (p *Packet) V6() IPv6 { return IPv6(p.Data[p.L3:p.End]) }

// Transport is everything behind the IP header.
func (p *Packet) Transport() []byte { return p.Data[p.L4:p.End] }

// IsICMPError reports whether the packet is an ICMP error that quotes another
// packet, of the kinds IPVS treats as related (IPv4: 3, 4 and 11; ICMPv6: below 128).
func (p *Packet) IsICMPError() bool {
	if !p.Full || p.FragOffset != 0 {
		return false
	}
	t := p.Data[p.L4]
	switch {
	case p.Version == 4 && p.Proto == ProtoICMP:
		return t == ICMPUnreachable || t == ICMPSourceQuench || t == ICMPTimeExceeded
	case p.Version == 6 && p.Proto == ProtoICMPv6:
		return t < 128
	}
	return false
}
