package wire

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// FuzzParse: no frame panics; what is accepted has its parts in order; and
// where gopacket reads the same headers, it reads the same in them.
func FuzzParse(f *testing.F) {
	f.Add(tcp4(), false)
	f.Add(tcp6(), false)
	f.Add(tcp4()[14:], true)
	udp := ip4(layers.IPProtocolUDP)
	udp.Flags, udp.FragOffset = layers.IPv4MoreFragments, 0
	f.Add(serialize(ethernet(layers.EthernetTypeIPv4), udp, gopacket.Payload("01234567")), false)
	f.Add(serialize(ethernet(layers.EthernetTypeIPv6), ip6(ProtoHopByHop),
		gopacket.Payload([]byte{ProtoFragment, 0, 1, 4, 0, 0, 0, 0, ProtoUDP, 0, 0, 1, 0, 0, 0, 9, 0, 53, 0, 54, 0, 8, 0, 0})), false)
	f.Add(serialize(ethernet(layers.EthernetTypeIPv6), ip6(ProtoDstOpts),
		gopacket.Payload([]byte{ProtoSCTP, 0, 1, 4, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0})), false)
	f.Fuzz(func(t *testing.T, b []byte, bare bool) {
		medium := Ethernet
		if bare {
			medium = IP
		}
		repair(b, medium)
		var p Packet
		for _, version := range []uint8{4, 6} {
			if p.ParseQuoted(b, version) == None {
				checkPacket(t, &p)
			}
		}
		if p.Parse(b, medium) != None || p.Version == 0 {
			return
		}
		checkPacket(t, &p)
		compare(t, &p)
	})
}

// repair makes the IPv4 header checksum right, which chance seldom does.
func repair(b []byte, medium Medium) {
	if medium == Ethernet {
		if len(b) < 34 || EthernetHeader(b).Type() != TypeIPv4 {
			return
		}
		b = b[14:]
	}
	if len(b) >= 20 && b[0]>>4 == 4 {
		if h := IPv4(b); h.HeaderLen() >= 20 && h.HeaderLen() <= len(b) {
			h.UpdateChecksum()
		}
	}
}

func checkPacket(t *testing.T, p *Packet) {
	minimum := IPv4Len
	if p.Version == 6 {
		minimum = IPv6Len
	}
	if p.L3 < 0 || p.L4 < p.L3+minimum || p.End < p.L4 || p.End > len(p.Data) {
		t.Fatalf("%x: L3 %d, L4 %d, end %d of %d", p.Data, p.L3, p.L4, p.End, len(p.Data))
	}
	if p.Full && !p.Ports && p.Proto != ProtoICMP && p.Proto != ProtoICMPv6 {
		t.Fatalf("%x: a full header without ports", p.Data)
	}
	if p.FragOffset != 0 && (p.Ports || p.Full || !p.Fragment) {
		t.Fatalf("%x: a later fragment with a transport header", p.Data)
	}
	p.IsICMPError()
	_ = p.Transport()
}

// compare has gopacket read the packet at the place where we found it.
func compare(t *testing.T, p *Packet) {
	first := gopacket.Decoder(layers.LayerTypeIPv4)
	if p.Version == 6 {
		first = layers.LayerTypeIPv6
	}
	pkt := gopacket.NewPacket(p.Data[p.L3:], first, gopacket.Default)
	fail := func(what string, theirs, ours any) {
		t.Fatalf("%x: %s: gopacket %v, we %v", p.Data, what, theirs, ours)
	}
	var src, dst []byte
	if ip, ok := pkt.NetworkLayer().(*layers.IPv4); ok && p.Version == 4 {
		src, dst = ip.SrcIP, ip.DstIP
		if uint8(ip.Protocol) != p.Proto || ip.TTL != p.TTL || int(ip.FragOffset)*8 != p.FragOffset || uint32(ip.Id) != p.FragID {
			fail("IPv4 header", ip, *p)
		}
		if more := ip.Flags&layers.IPv4MoreFragments != 0; more != p.MoreFrags {
			fail("more fragments", more, p.MoreFrags)
		}
	}
	if ip, ok := pkt.NetworkLayer().(*layers.IPv6); ok && p.Version == 6 {
		src, dst = ip.SrcIP, ip.DstIP
		if ip.HopLimit != p.TTL {
			fail("hop limit", ip.HopLimit, p.TTL)
		}
	}
	if src == nil {
		return // gopacket is stricter, for instance about options
	}
	if s, _ := netip.AddrFromSlice(src); s != p.Src {
		fail("source", s, p.Src)
	}
	if d, _ := netip.AddrFromSlice(dst); d != p.Dst {
		fail("destination", d, p.Dst)
	}
	compareTransport(t, p, pkt)
}

func compareTransport(t *testing.T, p *Packet, pkt gopacket.Packet) {
	l := pkt.TransportLayer()
	if l == nil || p.Fragment || len(l.TransportFlow().Src().Raw()) != 2 {
		return // a TCP header with bad options is left empty by gopacket
	}
	proto := map[gopacket.LayerType]uint8{
		layers.LayerTypeTCP: ProtoTCP, layers.LayerTypeUDP: ProtoUDP, layers.LayerTypeSCTP: ProtoSCTP,
	}[l.LayerType()]
	// Behind a hop-by-hop header gopacket reads on beyond the packet's end.
	if proto == 0 || carriesAnother(pkt) || p.End-p.L4 < 4 {
		return
	}
	if p.Proto != proto || !p.Ports {
		t.Fatalf("%x: gopacket found %v, we protocol %d", p.Data, l.LayerType(), p.Proto)
	}
	flow := l.TransportFlow()
	s, d := binary.BigEndian.Uint16(flow.Src().Raw()), binary.BigEndian.Uint16(flow.Dst().Raw())
	if s != p.SrcPort || d != p.DstPort {
		t.Fatalf("%x: gopacket read ports %d and %d, we %d and %d", p.Data, s, d, p.SrcPort, p.DstPort)
	}
}

// carriesAnother reports whether gopacket went on into a packet inside the
// packet, or over a header that ends the walk for us: then its transport is
// not ours.
func carriesAnother(pkt gopacket.Packet) bool {
	networks := 0
	for _, l := range pkt.Layers() {
		switch l.LayerType() {
		case layers.LayerTypeIPv4, layers.LayerTypeIPv6:
			networks++
		case layers.LayerTypeIPSecAH, layers.LayerTypeIPSecESP, layers.LayerTypeGRE,
			layers.LayerTypeEtherIP, layers.LayerTypeMPLS:
			return true
		}
	}
	return networks != 1
}

// FuzzSum compares the checksum with its model at any length and start.
func FuzzSum(f *testing.F) {
	f.Add([]byte{}, uint64(0))
	f.Add([]byte{1, 2, 3}, ^uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, start uint64) {
		if got, want := Fold(Sum(b, start)), slowSum(b, Fold(start)); got != want {
			t.Fatalf("%x after %#x: %#x, not %#x", b, start, got, want)
		}
	})
}
