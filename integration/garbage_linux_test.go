package integration

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

const (
	garbageSeed   = 20260
	garbageFrames = 30_000
	jumboMTU      = 9000
)

// Frames of every kind of wrong are dropped and counted by name; traffic goes on.
func TestGarbage(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl")
	for _, m := range bulkModes {
		t.Run(m.name, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { testGarbage(t, lab, &m) })
		})
	}
}

func testGarbage(t *testing.T, lab *netnstest.Lab, m *bulkMode) {
	s := m.site(t, lab)
	s.jumbo()
	if m.prepare != "" {
		s.realServersUp(m.vip, m.prepare)
	}
	for _, rs := range s.servers {
		startNginx(t, rs, 80)
	}
	d := startDirector(t, s.director, m.interfaces)
	m.service(d, 80, "-s rr")
	d.ipvsadm("-A -t [2001:db8::80]:80 -s sh", "-A -u "+m.vip+":53 -s mh", "-A --sctp-service "+m.vip+":9 -s wlc")
	d.ipvsadm("-a -u "+m.vip+":53 -r "+m.servers[0]+" "+m.flag, "-a --sctp-service "+m.vip+":9 -r "+m.servers[0]+" "+m.flag)
	browse(t, s.client, m.vip, 4)

	g := newGarbage(t, s, m)
	send := openRaw(t, s.client, "eth0")
	sent := 0
	for range garbageFrames {
		if send(g.frame()) {
			sent++
		}
	}
	assert.Greater(t, sent, garbageFrames/2)
	// A frame sent behind all of it has been handled when it is answered.
	assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, shares(browse(t, s.client, m.vip, 8)))
	assert.False(t, d.ended(), d.proc.Output())
	d.ipvsadm("-Lnc")

	status := d.status()
	frames := status["frames"]
	for _, reason := range []string{"drop_malformed", "vlan_tagged", "passed", "answered"} {
		assert.Positive(t, frames[reason], reason)
	}
	malformed := uint64(0)
	for name, n := range frames {
		if strings.HasPrefix(name, "malformed: ") {
			malformed += n
		}
	}
	assert.Equal(t, frames["drop_malformed"], malformed, "every malformed frame has its kind counted")
	nic := status["interface eth0"] // a slow machine may not keep up, but knows what it lost
	assert.GreaterOrEqual(t, nic["rx frames"]+nic["drop overrun"], uint64(sent/2))
}

// jumbo lets long frames reach the director.
func (s *site) jumbo() {
	s.t.Helper()
	links, err := s.plug.Netlink().LinkList()
	require.NoError(s.t, err)
	for _, l := range links {
		if l.Attrs().Name != "lo" {
			s.plug.SetMTU(l.Attrs().Name, jumboMTU)
		}
	}
	s.client.SetMTU("eth0", jumboMTU)
	s.director.SetMTU("eth0", jumboMTU)
}

// openRaw opens a packet socket and returns a function that sends frames and
// reports whether the kernel took them.
func openRaw(t *testing.T, ns *netnstest.Namespace, dev string) func([]byte) bool {
	t.Helper()
	var fd int
	var err error
	ns.Do(func() { fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) })
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	to := &unix.SockaddrLinklayer{Protocol: unix.ETH_P_ALL << 8, Ifindex: ns.Link(dev).Attrs().Index}
	require.NoError(t, unix.Bind(fd, to))
	return func(frame []byte) bool { return unix.Sendto(fd, frame, 0, to) == nil }
}

// garbage makes frames: right ones, and those with something wrong in them.
type garbage struct {
	rng   *rand.Rand
	seeds [][]byte
	dst   net.HardwareAddr
}

func newGarbage(t *testing.T, s *site, m *bulkMode) *garbage {
	t.Helper()
	t.Logf("seed %d", garbageSeed)
	g := &garbage{rng: rand.New(rand.NewPCG(garbageSeed, 0))}
	dst, src := s.director.MAC("eth0"), s.client.MAC("eth0")
	g.dst = dst[:]
	g.seeds = seedFrames(t, src[:], dst[:], netip.MustParseAddr(clientOf(m)), netip.MustParseAddr(m.vip), netip.MustParseAddr(m.servers[0]))
	return g
}

// frame is the next one.
func (g *garbage) frame() []byte {
	f := append([]byte(nil), g.seeds[g.rng.IntN(len(g.seeds))]...)
	switch g.rng.IntN(8) {
	case 0: // as it is
	case 1: // cut off
		f = f[:14+g.rng.IntN(len(f)-13)]
	case 2: // nothing but noise behind the header
		f = append(f[:14], g.noise(g.rng.IntN(200))...)
	case 3: // longer than it says
		f = append(f, g.noise(g.rng.IntN(jumboMTU-1500))...)
	case 4: // long, and says so
		f = g.lengthen(f)
	case 5: // another type
		binary.BigEndian.PutUint16(f[12:], []uint16{0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x0005, uint16(g.rng.Uint32())}[g.rng.IntN(7)])
	case 6: // to somebody else
		copy(f, g.noise(6))
		f[0] &^= 1
	default: // a few bytes wrong
		for range 1 + g.rng.IntN(6) {
			f[14+g.rng.IntN(len(f)-14)] = byte(g.rng.Uint32())
		}
	}
	return f
}

