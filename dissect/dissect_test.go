package dissect

import (
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

var (
	eth4 = &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	eth6 = &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv6}
)

func serialize(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	for _, l := range ls {
		if ip, ok := l.(gopacket.NetworkLayer); ok {
			require.NoError(t, syn.SetNetworkLayerForChecksum(ip))
			require.NoError(t, gueHeader.SetNetworkLayerForChecksum(ip))
			require.NoError(t, dns.SetNetworkLayerForChecksum(ip))
		}
	}
	b := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...))
	return b.Bytes()
}

func ip4(src, dst string, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: proto, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
}

func ip6(src, dst string, next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
}

var (
	syn       = &layers.TCP{SrcPort: 4000, DstPort: 80, SYN: true, Window: 1000}
	gueHeader = &layers.UDP{SrcPort: 1, DstPort: 6080}
	dns       = &layers.UDP{SrcPort: 5000, DstPort: 53}
	data      = gopacket.Payload("hello")
)

func frames(t testing.TB) map[string][]byte {
	inner := func() []gopacket.SerializableLayer {
		return []gopacket.SerializableLayer{ip4("192.0.2.1", "10.9.0.1", layers.IPProtocolTCP), syn}
	}
	quote := serialize(t, inner()...)
	gue := append([]byte{0, 4, 0, 0}, quote...)
	arp := func(op uint16, sender, target []byte) []byte {
		return serialize(t, &layers.Ethernet{SrcMAC: eth4.SrcMAC, DstMAC: eth4.DstMAC, EthernetType: layers.EthernetTypeARP}, &layers.ARP{
			AddrType: 1, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
			SourceHwAddress: eth4.SrcMAC, SourceProtAddress: sender, DstHwAddress: make([]byte, 6), DstProtAddress: target})
	}
	fragment := ip4("192.0.2.1", "10.9.0.1", layers.IPProtocolUDP)
	fragment.FragOffset, fragment.Flags = 185, layers.IPv4MoreFragments
	return map[string][]byte{
		"tcp 192.0.2.1:4000 > 10.9.0.1:80 S":                            serialize(t, append([]gopacket.SerializableLayer{eth4}, inner()...)...),
		"tcp [2001:db8::1]:4000 > [fd00::1]:80 S":                       serialize(t, eth6, ip6("2001:db8::1", "fd00::1", layers.IPProtocolTCP), syn),
		"udp 192.0.2.1:5000 > 10.9.0.1:53":                              serialize(t, eth4, ip4("192.0.2.1", "10.9.0.1", layers.IPProtocolUDP), dns, data),
		"udp 192.0.2.1 > 10.9.0.1 fragment from byte 1480, more follow": serialize(t, eth4, fragment, data),
		"sctp 192.0.2.1:9 > 10.9.0.1:10":                                serialize(t, eth4, ip4("192.0.2.1", "10.9.0.1", layers.IPProtocolSCTP), &layers.SCTP{SrcPort: 9, DstPort: 10}, data),
		"icmp 192.0.2.1 > 10.9.0.1 echo request": serialize(t, eth4, ip4("192.0.2.1", "10.9.0.1", layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 7, Seq: 1}),
		"icmp 192.0.2.9 > 10.9.0.1 fragmentation needed (mtu 1400) about tcp 192.0.2.1:4000 > 10.9.0.1:80": serialize(t, eth4,
			ip4("192.0.2.9", "10.9.0.1", layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 4), Seq: 1400}, gopacket.Payload(quote)),
		"10.1.0.1 > 10.2.0.1 ipip [tcp 192.0.2.1:4000 > 10.9.0.1:80 S]": serialize(t, append([]gopacket.SerializableLayer{eth4,
			ip4("10.1.0.1", "10.2.0.1", layers.IPProtocolIPv4)}, inner()...)...),
		"10.1.0.1 > 10.2.0.1 gre [tcp 192.0.2.1:4000 > 10.9.0.1:80 S]": serialize(t, append([]gopacket.SerializableLayer{eth4,
			ip4("10.1.0.1", "10.2.0.1", layers.IPProtocolGRE), &layers.GRE{Protocol: layers.EthernetTypeIPv4}}, inner()...)...),
		"10.1.0.1 > 10.2.0.1 gue [tcp 192.0.2.1:4000 > 10.9.0.1:80 S]": serialize(t, eth4,
			ip4("10.1.0.1", "10.2.0.1", layers.IPProtocolUDP), gueHeader, gopacket.Payload(gue)),
		"ARP who has 10.9.0.1? tell 10.1.0.1":                 arp(1, []byte{10, 1, 0, 1}, []byte{10, 9, 0, 1}),
		"ARP 10.1.0.1 is at 02:00:00:00:00:01":                arp(2, []byte{10, 1, 0, 1}, []byte{10, 9, 0, 1}),
		"ARP 10.1.0.1 is at 02:00:00:00:00:01 (announcement)": arp(1, []byte{10, 1, 0, 1}, []byte{10, 1, 0, 1}),
		"type 0x88cc": serialize(t, &layers.Ethernet{SrcMAC: eth4.SrcMAC, DstMAC: eth4.DstMAC, EthernetType: 0x88cc}, data),
		"malformed: " + wire.ShortEthernet.String(): {1, 2, 3},
	}
}

