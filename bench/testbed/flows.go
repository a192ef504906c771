package testbed

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"usvs/link"
	"usvs/wire"
)

// Client is the endpoint of the i-th of many flows, below 2^26.
func Client(i uint32) netip.AddrPort {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], clientAddr(i))
	return netip.AddrPortFrom(netip.AddrFrom4(a), clientPort(i))
}

// Client6 is its IPv6 endpoint.
func Client6(i uint32) netip.AddrPort {
	a := clients6.As16()
	binary.BigEndian.PutUint32(a[12:], clientAddr(i))
	return netip.AddrPortFrom(netip.AddrFrom16(a), clientPort(i))
}

// clients6 is what the clients' IPv6 addresses begin with (RFC 3849).
var clients6 = netip.MustParseAddr("2001:db8::")

// clientAddr is from 100.64.0.0/10: sixteen flows share one.
func clientAddr(i uint32) uint32 { return 100<<24 | 64<<16 | i>>4 }

func clientPort(i uint32) uint16 { return 1024 + uint16(i&15)*3989 }

// Shuffled is at most limit different flows of n, in an order in which caches
// do not help.
func Shuffled(n, limit int) []uint32 {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	all := make([]uint32, n)
	for i := range all {
		all[i] = uint32(i)
	}
	k := min(n, limit)
	for i := range k {
		j := i + rng.IntN(n-i)
		all[i], all[j] = all[j], all[i]
	}
	return all[:k:k]
}

// Stream makes the frames of many flows to or from one endpoint: TCP segments
// without payload, complete with checksums, 60 bytes with IPv4 (64 on the
// wire), 74 with IPv6.
type Stream struct {
	port           int // of the director
	v6             bool
	template       []byte
	ip, tcp        int    // where the headers begin
	addrAt, portAt int    // where the client's endpoint stands, an IPv6 address's end
	ipSum          uint64 // without the client's address
	tcpSum         uint64 // of the segment without the client's endpoint and flags
}

// ToVirtual are clients' frames to a virtual service.
func ToVirtual(vip netip.Addr) *Stream {
	return newStream(0, netip.AddrPortFrom(vip, Port), false)
}

// FromReal are a real server's frames to clients.
func FromReal(rs netip.AddrPort) *Stream { return newStream(1, rs, true) }

// minEthernet is the shortest Ethernet frame, without its checksum.
const minEthernet = 60

func newStream(port int, fixed netip.AddrPort, fromReal bool) *Stream {
	s := &Stream{port: port, v6: fixed.Addr().Is6(), ip: wire.EthernetLen}
	s.tcp = s.ip + wire.IPv4Len
	if s.v6 {
		s.tcp = s.ip + wire.IPv6Len
	}
	s.template = make([]byte, max(minEthernet, s.tcp+wire.TCPLen))
	eth := wire.EthernetHeader(s.template)
	eth.SetDst(dirMACs[port])
	eth.SetSrc([]wire.MAC{gwMAC, rsMAC}[port])
	client := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if s.v6 {
		client = netip.AddrPortFrom(clients6, 0)
	}
	src, dst := client, fixed
	s.addrAt, s.portAt = s.ip+12, s.tcp
	if s.v6 {
		s.addrAt = s.ip + 8 + 12
	}
	if fromReal {
		src, dst = dst, src
		s.addrAt += fixed.Addr().BitLen() / 8
		s.portAt += 2
	}
	s.headers(src, dst)
	return s
}

// headers writes everything but what differs between flows.
func (s *Stream) headers(src, dst netip.AddrPort) {
	if s.v6 {
		wire.EthernetHeader(s.template).SetType(wire.TypeIPv6)
		h := wire.IPv6(s.template[s.ip:s.tcp])
		h.SetFlow(0, 0)
		h.SetPayloadLen(wire.TCPLen)
		h.SetNextHeader(wire.ProtoTCP)
		h.SetHopLimit(64)
		h.SetSrc(src.Addr())
		h.SetDst(dst.Addr())
	} else {
		wire.EthernetHeader(s.template).SetType(wire.TypeIPv4)
		h := wire.IPv4(s.template[s.ip:s.tcp])
		h[0] = 0x45
		h.SetTotalLen(wire.IPv4Len + wire.TCPLen)
		h.SetFragWord(0x4000)
		h.SetTTL(64)
		h.SetProto(wire.ProtoTCP)
		h.SetSrc(src.Addr())
		h.SetDst(dst.Addr())
		s.ipSum = wire.Sum(h, 0)
	}
	t := s.template[s.tcp : s.tcp+wire.TCPLen]
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	t[12] = 5 << 4
	s.tcpSum = wire.Sum(t, wire.PseudoSum(src.Addr(), dst.Addr(), wire.ProtoTCP, wire.TCPLen))
}

// Fill makes f the frame of flow i with TCP flags.
func (s *Stream) Fill(f *link.Frame, i uint32, flags uint8) {
	f.Reset()
	f.SetBytes(s.template)
	f.Port = s.port
	b, addr, port := f.Bytes(), clientAddr(i), clientPort(i)
	binary.BigEndian.PutUint32(b[s.addrAt:], addr)
	binary.BigEndian.PutUint16(b[s.portAt:], port)
	b[s.tcp+13] = flags
	client := uint64(addr>>16) + uint64(addr&0xffff)
	binary.BigEndian.PutUint16(b[s.tcp+16:], ^wire.Fold(s.tcpSum+client+uint64(port)+uint64(flags)))
	if !s.v6 {
		binary.BigEndian.PutUint16(b[s.ip+10:], ^wire.Fold(s.ipSum+client))
	}
}
