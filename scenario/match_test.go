package scenario

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// made is the frame that an inject line makes.
func made(t *testing.T, packet string) []byte {
	t.Helper()
	return step(t, "inject client "+packet).(*Inject).Frame
}

// fits says how a frame and a pattern get along: "" if it fits.
func fits(t *testing.T, frame []byte, pattern string) string {
	t.Helper()
	x := step(t, "expect frame at rs1 "+pattern).(*ExpectFrame)
	v, ok := look(frame)
	require.True(t, ok)
	if !x.Match.concerns(&v) {
		return "another"
	}
	return x.Match.differs(&v)
}

func TestMatch(t *testing.T) {
	const syn = "tcp client:4000 > $VIP:80 S ttl=2 id=7 df=yes payload=10"
	const quote = "icmp unreachable 10.0.0.254 > $VIP code=4 mtu=1400 inner.proto=tcp inner.src=$VIP:80 inner.dst=client:4000"
	for _, c := range []struct{ packet, pattern, want string }{
		{syn, "", ""},
		{syn, "ip", ""},
		{syn, "tcp client > $VIP:80 S", ""},
		{syn, "tcp *:4000 > *", ""},
		{syn, "tcp ttl=1..2 id=7 df=yes mf=no payload=10 len=50 sum=yes offset=0 tos=0 seq=0", ""},
		{syn, "tcp eth.src=client eth.dst=lvs src=client:4000 dst=$VIP:80", ""},
		{syn, "tcp eth.src=02:00:00:00:01:00", ""},
		{syn, "udp", "another"},
		{syn, "ip6", "another"},
		{syn, "arp", "another"},
		{syn, "tcp SA", "another"},
		{syn, "tcp rs1 > *", "another"},
		{syn, "tcp ttl=3", "ttl is 2, not 3"},
		{syn, "tcp eth.dst=rs1 df=no", "eth.dst is 02:00:00:00:02:00, not rs1, df is yes, not no"},
		{syn, "tcp src=rs1", "src is 10.0.0.9:4000, not rs1"},
		{syn, "tcp inner.ttl=1", "inner.ttl is absent, not 1"},
		{syn, "tcp mtu=1", "mtu is absent, not 1"},
		{"udp [2001:db8::9]:1 > [2001:db8::1]:53 payload=4", "udp client > [2001:db8::1]:53 ttl=64 payload=4 len=52 sum=yes", ""},
		{"udp [2001:db8::9]:1 > [2001:db8::1]:53 payload=4", "ip6 df=yes", "df is no, not yes"},
		{"udp client:1 > $VIP:53 mf=yes payload=8 id=3", "udp client > $VIP:53 mf=yes offset=0 id=3", ""},
		{"udp client:1 > $VIP:53 offset=1480 payload=8", "udp client > $VIP offset=1480 payload=8", ""},
		{"udp client:1 > $VIP:53 offset=1480 payload=8", "udp client > $VIP:53", "another"},
		{"udp [2001:db8::9]:1 > [2001:db8::1]:53 mf=yes id=9 payload=8", "udp *:1 > *:53 mf=yes id=9", ""},
		{"icmp echo client > $VIP payload=56", "icmp echo len=84 sum=yes", ""},
		{"icmp echo client > $VIP", "icmp reply", "another"},
		{"icmp6 echo client > [2001:db8::1]", "icmp6 client > * echo sum=yes", ""},
		{quote, "icmp unreachable code=4 mtu=1400 inner.src=$VIP:80 inner.dst=client:4000 inner.proto=tcp sum=yes", ""},
		{quote, "icmp inner.dst=rs1", "inner.dst is 10.0.0.9:4000, not rs1"},
		{"arp reply $VIP > client", "arp reply $VIP > client eth.src=client", ""},
		{"arp request client > $VIP eth.dst=broadcast", "arp request * > $VIP eth.dst=broadcast", ""},
		{"arp request client > $VIP", "arp reply", "another"},
		{"arp request client > $VIP", "tcp", "another"},
		{`udp client:4000 > $VIP:53 text=a\x20b\r\n`, `udp text=\x20b\r payload=5 sum=yes`, ""},
		{`tcp client:4000 > $VIP:80 PA text=hello`, `tcp text=hullo`, "text is hello, not hullo"},
		{"icmp6 toobig [2001:db8::9] > [2001:db8::1] mtu=1400 inner.proto=udp inner.src=[2001:db8::1]:53 inner.dst=[2001:db8::9]:1", "icmp6 toobig mtu=1400 sum=yes inner.dst=client:1 inner.sum=yes", ""},
		{"tcp client:4000 > $VIP:80 A seq=7 ack=9 tos=4", "tcp seq=7 ack=9 tos=4 sum=yes", ""},
		{"tcp [2001:db8::9]:1 > [2001:db8::1]:80 S tos=8 ttl=3", "ip6 tos=8 ttl=3 id=1", "id is absent, not 1"},
		{"to rs1 tcp client:4000 > $VIP:80 S", "tcp eth.dst=rs1", ""},
		{"tcp client:4000 > $VIP:80 S eth.src=rs2 eth.dst=rs3", "tcp eth.src=rs2 eth.dst=rs3", ""},
		{"tcp client:4000 > $VIP:80 S", "tcp eth.dst=lvs:eth0 proto=tcp code=1", "code is absent, not 1"},
	} {
		require.Equal(t, c.want, fits(t, made(t, c.packet), c.pattern), "%s | %s", c.packet, c.pattern)
	}
}

