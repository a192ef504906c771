package wire

import (
	"encoding/binary"
	"net/netip"
)

// EtherTypes.
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeVLAN = 0x8100
	TypeQinQ = 0x88a8
	TypeIPv6 = 0x86dd
)

// IP protocol numbers.
const (
	ProtoHopByHop = 0
	ProtoICMP     = 1
	ProtoIPIP     = 4
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoIPv6     = 41
	ProtoRouting  = 43
	ProtoFragment = 44
	ProtoGRE      = 47
	ProtoESP      = 50
	ProtoAH       = 51
	ProtoICMPv6   = 58
	ProtoNoNext   = 59
	ProtoDstOpts  = 60
	ProtoSCTP     = 132
	ProtoMobility = 135
)

// Header lengths, without options.
const (
	EthernetLen = 14
	VLANLen     = 4
	ARPLen      = 28
	IPv4Len     = 20
	IPv6Len     = 40
	ICMPLen     = 8
	TCPLen      = 20
	UDPLen      = 8
	SCTPLen     = 12
)

// TCP flag bits.
const (
	FlagFIN = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
)

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the Ethernet broadcast address.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// IsZero reports whether m is all zero, which no station uses.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsMulticast reports whether m is a group address; broadcast is one of them.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// Word is m as a number, its first byte the lowest: what Frame headers are
// compared with and written from in one step.
func (m MAC) Word() uint64 {
	return uint64(m[0]) | uint64(m[1])<<8 | uint64(m[2])<<16 | uint64(m[3])<<24 | uint64(m[4])<<32 | uint64(m[5])<<40
}

// String formats m as colon-separated lower-case hex.
func (m MAC) String() string {
	const hex = "0123456789abcdef"
	b := make([]byte, 0, 17)
	for i, x := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hex[x>>4], hex[x&15])
	}
	return string(b)
}

func be16(b []byte) uint16       { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32       { return binary.BigEndian.Uint32(b) }
func put16(b []byte, v uint16)   { binary.BigEndian.PutUint16(b, v) }
func put32(b []byte, v uint32)   { binary.BigEndian.PutUint32(b, v) }
func addr4(b []byte) netip.Addr  { return netip.AddrFrom4([4]byte(b[:4])) }
func addr16(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[:16])) }

// EthernetHeader is a view of a frame that starts with an Ethernet header.
type EthernetHeader []byte

func (h EthernetHeader) Dst() MAC         { return MAC(h[0:6]) }
func (h EthernetHeader) Src() MAC         { return MAC(h[6:12]) }
func (h EthernetHeader) DstWord() uint64  { return binary.LittleEndian.Uint64(h) & (1<<48 - 1) }
func (h EthernetHeader) Type() uint16     { return be16(h[12:]) }
func (h EthernetHeader) SetDst(m MAC)     { copy(h[0:6], m[:]) }
func (h EthernetHeader) SetSrc(m MAC)     { copy(h[6:12], m[:]) }
func (h EthernetHeader) SetType(t uint16) { put16(h[12:], t) }

// SetStations sets both addresses, given as MAC.Word does.
func (h EthernetHeader) SetStations(dst, src uint64) {
	_ = h[11]
	binary.LittleEndian.PutUint64(h, dst|src<<48)
	binary.LittleEndian.PutUint32(h[8:], uint32(src>>16))
}

// IPv4 is a view of an IPv4 packet (RFC 791).
type IPv4 []byte

func (h IPv4) HeaderLen() int         { return int(h[0]&15) * 4 }
func (h IPv4) TOS() uint8             { return h[1] }
func (h IPv4) TotalLen() int          { return int(be16(h[2:])) }
func (h IPv4) ID() uint16             { return be16(h[4:]) }
func (h IPv4) DF() bool               { return h[6]&0x40 != 0 }
func (h IPv4) MF() bool               { return h[6]&0x20 != 0 }
func (h IPv4) FragOffset() int        { return int(be16(h[6:])&0x1fff) * 8 }
func (h IPv4) FragWord() uint16       { return be16(h[6:]) }
func (h IPv4) TTL() uint8             { return h[8] }
func (h IPv4) Proto() uint8           { return h[9] }
func (h IPv4) Checksum() uint16       { return be16(h[10:]) }
func (h IPv4) Src() netip.Addr        { return addr4(h[12:]) }
func (h IPv4) Dst() netip.Addr        { return addr4(h[16:]) }
func (h IPv4) SetTOS(v uint8)         { h[1] = v }
func (h IPv4) SetTotalLen(n int)      { put16(h[2:], uint16(n)) }
func (h IPv4) SetID(v uint16)         { put16(h[4:], v) }
func (h IPv4) SetFragWord(v uint16)   { put16(h[6:], v) }
func (h IPv4) SetTTL(v uint8)         { h[8] = v }
func (h IPv4) SetProto(v uint8)       { h[9] = v }
func (h IPv4) SetChecksum(v uint16)   { put16(h[10:], v) }
func (h IPv4) SetSrc(a netip.Addr)    { b := a.As4(); copy(h[12:16], b[:]) }
func (h IPv4) SetDst(a netip.Addr)    { b := a.As4(); copy(h[16:20], b[:]) }
func (h IPv4) UpdateChecksum()        { h.SetChecksum(0); h.SetChecksum(Checksum(h[:h.HeaderLen()])) }
func (h IPv4) HeaderChecksumOK() bool { return Checksum(h[:h.HeaderLen()]) == 0 }

