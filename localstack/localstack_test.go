package localstack

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

var (
	cip  = netip.MustParseAddr("198.51.100.7")
	vip  = netip.MustParseAddr("10.9.0.1")
	cip6 = netip.MustParseAddr("2001:db8::77")
	vip6 = netip.MustParseAddr("fd00:9::1")
)

// build makes an Ethernet frame with gopacket.
func build(ls ...gopacket.SerializableLayer) []byte {
	eth := &layers.Ethernet{DstMAC: dirMAC[:], SrcMAC: []byte{2, 0, 0, 0, 0, 0xfe}}
	var network gopacket.NetworkLayer
	for _, l := range ls {
		switch l := l.(type) {
		case *layers.IPv4:
			eth.EthernetType, network = layers.EthernetTypeIPv4, l
		case *layers.IPv6:
			eth.EthernetType, network = layers.EthernetTypeIPv6, l
		case interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}:
			_ = l.SetNetworkLayerForChecksum(network)
		}
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, append([]gopacket.SerializableLayer{eth}, ls...)...); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

func ipv4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: cip.AsSlice(), DstIP: vip.AsSlice()}
}

func echoRequest(n int) []byte {
	return build(ipv4(layers.IPProtocolICMPv4),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 1, Seq: 2},
		gopacket.Payload(bytes.Repeat([]byte{7}, n)))
}

func syn() []byte {
	return build(ipv4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 41000, DstPort: 81, Seq: 1000, SYN: true})
}

func datagram() []byte {
	return build(ipv4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 41000, DstPort: 81}, gopacket.Payload("q"))
}

func TestBareIP(t *testing.T) {
	f := wire.NewFrame(200)
	f.SetBytes(syn()[14:])
	f.Medium, f.Port = wire.IP, 3
	var p wire.Packet
	require.Equal(t, wire.None, p.Parse(f.Bytes(), wire.IP))
	g := wire.NewFrame(200)
	require.Equal(t, ResetSent, New(Options{}).Answer(now, Request{Frame: f, Packet: &p}, g))
	require.Equal(t, wire.IP, g.Medium)
	require.Equal(t, 3, g.Port)
	require.Equal(t, 40, g.Len())
	require.Equal(t, vip, wire.IPv4(g.Bytes()).Src())
}

func TestVLANTagsAreKept(t *testing.T) {
	b := syn()
	tagged := append(append(append([]byte{}, b[:12]...), 0x81, 0, 0, 7), b[12:]...)
	g := wire.NewFrame(200)
	require.Equal(t, ResetSent, New(Options{}).Answer(now, request(t, tagged), g))
	require.Equal(t, []byte{0x81, 0, 0, 7, 8, 0, 0x45}, g.Bytes()[12:19])
}

func TestLargeEcho(t *testing.T) {
	r := request(t, echoRequest(65507))
	small := wire.NewFrame(1514)
	s := New(Options{})
	require.Equal(t, NoRoom, s.Answer(now, r, small))
	g := wire.NewFrame(wire.MaxFrame)
	require.Equal(t, EchoReplied, s.Answer(now, r, g))
	require.Equal(t, 14+65535, g.Len())
	require.Zero(t, wire.Checksum(g.Bytes()[34:]))
	require.Equal(t, bytes.Repeat([]byte{7}, 65507), g.Bytes()[42:])
}

func TestUnfinishedChecksumsAreTrusted(t *testing.T) {
	b := syn()
	b[14+20+16] ^= 0xff
	r := request(t, b)
	s, g := New(Options{}), wire.NewFrame(200)
	require.Equal(t, BadChecksum, s.Answer(now, r, g))
	r.Frame.Partial = true
	require.Equal(t, ResetSent, s.Answer(now, r, g))
	require.False(t, g.Partial, "the answer's checksum is complete")
}