// TestLookInside: what tunnels carry.
func TestLookInside(t *testing.T) {
	inner := made(t, "tcp client:4000 > $VIP:80 S ttl=9")[14:]
	v4 := &layers.IPv4{Version: 4, TTL: 63, SrcIP: []byte{10, 0, 0, 1}, DstIP: []byte{10, 0, 0, 11}}
	eth := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
	serialize := func(l ...gopacket.SerializableLayer) []byte {
		b := gopacket.NewSerializeBuffer()
		require.NoError(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...))
		return b.Bytes()
	}
	v4.Protocol = layers.IPProtocolIPv4
	ipip := serialize(eth, v4, gopacket.Payload(inner))
	require.Empty(t, fits(t, ipip, "ipip lvs > rs1 ttl=63 inner.ttl=9 inner.proto=tcp inner.src=client:4000 inner.len=40"))
	v4.Protocol = layers.IPProtocolGRE
	for _, gre := range []*layers.GRE{{}, {ChecksumPresent: true}, {KeyPresent: true, SeqPresent: true}} {
		gre.Protocol = layers.EthernetTypeIPv4
		frame := serialize(eth, v4, gre, gopacket.Payload(inner))
		require.Empty(t, fits(t, frame, "gre lvs > rs1 inner.ttl=9 inner.dst=$VIP:80"))
	}
}

// TestFramesAgreeWithGopacket: an independent decoder reads what inject makes.
func TestFramesAgreeWithGopacket(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		ttl, size, id := 1+r.IntN(255), r.IntN(1400), r.IntN(65536)
		proto := []string{"tcp", "udp"}[r.IntN(2)]
		flags := ""
		if proto == "tcp" {
			flags = flagText(uint8(1 + r.IntN(63)))
		}
		frame := made(t, fmt.Sprintf("%s client:4000 > $VIP:80 %s ttl=%d payload=%d id=%d", proto, flags, ttl, size, id))
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		require.Nil(t, p.ErrorLayer())
		ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		require.EqualValues(t, ttl, ip.TTL)
		require.EqualValues(t, id, ip.Id)
		require.Len(t, p.TransportLayer().LayerPayload(), size)
		require.Empty(t, fits(t, frame, fmt.Sprintf("%s client:4000 > $VIP:80 %s ttl=%d payload=%d id=%d sum=yes", proto, flags, ttl, size, id)))
		frame[len(frame)-1] ^= 1
		require.Equal(t, "sum is no, not yes", fits(t, frame, proto+" sum=yes"))
	}
}

func TestDescribe(t *testing.T) {
	f, err := Parse("x", []byte(lab+"wait 1s\n"))
	require.NoError(t, err)
	for packet, want := range map[string]string{
		"tcp client:4000 > $VIP:80 S":                                                           "tcp 10.0.0.9:4000 > 10.0.0.100:80 S ttl=64 len=40 eth.src=client eth.dst=lvs:eth0",
		"udp client:1 > $VIP:53 offset=1480 payload=8":                                          "udp 10.0.0.9 > 10.0.0.100 ttl=64 len=28 offset=1480 eth.src=client eth.dst=lvs:eth0",
		"icmp echo client > $VIP":                                                               "icmp echo 10.0.0.9 > 10.0.0.100 ttl=64 len=28 eth.src=client eth.dst=lvs:eth0",
		"arp request client > $VIP eth.dst=broadcast":                                           "arp request 10.0.0.9 > 10.0.0.100 eth.src=client eth.dst=broadcast",
		"icmp exceeded 10.0.0.254 > client inner.proto=udp inner.src=client:1 inner.dst=$VIP:2": "icmp exceeded 10.0.0.254 > 10.0.0.9 ttl=64 len=56 (udp 10.0.0.9:1 > 10.0.0.100:2 ttl=64 len=28) eth.src=client eth.dst=lvs:eth0",
	} {
		require.Equal(t, want, describe(made(t, packet), &f.Topology))
	}
	require.Contains(t, describe([]byte{1}, &f.Topology), "too short")
	require.Contains(t, describe(make([]byte, 14), &f.Topology), "type 0x0000")
}

// FuzzMatch: no frame, however broken, makes the judge stumble.
func FuzzMatch(f *testing.F) {
	p, err := Parse("x", []byte(lab+`expect frame at rs1 tcp client > $VIP:80 S ttl=1 sum=yes mtu=3 seq=1 payload=1 tos=1
expect frame at rs1 icmp unreachable inner.src=client inner.payload=3 inner.sum=yes inner.id=1
expect frame at rs1 arp reply $VIP > client
expect frame at rs1 ip6 id=1 df=yes
`))
	require.NoError(f, err)
	f.Add([]byte(strings.Repeat("\x45\x00", 40)))
	f.Fuzz(func(t *testing.T, frame []byte) {
		describe(frame, &p.Topology)
		v, ok := look(frame)
		if !ok {
			return
		}
		for _, s := range p.Steps {
			m := s.Do.(*ExpectFrame).Match
			m.concerns(&v)
			m.differs(&v)
		}
	})
}
