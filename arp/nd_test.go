package arp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// nd is a Neighbour Discovery message in parts, to be bent one at a time.
type nd struct {
	ethDst, ethSrc wire.MAC
	src, dst       netip.Addr
	hops           uint8
	kind           uint8
	code           uint8
	flags          uint8
	target         netip.Addr
	opts           layers.ICMPv6Options
}

func (m nd) bytes() []byte {
	ip := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolICMPv6, HopLimit: m.hops,
		SrcIP: m.src.AsSlice(), DstIP: m.dst.AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(m.kind, m.code)}
	eth := &layers.Ethernet{DstMAC: m.ethDst[:], SrcMAC: m.ethSrc[:], EthernetType: layers.EthernetTypeIPv6}
	if m.kind == wire.ICMPv6NeighSol {
		return serialize(eth, ip, icmp, &layers.ICMPv6NeighborSolicitation{
			TargetAddress: m.target.AsSlice(), Options: m.opts})
	}
	return serialize(eth, ip, icmp, &layers.ICMPv6NeighborAdvertisement{
		Flags: m.flags, TargetAddress: m.target.AsSlice(), Options: m.opts})
}

func linkOpt(kind layers.ICMPv6Opt, mac wire.MAC) layers.ICMPv6Options {
	return layers.ICMPv6Options{{Type: kind, Data: mac[:]}}
}

func solicitation() nd {
	return nd{
		ethDst: GroupMAC(SolicitedNode(vip6)), ethSrc: peerMAC, src: rip6, dst: SolicitedNode(vip6),
		hops: 255, kind: wire.ICMPv6NeighSol, target: vip6,
		opts: linkOpt(layers.ICMPv6OptSourceAddress, peerMAC),
	}
}

func advertisement() nd {
	return nd{
		ethDst: ourMAC, ethSrc: peerMAC, src: rip6, dst: dip6, hops: 255, kind: wire.ICMPv6NeighAdv,
		flags: flagSolicited | flagOverride, target: rip6,
		opts: linkOpt(layers.ICMPv6OptTargetAddress, peerMAC),
	}
}

// parseND reads one of our messages with gopacket and checks its checksum by
// serializing it again.
func parseND(t *testing.T, f *wire.Frame) (*layers.Ethernet, *layers.IPv6, gopacket.Packet) {
	t.Helper()
	pkt := gopacket.NewPacket(f.Bytes(), layers.LayerTypeEthernet, gopacket.Default)
	require.Nil(t, pkt.ErrorLayer())
	ip := pkt.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	icmp := pkt.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	sum := icmp.Checksum
	again := *icmp
	require.NoError(t, again.SetNetworkLayerForChecksum(ip))
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true},
		&again, gopacket.Payload(icmp.Payload)))
	require.Equal(t, again.Checksum, sum)
	return pkt.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), ip, pkt
}

func TestAnswersSolicitations(t *testing.T) {
	c, out, _ := newCache(t, Config{Router: true})
	require.True(t, receive(c, start, solicitation().bytes(), out))
	require.Len(t, out.sent, 1)
	eth, ip, pkt := parseND(t, out.sent[0])
	na := pkt.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	require.Equal(t, peerMAC[:], []byte(eth.DstMAC))
	require.Equal(t, ourMAC[:], []byte(eth.SrcMAC))
	require.EqualValues(t, 255, ip.HopLimit)
	require.Equal(t, vip6.AsSlice(), []byte(ip.SrcIP))
	require.Equal(t, rip6.AsSlice(), []byte(ip.DstIP))
	require.EqualValues(t, flagRouter|flagSolicited|flagOverride, na.Flags)
	require.Equal(t, vip6.AsSlice(), []byte(na.TargetAddress))
	require.Equal(t, linkOpt(layers.ICMPv6OptTargetAddress, ourMAC), na.Options)
	require.Equal(t, Stale, state(c, start, rip6), "the asker is learned")
}

