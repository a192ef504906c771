package arp

import (
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
	ourMAC   = wire.MAC{2, 0, 0, 0, 0, 1}
	otherMAC = wire.MAC{2, 0, 0, 0, 0, 2} // our second port
	peerMAC  = wire.MAC{2, 0, 10, 1, 0, 11}
	rivalMAC = wire.MAC{2, 0, 10, 1, 0, 99}

	vip   = netip.MustParseAddr("10.9.0.1")
	dip   = netip.MustParseAddr("10.1.0.1")
	rip   = netip.MustParseAddr("10.1.0.11")
	vip6  = netip.MustParseAddr("fd00:9::1")
	dip6  = netip.MustParseAddr("fd00:1::1")
	link6 = netip.MustParseAddr("fe80::1")
	rip6  = netip.MustParseAddr("fd00:1::11")
)

// hostVIP is served by the director and carried by its host.
var hostVIP = netip.MustParseAddr("10.1.0.200")

const start = clock.Instant(time.Hour)

// host is a Local that owns a set of addresses on port 0 and 1.
type host struct {
	owned   map[netip.Addr]bool
	bare    bool // no source addresses
	elected bool
}

func (h *host) Owned(port int, a netip.Addr) bool { return port < 2 && h.owned[a] }
func (h *host) Claims(port int, a netip.Addr) bool {
	return h.Owned(port, a) || a == hostVIP
}
func (h *host) Elected(netip.Addr) bool { return h.elected }
func (h *host) Ours(m wire.MAC) bool    { return m == ourMAC || m == otherMAC }
func (h *host) MAC(port int, _ netip.Addr) wire.MAC {
	if port == 1 {
		return otherMAC
	}
	return ourMAC
}
func (h *host) Source(_ int, target netip.Addr) netip.Addr {
	switch {
	case h.bare:
		return netip.Addr{}
	case target.IsMulticast():
		return link6
	case target.Is4():
		return dip
	}
	return dip6
}

// sink records what came out.
type sink struct {
	sent        []*wire.Frame
	unreachable [][]byte
	conflicts   []Conflict
	full        bool
}

func (s *sink) New() *wire.Frame {
	if s.full {
		return nil
	}
	return wire.NewFrame(2048)
}
func (s *sink) Send(f *wire.Frame) { s.sent = append(s.sent, f) }
func (s *sink) Unreachable(f *wire.Frame) {
	s.unreachable = append(s.unreachable, append([]byte(nil), f.Bytes()...))
}
func (s *sink) Conflict(c Conflict) { s.conflicts = append(s.conflicts, c) }

// take returns the frames sent since the last call.
func (s *sink) take() []*wire.Frame {
	t := s.sent
	s.sent = nil
	return t
}

func newCache(t *testing.T, cfg Config) (*Cache, *sink, *host) {
	t.Helper()
	h := &host{owned: map[netip.Addr]bool{vip: true, vip6: true}}
	return New(cfg, h), new(sink), h
}

// receive feeds raw bytes to the cache as port 0 would.
func receive(c *Cache, now clock.Instant, raw []byte, out Sink) bool {
	f := wire.NewFrame(max(len(raw), 64))
	f.SetBytes(raw)
	var p wire.Packet
	if p.Parse(f.Bytes(), wire.Ethernet) != wire.None {
		return false
	}
	return c.Handle(now, f, &p, out)
}

// serialize builds a frame with gopacket, which knows nothing of our wire.
func serialize(ls ...gopacket.SerializableLayer) []byte {
	for i, l := range ls {
		if icmp, ok := l.(*layers.ICMPv6); ok {
			for _, ip := range ls[:i] {
				if ip, ok := ip.(*layers.IPv6); ok {
					_ = icmp.SetNetworkLayerForChecksum(ip)
				}
			}
		}
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, ls...); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

type arpFrame struct {
	op       uint16
	dst, src wire.MAC
	sha, tha wire.MAC
	spa, tpa netip.Addr
}

func (a arpFrame) bytes() []byte {
	if a.src.IsZero() {
		a.src = a.sha
	}
	spa, tpa := a.spa.As4(), a.tpa.As4()
	return serialize(
		&layers.Ethernet{DstMAC: a.dst[:], SrcMAC: a.src[:], EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4,
			HwAddressSize: 6, ProtAddressSize: 4, Operation: a.op,
			SourceHwAddress: a.sha[:], SourceProtAddress: spa[:],
			DstHwAddress: a.tha[:], DstProtAddress: tpa[:],
		})
}

func request(mac wire.MAC, from, to netip.Addr) []byte {
	return arpFrame{op: opRequest, dst: wire.Broadcast, sha: mac, spa: from, tpa: to}.bytes()
}

func reply(mac wire.MAC, from, to netip.Addr) []byte {
	return arpFrame{op: opReply, dst: ourMAC, sha: mac, spa: from, tha: ourMAC, tpa: to}.bytes()
}

// parseARP reads a frame of ours with gopacket.
func parseARP(t *testing.T, f *wire.Frame) (*layers.Ethernet, *layers.ARP) {
	t.Helper()
	pkt := gopacket.NewPacket(f.Bytes(), layers.LayerTypeEthernet, gopacket.Default)
	require.Nil(t, pkt.ErrorLayer())
	a, ok := pkt.Layer(layers.LayerTypeARP).(*layers.ARP)
	require.True(t, ok, "not ARP: %v", pkt)
	return pkt.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), a
}