func (g *garbage) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.rng.Uint32())
	}
	return b
}

// lengthen makes a datagram nearly as long as the interface can take.
func (g *garbage) lengthen(f []byte) []byte {
	if f[12] != 0x08 || f[13] != 0 || len(f) < 34 {
		return f
	}
	f = append(f, g.noise(jumboMTU+14-len(f)-g.rng.IntN(100))...)
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	f[24], f[25] = 0, 0
	var sum uint32
	for i := 14; i < 14+int(f[14]&15)*4; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(f[24:], ^uint16(sum))
	return f
}

// seedFrames are correct frames of every kind a director looks into.
func seedFrames(t *testing.T, src, dst net.HardwareAddr, cip, vip, rip netip.Addr) (list [][]byte) {
	t.Helper()
	eth := func(typ layers.EthernetType) *layers.Ethernet {
		return &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: typ}
	}
	ip4 := func(proto layers.IPProtocol, from, to netip.Addr) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: from.AsSlice(), DstIP: to.AsSlice(), Id: 7}
	}
	ip6 := func(next layers.IPProtocol) *layers.IPv6 {
		return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next,
			SrcIP: net.ParseIP("2001:db8::2"), DstIP: net.ParseIP("2001:db8::80")}
	}
	add := func(parts ...gopacket.SerializableLayer) {
		t.Helper()
		buf := gopacket.NewSerializeBuffer()
		require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...))
		list = append(list, append([]byte(nil), buf.Bytes()...))
	}
	text := gopacket.Payload("GET / HTTP/1.0\r\n\r\n and something behind it, to have a payload worth cutting")

	for _, flags := range []layers.TCP{{SYN: true}, {SYN: true, ACK: true}, {ACK: true, PSH: true}, {FIN: true, ACK: true}, {RST: true}, {}} {
		for _, to := range []netip.Addr{vip, rip} {
			ip, tcp := ip4(layers.IPProtocolTCP, cip, to), flags
			tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Window = 40000, 80, 1, 1000
			tcp.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}}}
			require.NoError(t, tcp.SetNetworkLayerForChecksum(ip))
			add(eth(layers.EthernetTypeIPv4), ip, &tcp, text)
		}
	}
	tcp6, net6 := &layers.TCP{SrcPort: 40000, DstPort: 80, SYN: true}, ip6(layers.IPProtocolTCP)
	require.NoError(t, tcp6.SetNetworkLayerForChecksum(net6))
	add(eth(layers.EthernetTypeIPv6), net6, tcp6, text)
	net4 := ip4(layers.IPProtocolUDP, cip, vip)
	udp := &layers.UDP{SrcPort: 40000, DstPort: 53}
	require.NoError(t, udp.SetNetworkLayerForChecksum(net4))
	add(eth(layers.EthernetTypeIPv4), net4, udp, text)
	for _, offset := range []uint16{0, 3, 100, 8189} { // fragments that fit together, and that do not
		for _, more := range []layers.IPv4Flag{0, layers.IPv4MoreFragments} {
			frag := ip4(layers.IPProtocolUDP, cip, vip)
			frag.FragOffset, frag.Flags = offset, more
			add(eth(layers.EthernetTypeIPv4), frag, text[:48])
		}
	}
	add(eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolSCTP, cip, vip),
		&layers.SCTP{SrcPort: 40000, DstPort: 9}, gopacket.Payload{1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 255, 255, 0, 1, 0, 1, 0, 0, 0, 1})
	for _, typ := range []layers.ICMPv4TypeCode{
		layers.CreateICMPv4TypeCode(8, 0), layers.CreateICMPv4TypeCode(3, 4), layers.CreateICMPv4TypeCode(11, 0), layers.CreateICMPv4TypeCode(5, 1),
	} {
		add(eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolICMPv4, cip, vip), &layers.ICMPv4{TypeCode: typ, Seq: 1}, gopacket.Payload(list[0][14:60]))
	}
	add(eth(layers.EthernetTypeIPv4), ip4(layers.IPProtocolIPv4, cip, vip), gopacket.Payload(list[0][14:]))
	for _, op := range []uint16{layers.ARPRequest, layers.ARPReply} {
		add(eth(layers.EthernetTypeARP), &layers.ARP{AddrType: 1, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
			SourceHwAddress: src, SourceProtAddress: cip.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: vip.AsSlice()})
	}
	for _, typ := range []uint8{1, 2, 3, 128, 130, 135, 136, 143} {
		icmp, net6 := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, 0)}, ip6(layers.IPProtocolICMPv6)
		net6.HopLimit = 255
		require.NoError(t, icmp.SetNetworkLayerForChecksum(net6))
		add(eth(layers.EthernetTypeIPv6), net6, icmp, text)
	}
	add(eth(layers.EthernetTypeIPv6), ip6(layers.IPProtocolIPv6Fragment), gopacket.Payload{6, 0, 0, 1, 0, 0, 0, 1}, text[:48])
	add(eth(layers.EthernetTypeIPv6), ip6(layers.IPProtocolIPv6HopByHop), gopacket.Payload{6, 0, 1, 4, 0, 0, 0, 0}, text[:48])
	add(eth(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4}, ip4(layers.IPProtocolICMPv4, cip, vip), text)
	return list
}