func TestAnswersDuplicateAddressDetection(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	dad := solicitation()
	dad.src, dad.opts = netip.IPv6Unspecified(), nil
	require.True(t, receive(c, start, dad.bytes(), out))
	eth, ip, pkt := parseND(t, out.sent[0])
	na := pkt.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	require.Equal(t, "33:33:00:00:00:01", eth.DstMAC.String())
	require.Equal(t, "ff02::1", ip.DstIP.String())
	require.EqualValues(t, flagOverride, na.Flags, "not solicited")
	require.Empty(t, c.Entries(start))
}

func TestAnswersUnicastProbeWithoutOption(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	m := solicitation()
	m.ethDst, m.dst, m.opts = ourMAC, vip6, nil
	require.True(t, receive(c, start, m.bytes(), out))
	eth, _, _ := parseND(t, out.sent[0])
	require.Equal(t, peerMAC[:], []byte(eth.DstMAC), "back to the frame's sender")
}

func TestMalformedNDIsCounted(t *testing.T) {
	fragment := func() []byte {
		b := solicitation().bytes()
		frag := []byte{wire.ProtoICMPv6, 0, 0, 0, 0, 0, 0, 1}
		out := append(append(append([]byte{}, b[:54]...), frag...), b[54:]...)
		out[14+6] = wire.ProtoFragment
		out[14+5] += 8
		return out
	}
	cases := []struct {
		name    string
		frame   []byte
		counter Counter
	}{
		{"through a router", bend(func(m *nd) { m.hops = 254 }), NDHopLimit},
		{"code", bend(func(m *nd) { m.code = 1 }), NDMalformed},
		{"multicast target", bend(func(m *nd) { m.target = allNodes }), NDMalformed},
		{"unspecified target", bend(func(m *nd) { m.target = zero6 }), NDMalformed},
		{"DAD with an option", bend(func(m *nd) { m.src = zero6 }), NDMalformed},
		{"DAD to the wrong group", bend(func(m *nd) { m.src, m.opts, m.dst = zero6, nil, allNodes }), NDMalformed},
		{"option of length 0", func() []byte {
			return corrupt(solicitation().bytes(), 14+40+25, 0)
		}(), NDMalformed},
		{"option beyond the end", corrupt(solicitation().bytes(), 14+40+25, 2), NDMalformed},
		{"multicast MAC in the option", bend(func(m *nd) {
			m.opts = linkOpt(layers.ICMPv6OptSourceAddress, wire.Broadcast)
		}), NDMalformed},
		{"checksum", func() []byte { b := solicitation().bytes(); b[14+40+2] ^= 1; return b }(), NDChecksum},
		{"fragment", fragment(), NDFragment},
		{"solicited to a group", func() []byte {
			m := advertisement()
			m.ethDst, m.dst = GroupMAC(allNodes), allNodes
			return m.bytes()
		}(), NDMalformed},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c, out, _ := newCache(t, Config{})
			require.False(t, receive(c, start, tc.frame, out))
			require.Empty(t, out.sent)
			require.EqualValues(t, 1, c.Count(tc.counter))
		})
	}
}

func bend(how func(*nd)) []byte {
	m := solicitation()
	how(&m)
	return m.bytes()
}

// corrupt sets one byte and repairs the ICMPv6 checksum.
func corrupt(b []byte, at int, v byte) []byte {
	b[at] = v
	b[14+40+2], b[14+40+3] = 0, 0
	ip := wire.IPv6(b[14:])
	putICMPv6Sum(b[14+40:], ip.Src(), ip.Dst())
	return b
}

func TestOwnNDEcho(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	require.True(t, receive(c, start, bend(func(m *nd) {
		m.opts = linkOpt(layers.ICMPv6OptSourceAddress, ourMAC)
	}), out))
	require.Empty(t, out.sent)
	require.EqualValues(t, 1, c.Count(Own))
}