// IPv6 is a view of an IPv6 packet (RFC 8200).
type IPv6 []byte

func (h IPv6) TrafficClass() uint8            { return h[0]<<4 | h[1]>>4 }
func (h IPv6) FlowLabel() uint32              { return be32(h) & 0xfffff }
func (h IPv6) PayloadLen() int                { return int(be16(h[4:])) }
func (h IPv6) NextHeader() uint8              { return h[6] }
func (h IPv6) HopLimit() uint8                { return h[7] }
func (h IPv6) Src() netip.Addr                { return addr16(h[8:]) }
func (h IPv6) Dst() netip.Addr                { return addr16(h[24:]) }
func (h IPv6) SetPayloadLen(n int)            { put16(h[4:], uint16(n)) }
func (h IPv6) SetNextHeader(v uint8)          { h[6] = v }
func (h IPv6) SetHopLimit(v uint8)            { h[7] = v }
func (h IPv6) SetSrc(a netip.Addr)            { b := a.As16(); copy(h[8:24], b[:]) }
func (h IPv6) SetDst(a netip.Addr)            { b := a.As16(); copy(h[24:40], b[:]) }
func (h IPv6) SetFlow(tc uint8, label uint32) { put32(h, 6<<28|uint32(tc)<<20|label&0xfffff) }

// ARPHeader is a view of an Ethernet/IPv4 ARP packet (RFC 826).
type ARPHeader []byte

func (h ARPHeader) Valid() bool {
	return len(h) >= ARPLen && be16(h) == 1 && be16(h[2:]) == TypeIPv4 && h[4] == 6 && h[5] == 4
}
func (h ARPHeader) Op() uint16           { return be16(h[6:]) }
func (h ARPHeader) SenderMAC() MAC       { return MAC(h[8:14]) }
func (h ARPHeader) SenderIP() netip.Addr { return addr4(h[14:]) }
func (h ARPHeader) TargetMAC() MAC       { return MAC(h[18:24]) }
func (h ARPHeader) TargetIP() netip.Addr { return addr4(h[24:]) }

// TCP is a view of a TCP segment.
type TCP []byte

func (h TCP) SrcPort() uint16      { return be16(h) }
func (h TCP) DstPort() uint16      { return be16(h[2:]) }
func (h TCP) Seq() uint32          { return be32(h[4:]) }
func (h TCP) Ack() uint32          { return be32(h[8:]) }
func (h TCP) HeaderLen() int       { return int(h[12]>>4) * 4 }
func (h TCP) Flags() uint8         { return h[13] & 0x3f }
func (h TCP) Window() uint16       { return be16(h[14:]) }
func (h TCP) Checksum() uint16     { return be16(h[16:]) }
func (h TCP) SetChecksum(v uint16) { put16(h[16:], v) }

// UDP is a view of a UDP datagram.
type UDP []byte

func (h UDP) SrcPort() uint16      { return be16(h) }
func (h UDP) DstPort() uint16      { return be16(h[2:]) }
func (h UDP) Length() int          { return int(be16(h[4:])) }
func (h UDP) Checksum() uint16     { return be16(h[6:]) }
func (h UDP) SetLength(n int)      { put16(h[4:], uint16(n)) }
func (h UDP) SetChecksum(v uint16) { put16(h[6:], v) }

// ICMP is a view of an ICMP or ICMPv6 message.
type ICMP []byte

func (h ICMP) Type() uint8          { return h[0] }
func (h ICMP) Code() uint8          { return h[1] }
func (h ICMP) Checksum() uint16     { return be16(h[2:]) }
func (h ICMP) SetChecksum(v uint16) { put16(h[2:], v) }

// ICMP types used here.
const (
	ICMPEchoReply    = 0
	ICMPUnreachable  = 3
	ICMPSourceQuench = 4
	ICMPRedirect     = 5
	ICMPEcho         = 8
	ICMPTimeExceeded = 11
	ICMPParamProblem = 12

	ICMPv6Unreachable  = 1
	ICMPv6TooBig       = 2
	ICMPv6TimeExceeded = 3
	ICMPv6ParamProblem = 4
	ICMPv6Echo         = 128
	ICMPv6EchoReply    = 129
	ICMPv6NeighSol     = 135
	ICMPv6NeighAdv     = 136
	ICMPv6MLDv2Report  = 143
)
