package demo

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/wire"
)

// segment is a TCP segment in an Ethernet frame.
type segment struct {
	srcMAC, dstMAC wire.MAC
	src, dst       string
	flags          byte
	ttl            byte
}

func (s segment) frame() []byte {
	return append(ethernet(s.srcMAC, s.dstMAC), s.packet()...)
}

func (s segment) packet() []byte {
	src, dst := netip.MustParseAddrPort(s.src), netip.MustParseAddrPort(s.dst)
	b := ipv4(src.Addr(), dst.Addr(), wire.ProtoTCP, s.ttl, wire.TCPLen)
	tcp := b[wire.IPv4Len:]
	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	tcp[12], tcp[13] = 5<<4, s.flags
	return b
}

// tunnelled wraps the segment in IP-in-IP.
func (s segment) tunnelled(from, to string) []byte {
	inner := s.packet()
	outer := ipv4(netip.MustParseAddr(from), netip.MustParseAddr(to), wire.ProtoIPIP, 64, len(inner))
	copy(outer[wire.IPv4Len:], inner)
	return append(ethernet(s.srcMAC, s.dstMAC), outer...)
}

func ethernet(src, dst wire.MAC) []byte {
	b := make([]byte, wire.EthernetLen)
	eth := wire.EthernetHeader(b)
	eth.SetSrc(src)
	eth.SetDst(dst)
	eth.SetType(wire.TypeIPv4)
	return b
}

func ipv4(src, dst netip.Addr, proto, ttl byte, payload int) []byte {
	b := make([]byte, wire.IPv4Len+payload)
	b[0] = 0x45
	ip := wire.IPv4(b)
	ip.SetTotalLen(len(b))
	ip.SetTTL(ttl)
	ip.SetProto(proto)
	ip.SetSrc(src)
	ip.SetDst(dst)
	ip.UpdateChecksum()
	return b
}

// Machines of the scenes, and what passes between them.
var (
	clientMAC   = on("lan0", "10.10.100.2/24").mac()
	directorMAC = on("lan0", "10.10.100.1/24").mac()
	insideMAC   = on("lan1", "10.1.1.1/24").mac()
	rs2DR       = on("lan0", "10.10.100.112/24").mac()
	rs2NAT      = on("lan1", "10.1.1.79/24").mac()
	routerMAC   = on("lan0", "10.10.100.254/24").mac()
)

const (
	cip = "10.10.100.2:40000"
	syn = wire.FlagSYN
	ack = wire.FlagACK
)

func synTo(vip string) segment { return segment{clientMAC, directorMAC, cip, vip, syn, 64} }

// passages of a first packet in each mode, as they should be.
func goodPassage(mode string) passage {
	vip := scenes[mode]().vip.String()
	came := synTo(vip)
	left := segment{directorMAC, rs2DR, cip, vip, syn, 63}
	switch mode {
	case "nat":
		left = segment{insideMAC, rs2NAT, cip, "10.1.1.79:80", syn, 63}
	case "tun":
		left.dstMAC = routerMAC
		return passage{came.frame(), left.tunnelled("10.10.100.1", "172.16.52.62")}
	}
	return passage{came.frame(), left.frame()}
}

func natAnswer() passage {
	return passage{
		segment{rs2NAT, insideMAC, "10.1.1.79:80", cip, syn | ack, 64}.frame(),
		segment{directorMAC, clientMAC, "10.10.100.77:80", cip, syn | ack, 63}.frame(),
	}
}

func TestDecode(t *testing.T) {
	o := scenes["tun"]().owners()
	p := goodPassage("tun")
	assert.Equal(t, []field{
		{"from MAC", "02:00:0a:0a:64:02 client"},
		{"to MAC", "02:00:0a:0a:64:01 director"},
		{"from", "10.10.100.2:40000 client"},
		{"to", "10.10.100.107:80 VIP"},
		{"TTL", "64"},
		{"IP length", "40"},
	}, decode(p.before, o))
	assert.Equal(t, []field{
		{"from MAC", "02:00:0a:0a:64:01 director"},
		{"to MAC", "02:00:0a:0a:64:fe router"},
		{"outer from", "10.10.100.1 director"},
		{"outer to", "172.16.52.62 rs2"},
		{"outer TTL", "64"},
		{"from", "10.10.100.2:40000 client"},
		{"to", "10.10.100.107:80 VIP"},
		{"TTL", "63"},
		{"IP length", "60"},
	}, decode(p.after, o))
}

func TestDecodeWhatIsNoSegment(t *testing.T) {
	o := owners{}
	icmp := append(ethernet(clientMAC, directorMAC),
		ipv4(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), wire.ProtoICMP, 1, 8)...)
	arp := ethernet(clientMAC, wire.Broadcast)
	wire.EthernetHeader(arp).SetType(wire.TypeARP)
	arp = append(arp, make([]byte, wire.ARPLen)...)
	for _, tc := range []struct {
		name  string
		frame []byte
		want  field
	}{
		{"no ports", icmp, field{"to", "192.0.2.2"}},
		{"ARP", arp, field{"EtherType", "0x0806"}},
		{"cut short", icmp[:20], field{"malformed", wire.ShortIPv4.String()}},
		{"nothing", nil, field{"malformed", wire.ShortEthernet.String()}},
	} {
		assert.Contains(t, decode(tc.frame, o), tc.want, tc.name)
	}
}

// A tunnelled packet that is malformed inside is shown as what it is outside.
func TestDecodeBadInner(t *testing.T) {
	frame := goodPassage("tun").after
	frame = append([]byte(nil), frame...)
	frame[wire.EthernetLen+wire.IPv4Len] = 0x15
	assert.Contains(t, decode(frame, owners{}), field{"to", "172.16.52.62"})
	assert.False(t, isTunnelled(frame))
}

func TestSideBySide(t *testing.T) {
	assert.Equal(t, []change{
		{"MAC", "a", "b"},
		{"outer", "", "x"},
		{"TTL", "64", "64"},
	}, sideBySide(
		[]field{{"MAC", "a"}, {"TTL", "64"}},
		[]field{{"MAC", "b"}, {"outer", "x"}, {"TTL", "64"}}))
	assert.Equal(t, []change{{"malformed", "", "bad"}, {"x", "1", ""}, {"y", "2", ""}}[1:],
		sideBySide([]field{{"x", "1"}, {"y", "2"}}, []field{{"malformed", "bad"}}))
}

// FuzzDecode: whatever a trace says, it is shown or left out.
func FuzzDecode(f *testing.F) {
	for _, mode := range Modes {
		p := goodPassage(mode)
		f.Add(p.before)
		f.Add(p.after)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		decode(frame, owners{})
		_, ok := tcpSegment(frame)
		err := scenes["dr"]().checkForwarded(passage{frame, frame})
		if ok {
			assert.Error(t, err, "a frame that was not changed was not forwarded")
		}
	})
}