func TestLine(t *testing.T) {
	for want, frame := range frames(t) {
		require.Equal(t, want, Line(frame, wire.Ethernet))
	}
}

// Layers have the same names inside a tunnel and without it.
func TestFields(t *testing.T) {
	all := frames(t)
	plain := Fields(all["tcp 192.0.2.1:4000 > 10.9.0.1:80 S"], wire.Ethernet)
	require.Equal(t, Field{"Ethernet", "dst", "02:00:00:00:00:02"}, plain[0])
	require.Contains(t, plain, Field{"IPv4", "ttl", "64"})
	require.Contains(t, plain, Field{"TCP", "flags", "S"})
	for _, kind := range []string{"ipip", "gre", "gue"} {
		fields := Fields(all["10.1.0.1 > 10.2.0.1 "+kind+" [tcp 192.0.2.1:4000 > 10.9.0.1:80 S]"], wire.Ethernet)
		require.Subset(t, fields, plain[3:], kind)
		require.Contains(t, fields, Field{"outer IPv4", "dst", "10.2.0.1"})
	}
	quoting := Fields(all["icmp 192.0.2.9 > 10.9.0.1 fragmentation needed (mtu 1400) about tcp 192.0.2.1:4000 > 10.9.0.1:80"], wire.Ethernet)
	require.Contains(t, quoting, Field{"ICMP", "mtu", "1400"})
	require.Contains(t, quoting, Field{"quoted TCP", "dst port", "80"})
	require.Equal(t, "malformed", Fields(nil, wire.Ethernet)[0].Layer)
}

func TestDiff(t *testing.T) {
	before := []Field{{"IPv4", "ttl", "64"}, {"IPv4", "src", "a"}, {"TCP", "seq", "1"}}
	after := []Field{{"outer IPv4", "ttl", "63"}, {"IPv4", "ttl", "63"}, {"IPv4", "src", "a"}}
	require.Equal(t, []Change{
		{"outer IPv4", "ttl", "", "63"}, {"IPv4", "ttl", "64", "63"}, {"TCP", "seq", "1", ""},
	}, Diff(before, after))
	require.Empty(t, Diff(before, before))
}

// No bytes are too strange to be described.
func FuzzFields(f *testing.F) {
	for _, frame := range frames(f) {
		f.Add(frame, false)
	}
	f.Add([]byte{0x45}, true)
	f.Fuzz(func(t *testing.T, b []byte, bare bool) {
		m := wire.Ethernet
		if bare {
			m = wire.IP
		}
		require.Empty(t, Diff(Fields(b, m), Fields(b, m)))
		require.NotEmpty(t, Line(b, m))
	})
}