func TestNDConflicts(t *testing.T) {
	claim := advertisement()
	claim.target = vip6
	claim.opts = linkOpt(layers.ICMPv6OptTargetAddress, rivalMAC)
	bare := claim
	bare.opts = nil
	asking := solicitation()
	asking.src, asking.target = vip6, rip6
	cases := []struct {
		name  string
		frame nd
		mac   wire.MAC
	}{
		{"advertisement", claim, rivalMAC},
		{"advertisement without an option", bare, peerMAC},
		{"solicitation from our address", asking, peerMAC},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c, out, _ := newCache(t, Config{})
			require.True(t, receive(c, start, tc.frame.bytes(), out))
			require.Equal(t, []Conflict{{0, vip6, tc.mac}}, out.conflicts)
			require.Empty(t, c.Entries(start))
		})
	}
}

func TestResolvesByND(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	c.Resolve(start, 0, rip6, payload(1), out)
	eth, ip, pkt := parseND(t, out.take()[0])
	ns := pkt.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation)
	require.Equal(t, "33:33:ff:00:00:11", eth.DstMAC.String())
	require.Equal(t, "ff02::1:ff00:11", ip.DstIP.String())
	require.Equal(t, dip6.AsSlice(), []byte(ip.SrcIP))
	require.EqualValues(t, 255, ip.HopLimit)
	require.Equal(t, rip6.AsSlice(), []byte(ns.TargetAddress))
	require.Equal(t, linkOpt(layers.ICMPv6OptSourceAddress, ourMAC), ns.Options)

	bare := advertisement()
	bare.opts = nil
	receive(c, start, bare.bytes(), out)
	require.Equal(t, Incomplete, state(c, start, rip6), "no address, no answer")
	require.False(t, receive(c, start, advertisement().bytes(), out))
	require.Equal(t, []byte{1}, marks(out.take()))
	require.Equal(t, Reachable, state(c, start, rip6))
}

func TestUnicastProbeByND(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	receive(c, start, solicitation().bytes(), out)
	out.take()
	c.Lookup(start, 0, rip6)
	now := start.Add(5 * time.Second)
	c.Tick(now, out)
	eth, ip, _ := parseND(t, out.take()[0])
	require.Equal(t, peerMAC[:], []byte(eth.DstMAC))
	require.Equal(t, rip6.AsSlice(), []byte(ip.DstIP))
	bare := advertisement()
	bare.opts = nil
	receive(c, now, bare.bytes(), out)
	require.Equal(t, Reachable, state(c, now, rip6), "a unicast answer may omit the option")
}

// TestAdvertisementRules walks the table of RFC 4861 section 7.2.5.
func TestAdvertisementRules(t *testing.T) {
	cases := []struct {
		name  string
		flags uint8
		mac   wire.MAC
		state State
		want  wire.MAC
	}{
		{"same MAC, solicited", flagSolicited, peerMAC, Reachable, peerMAC},
		{"same MAC, unsolicited", 0, peerMAC, Reachable, peerMAC},
		{"new MAC, no override", flagSolicited, rivalMAC, Stale, peerMAC},
		{"new MAC, override", flagOverride, rivalMAC, Stale, rivalMAC},
		{"new MAC, override and solicited", flagOverride | flagSolicited, rivalMAC, Reachable, rivalMAC},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c, out, _ := newCache(t, Config{})
			c.Resolve(start, 0, rip6, payload(1), out)
			receive(c, start, advertisement().bytes(), out)
			m := advertisement()
			m.flags, m.opts = tc.flags, linkOpt(layers.ICMPv6OptTargetAddress, tc.mac)
			now := start.Add(2 * time.Second)
			receive(c, now, m.bytes(), out)
			require.Equal(t, tc.state, state(c, now, rip6))
			mac, _ := c.Lookup(now, 0, rip6)
			require.Equal(t, tc.want, mac)
		})
	}
}

func TestUnknownAdvertisersAreNotLearned(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	require.False(t, receive(c, start, advertisement().bytes(), out))
	other := solicitation()
	other.target, other.dst = dip6, SolicitedNode(dip6)
	other.ethDst = GroupMAC(other.dst)
	require.False(t, receive(c, start, other.bytes(), out))
	require.Empty(t, c.Entries(start))
}