func TestAnswersARPForOwnedOnly(t *testing.T) {
	zero := netip.IPv4Unspecified()
	unicast := arpFrame{op: opRequest, dst: ourMAC, sha: peerMAC, spa: rip, tha: ourMAC, tpa: vip}
	stranger := unicast
	stranger.dst = rivalMAC
	cases := []struct {
		name     string
		frame    []byte
		answered bool
		consumed bool
		counter  Counter
	}{
		{"broadcast request", request(peerMAC, rip, vip), true, true, RepliesSent},
		{"unicast probe of the cache", unicast.bytes(), true, true, RepliesSent},
		{"address probe from 0.0.0.0", request(peerMAC, zero, vip), true, true, RepliesSent},
		{"somebody else's address", request(peerMAC, rip, dip), false, false, -1},
		{"to another station's MAC", stranger.bytes(), false, false, NotForUs},
		{"our own echo", request(ourMAC, dip, vip), false, true, Own},
		{"our own echo from the other port", request(otherMAC, dip, vip), false, true, Own},
		{"our MAC as sender in a foreign frame", arpFrame{op: opRequest, dst: wire.Broadcast,
			src: peerMAC, sha: ourMAC, spa: rip, tpa: vip}.bytes(), false, true, Own},
		{"reverse ARP", arpFrame{op: 3, dst: wire.Broadcast, sha: peerMAC, spa: rip, tpa: vip}.bytes(), false, false, ARPBadOp},
		{"multicast sender MAC", arpFrame{op: opRequest, dst: wire.Broadcast, src: peerMAC,
			sha: wire.Broadcast, spa: rip, tpa: vip}.bytes(), false, false, ARPBadSender},
		{"zero sender MAC", arpFrame{op: opRequest, dst: wire.Broadcast, src: peerMAC,
			spa: rip, tpa: vip}.bytes(), false, false, ARPBadSender},
		{"multicast sender address", request(peerMAC, netip.MustParseAddr("224.0.0.1"), vip), false, false, ARPBadSender},
		{"loopback sender address", request(peerMAC, netip.MustParseAddr("127.0.0.1"), vip), false, false, ARPBadSender},
		{"truncated", request(peerMAC, rip, vip)[:14+27], false, false, ARPMalformed},
		{"hardware type 6", func() []byte { b := request(peerMAC, rip, vip); b[15] = 6; return b }(), false, false, ARPMalformed},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c, out, _ := newCache(t, Config{})
			require.Equal(t, tc.consumed, receive(c, start, tc.frame, out))
			require.Equal(t, tc.answered, len(out.sent) == 1)
			if tc.counter >= 0 {
				require.EqualValues(t, 1, c.Count(tc.counter), tc.counter)
			}
		})
	}
}

func TestARPReplyContents(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	require.True(t, receive(c, start, request(peerMAC, rip, vip), out))
	eth, a := parseARP(t, out.sent[0])
	require.Equal(t, peerMAC[:], []byte(eth.DstMAC))
	require.Equal(t, ourMAC[:], []byte(eth.SrcMAC))
	require.EqualValues(t, layers.ARPReply, a.Operation)
	require.Equal(t, ourMAC[:], a.SourceHwAddress)
	require.Equal(t, vip.AsSlice(), a.SourceProtAddress)
	require.Equal(t, peerMAC[:], a.DstHwAddress)
	require.Equal(t, rip.AsSlice(), a.DstProtAddress)
	require.Equal(t, 42, out.sent[0].Len())
}

func TestTaggedFramesBelongToAnotherNetwork(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	b := request(peerMAC, rip, vip)
	tagged := append(append(append([]byte{}, b[:12]...), 0x81, 0, 0, 7), b[12:]...)
	require.False(t, receive(c, start, tagged, out))
	require.Empty(t, out.sent)
	require.EqualValues(t, 1, c.Count(Tagged))
}

func TestBareIPFramesAreIgnored(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	f := wire.NewFrame(100)
	f.Medium = wire.IP
	require.False(t, c.Handle(start, f, &wire.Packet{EtherType: wire.TypeARP}, out))
}

func TestConflictsAreReportedNotLearned(t *testing.T) {
	garp := request(rivalMAC, vip, vip)
	cases := map[string][]byte{
		"gratuitous request": garp,
		"gratuitous reply":   arpFrame{op: opReply, dst: wire.Broadcast, sha: rivalMAC, spa: vip, tha: rivalMAC, tpa: vip}.bytes(),
		"reply to us":        reply(rivalMAC, vip, dip),
		"request from VIP":   request(rivalMAC, vip, rip),
	}
	for name, frame := range cases {
		t.Run(name, func(t *testing.T) {
			c, out, _ := newCache(t, Config{})
			require.True(t, receive(c, start, frame, out))
			require.Equal(t, []Conflict{{0, vip, rivalMAC}}, out.conflicts)
			require.Empty(t, out.sent)
			require.Empty(t, c.Entries(start))
		})
	}
	t.Run("an address the host carries", func(t *testing.T) {
		c, out, _ := newCache(t, Config{})
		require.False(t, receive(c, start, request(rivalMAC, hostVIP, hostVIP), out), "the host's stack is concerned too")
		require.Equal(t, []Conflict{{0, hostVIP, rivalMAC}}, out.conflicts)
		require.Empty(t, out.sent)
		require.Empty(t, c.Entries(start))
	})
	t.Run("not too often", func(t *testing.T) {
		c, out, _ := newCache(t, Config{})
		for i := range 100 {
			receive(c, start.Add(time.Duration(i)*100*time.Millisecond), garp, out)
		}
		require.Len(t, out.conflicts, 2) // 10 s, one in 5 s
		require.EqualValues(t, 100, c.Count(Conflicts))
	})
}

func TestEveryCounterHasAName(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Counters() {
		require.NotEmpty(t, k.String())
		require.False(t, seen[k.String()], "%q twice", k)
		seen[k.String()] = true
	}
}