func TestResetOfASuperFrame(t *testing.T) {
	b := build(ipv4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 41000, DstPort: 81, Seq: 0xffffff00},
		gopacket.Payload(make([]byte, 30000)))
	r := request(t, b)
	r.Frame.GSO, r.Frame.GSOSize = wire.GSOTCP4, 1460
	g := wire.NewFrame(200)
	require.Equal(t, ResetSent, New(Options{}).Answer(now, r, g))
	wrapped := uint32(0xffffff00)
	require.Equal(t, wrapped+30000, wire.TCP(g.Bytes()[34:]).Ack())
}

func TestNotAnswered(t *testing.T) {
	from := func(src string) *layers.IPv4 {
		ip := ipv4(layers.IPProtocolUDP)
		ip.SrcIP = netip.MustParseAddr(src).AsSlice()
		return ip
	}
	to := func(dst string) *layers.IPv4 {
		ip := ipv4(layers.IPProtocolUDP)
		ip.DstIP = netip.MustParseAddr(dst).AsSlice()
		return ip
	}
	udp := &layers.UDP{SrcPort: 41000, DstPort: 81}
	cases := []struct {
		name  string
		frame []byte
		want  Outcome
	}{
		{"from 0.0.0.0", build(from("0.0.0.0"), udp), Silent},
		{"from a group", build(from("224.0.0.5"), udp), Silent},
		{"from loopback", build(from("127.0.0.1"), udp), Silent},
		{"from class E", build(from("240.0.0.1"), udp), Silent},
		{"from broadcast", build(from("255.255.255.255"), udp), Silent},
		{"from itself", build(from("10.9.0.1"), udp), Silent},
		{"to a group", build(to("224.0.0.18"), udp), Silent},
		{"to broadcast", build(to("255.255.255.255"), udp), Ineligible},
		{"ARP", append(bytes.Repeat([]byte{2}, 12), 8, 6, 0, 1), Silent},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, New(Options{}).Answer(now, request(t, tc.frame), wire.NewFrame(200)))
		})
	}
}

func TestErrorFieldsByFamily(t *testing.T) {
	v6 := build(&layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP,
		SrcIP: cip6.AsSlice(), DstIP: vip6.AsSlice()}, &layers.UDP{SrcPort: 1, DstPort: 2})
	cases := []struct {
		name   string
		e      Error
		t4, c4 uint8
		w4     uint32
		t6, c6 uint8
		w6     uint32
	}{
		{"net", NetUnreachable(), 3, 0, 0, 1, 0, 0},
		{"host", HostUnreachable(), 3, 1, 0, 1, 3, 0},
		{"protocol", ProtocolUnreachable(), 3, 2, 0, 4, 1, 6},
		{"port", PortUnreachable(), 3, 3, 0, 1, 4, 0},
		{"relayed", Relayed(11, 1), 11, 1, 0, 11, 1, 0},
		{"time", TimeExceeded(), 11, 0, 0, 3, 0, 0},
		{"reassembly", ReassemblyTimeExceeded(), 11, 1, 0, 3, 1, 0},
		{"mtu", FragNeeded(1400), 3, 4, 1400, 2, 0, 1400},
		{"large mtu", FragNeeded(70000), 3, 4, 65535, 2, 0, 70000},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s, g := New(Options{}), wire.NewFrame(200)
			require.Equal(t, ErrorSent, s.Error(now, request(t, datagram()), vip, tc.e, g))
			m := g.Bytes()[34:]
			require.Equal(t, []byte{tc.t4, tc.c4}, m[:2])
			require.Equal(t, tc.w4, uint32(m[4])<<24|uint32(m[5])<<16|uint32(m[6])<<8|uint32(m[7]))
			require.Equal(t, ErrorSent, s.Error(now, request(t, v6), vip6, tc.e, g))
			m = g.Bytes()[54:]
			require.Equal(t, []byte{tc.t6, tc.c6}, m[:2])
			require.Equal(t, tc.w6, uint32(m[4])<<24|uint32(m[5])<<16|uint32(m[6])<<8|uint32(m[7]))
			require.Equal(t, Ineligible, s.Error(now, request(t, v6), vip, tc.e, g), "source of the other family")
			require.Equal(t, Ineligible, s.Error(now, request(t, v6), netip.Addr{}, tc.e, g))
		})
	}
}

