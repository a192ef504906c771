package director

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/arp"
	"usvs/ipvs"
	"usvs/link"
	"usvs/route"
	"usvs/wire"
)

func nothing(*route.Config) {}

// arpRequest is the gateway's question for target.
func arpRequest(target netip.Addr) []byte {
	b := make([]byte, wire.EthernetLen+wire.ARPLen)
	eth := wire.EthernetHeader(b)
	eth.SetDst(wire.Broadcast)
	eth.SetSrc(gwMAC)
	eth.SetType(wire.TypeARP)
	a := b[wire.EthernetLen:]
	copy(a, []byte{0, 1, 8, 0, 6, 4, 0, 1})
	copy(a[8:], gwMAC[:])
	copy(a[14:], []byte{10, 1, 0, 254})
	copy(a[24:], target.AsSlice())
	return b
}

func TestARP(t *testing.T) {
	b := newTestbed(t)
	var heard []arp.Conflict
	b.d.conflict = func(c arp.Conflict) { heard = append(heard, c) }
	f := b.handle(0, arpRequest(vip)).Tx
	require.Len(t, f, 1)
	require.Equal(t, dirMAC0, wire.ARPHeader(f[0].Bytes()[wire.EthernetLen:]).SenderMAC())
	require.Equal(t, Consumed, b.w.seen)
	passes(t, b, b.handle(0, arpRequest(netip.MustParseAddr("10.1.0.1"))))

	claim := arpRequest(vip)
	copy(claim[wire.EthernetLen+14:], vip.AsSlice())
	b.handle(0, claim)
	require.Equal(t, []arp.Conflict{{Port: 0, Addr: vip, MAC: gwMAC}}, heard)
	b.d.conflict = nil
	b.now += 1 << 40
	b.handle(0, claim)
}

func TestNeighbourSolicitation(t *testing.T) {
	b := newTestbed(t)
	gw := netip.MustParseAddr("fd00:1::fe")
	ns := icmp(gw, arp.SolicitedNode(vip6), wire.ICMPv6NeighSol, 0, 0, append(vip6.AsSlice(), 1, 1, 2, 0, 0, 0, 0, 0xfe))
	ns[wire.EthernetLen+7] = 255
	toStation(ns, arp.GroupMAC(arp.SolicitedNode(vip6)))
	p := b.onePacket(b.handle(0, ns).Tx)
	require.Equal(t, byte(wire.ICMPv6NeighAdv), p.Transport()[0])
	require.Equal(t, vip6, p.Src)
}

func TestUnknownNextHopIPv6IsAskedFor(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip6, 80), ipvs.DirectRoute, "[fd00:2::99]:80")
	p := b.onePacket(b.handle(0, segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 0)).Tx)
	require.Equal(t, byte(wire.ICMPv6NeighSol), p.Transport()[0])
	require.Equal(t, "fd00:2::1", p.Src.String())
}

func TestBareIP(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
	b.service(tcpID(vip6, 80), ipvs.DirectRoute, "[fd00:2::11]:80")
	give := func(data []byte) *link.Output {
		f := wire.NewFrame(2000)
		f.SetBytes(data)
		f.Medium, f.Port = wire.IP, 2
		return b.handleFrame(f)
	}
	for _, in := range [][]byte{syn(0), segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 0)} {
		out := give(bare(in))
		require.Equal(t, Forwarded, b.w.seen)
		require.Equal(t, rsMAC, wire.EthernetHeader(out.Tx[0].Bytes()).Dst())
		b.onePacket(out.Tx)
	}
	out := give(bare(icmp(cip, vip, wire.ICMPEcho, 0, 0, nil)))
	b.onePacket(out.Tx)
	require.Equal(t, 2, out.Tx[0].Port, "echo replies go back where the request came from")
	give([]byte{0x99})
	require.Equal(t, DropMalformed, b.w.seen)
	give(bare(udp(ap(dip1, 9), ap(vip, 53), 0)))
	require.Equal(t, Answered, b.w.seen, "the host itself may ask through a TUN device")
}

// Where the route to a client leads by none of our interfaces, errors go back
// to the station that it came by; answers of ours do so always.
func TestErrorsWithoutRouteBack(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute)
	b.network(func(c *route.Config) { c.Routes[0].Kind = route.Foreign })
	f := b.handle(0, syn(0)).Tx
	requireICMP(t, b.onePacket(f), 3, 3)
	require.Equal(t, gwMAC, wire.EthernetHeader(f[0].Bytes()).Dst())
}

func TestFramesOfUnknownPorts(t *testing.T) {
	b := newTestbed(t)
	f := wire.NewFrame(2000)
	f.SetBytes(syn(0))
	f.Port = 9
	passes(t, b, b.handleFrame(f))
	require.Equal(t, NotForUs, b.w.seen)
	l := local{b.d}
	require.Zero(t, l.MAC(9, vip))
	require.Zero(t, l.Source(9, vip))
}

func TestPublishAnnouncesNewAddresses(t *testing.T) {
	b := newTestbed(t)
	b.snap.Owned = AddrsOf(vip, vip6, netip.MustParseAddr("10.9.0.7"))
	b.out.Reset()
	b.w.Tick(b.now, &b.out) // what was announced before
	b.publish()
	require.Equal(t, []netip.Addr{vip, netip.MustParseAddr("10.9.0.7"), vip6}, b.d.Snapshot().Answered())
	b.out.Reset()
	b.w.Tick(b.now, &b.out)
	require.Len(t, b.out.Tx, 2, "on each Ethernet interface")
	require.Equal(t, "10.9.0.7", wire.ARPHeader(b.out.Tx[0].Bytes()[wire.EthernetLen:]).SenderIP().String())
}

func TestObservers(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.1:8080", "10.2.0.11:8080")
	var first, second []Event
	stopFirst := b.d.Observe(func(e *Event) { first = append(first, *e) })
	stopSecond := b.d.Observe(func(e *Event) { second = append(second, *e) })
	b.handle(0, syn(0))
	b.handle(0, segment(ap(cip, 2), ap(vip, 80), wire.FlagSYN, 0))
	stopFirst()
	b.handle(0, arpRequest(vip))
	stopSecond()
	b.handle(0, syn(0))
	require.Len(t, first, 2)
	require.Len(t, second, 3)
	e := first[0]
	require.Equal(t, "10.2.0.11:8080", e.Server)
	require.Equal(t, "Masq", e.Method)
	require.Equal(t, syn(0), e.Before)
	require.Len(t, e.After, 1)
	require.Equal(t, 1, e.After[0].Port)
	require.True(t, first[1].After[0].Host)
	require.Equal(t, Consumed, second[2].Reason)
	require.Empty(t, second[2].Server)

	text, err := json.Marshal(e)
	require.NoError(t, err)
	var back Event
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, e, back)
	require.Error(t, new(Reason).UnmarshalText([]byte("nonsense")))
}

func TestEveryReasonHasAName(t *testing.T) {
	seen := map[string]bool{}
	for r := range reasons {
		require.NotEmpty(t, r.String())
		require.False(t, seen[r.String()])
		seen[r.String()] = true
	}
	require.False(t, Waiting.Dropped())
	require.True(t, DropMartian.Dropped())
}