func TestTooBigIsToldToGroups(t *testing.T) {
	b := build(&layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP,
		SrcIP: cip6.AsSlice(), DstIP: netip.MustParseAddr("ff0e::1").AsSlice()}, &layers.UDP{SrcPort: 1, DstPort: 2})
	copy(b, []byte{0x33, 0x33, 0, 0, 0, 1})
	s, g := New(Options{}), wire.NewFrame(200)
	require.Equal(t, ErrorSent, s.Error(now, request(t, b), vip6, FragNeeded(1280), g))
	require.Equal(t, Ineligible, s.Error(now, request(t, b), vip6, TimeExceeded(), g))
}

func TestIdentificationsDoNotRepeat(t *testing.T) {
	s := New(Options{Seed: 77})
	seen := make([]bool, 1<<16)
	for range seen {
		id := s.nextID()
		require.False(t, seen[id])
		seen[id] = true
	}
}

func TestAnswersDoNotAllocate(t *testing.T) {
	s, g := New(Options{Limiter: NewLimiter(Limits{PerSecond: 1 << 19, Burst: 1 << 19})}), wire.NewFrame(2000)
	requests := []Request{request(t, echoRequest(64)), request(t, syn()), request(t, datagram())}
	at := now
	require.Zero(t, testing.AllocsPerRun(200, func() {
		at = at.Add(time.Second)
		for _, r := range requests {
			if !s.Answer(at, r, g).Answered() {
				t.Fatal("not answered")
			}
		}
	}))
}

func TestOutcomesHaveNames(t *testing.T) {
	for o := range numOutcomes {
		require.NotEmpty(t, o.String())
	}
}

func TestLimitAppliesToErrorsOnly(t *testing.T) {
	s := New(Options{Limiter: NewLimiter(Limits{Burst: 3})})
	g := wire.NewFrame(200)
	r := request(t, datagram())
	for range 3 {
		require.Equal(t, ErrorSent, s.Answer(now, r, g))
	}
	require.Equal(t, Limited, s.Answer(now, r, g))
	require.Equal(t, ResetSent, s.Answer(now, request(t, syn()), g))
	require.Equal(t, EchoReplied, s.Answer(now, request(t, echoRequest(1)), g))
	require.Equal(t, ErrorSent, s.Error(now, r, vip, FragNeeded(1400), g), "path MTU discovery must work")
	require.Equal(t, Limited, s.Error(now, r, vip, TimeExceeded(), g))
}

func allowed(l *Limiter, at clock.Instant, target netip.Addr, n int) (ok int) {
	for range n {
		if l.Allow(at, target) {
			ok++
		}
	}
	return ok
}

func TestTargetBucket(t *testing.T) {
	l := NewLimiter(Limits{})
	require.Equal(t, 6, allowed(l, now, cip, 40))
	require.Equal(t, 0, allowed(l, now.Add(999*time.Millisecond), cip, 40))
	require.Equal(t, 1, allowed(l, now.Add(time.Second), cip, 40))
	require.Equal(t, 6, allowed(l, now.Add(time.Hour), cip, 40), "never more than the burst")
	require.Equal(t, 6, allowed(l, now, cip6, 40), "targets are apart")
}

func TestCommonBucket(t *testing.T) {
	l := NewLimiter(Limits{PerTarget: time.Nanosecond})
	spray := func(at clock.Instant) (n int) {
		a := cip
		for range 1000 {
			a = a.Next()
			if l.Allow(at, a) {
				n++
			}
		}
		return n
	}
	require.Equal(t, 50, spray(now))
	require.Equal(t, 0, spray(now.Add(19*time.Millisecond)), "refilled every 20 ms")
	require.Equal(t, 21, spray(now.Add(21*time.Millisecond)), "a thousand a second")
	require.Equal(t, 50, spray(now.Add(time.Minute)))
}

func TestLimiterAtTimeZeroAndBackwards(t *testing.T) {
	l := NewLimiter(Limits{})
	require.True(t, l.Allow(0, cip))
	require.True(t, l.Allow(now, cip))
	require.True(t, l.Allow(0, cip6))
	require.True(t, l.Allow(-5, cip6))
}
