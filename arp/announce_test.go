package arp

import (
	"encoding/hex"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

func TestAnnounceIPv4(t *testing.T) {
	c, out, _ := newCache(t, Config{AnnounceCount: 3, AnnounceInterval: 2 * time.Second})
	c.Announce(start, 0, vip)
	require.Equal(t, start, c.Deadline(), "at once")
	var times []time.Duration
	for at := start; at != clock.Never; {
		next := c.Tick(at, out)
		for _, f := range out.take() {
			times = append(times, at.Sub(start))
			eth, a := parseARP(t, f)
			require.Equal(t, wire.Broadcast[:], []byte(eth.DstMAC))
			require.EqualValues(t, layers.ARPRequest, a.Operation)
			require.Equal(t, ourMAC[:], a.SourceHwAddress)
			require.Equal(t, vip.AsSlice(), a.SourceProtAddress)
			require.Equal(t, make([]byte, 6), a.DstHwAddress)
			require.Equal(t, vip.AsSlice(), a.DstProtAddress)
		}
		at = next
	}
	require.EqualValues(t, 3, c.Count(Announcements))
	require.Equal(t, []time.Duration{0, 2 * time.Second, 4 * time.Second}, times)
}

func TestAnnouncementTimes(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	c.Announce(start, 0, vip)
	next := c.Tick(start, out)
	require.Len(t, out.take(), 1)
	require.Equal(t, start.Add(time.Second), next)
	next = c.Tick(next, out)
	require.Len(t, out.take(), 1)
	require.Equal(t, clock.Never, next, "two, a second apart")
}

func TestAnnounceIPv6(t *testing.T) {
	c, out, _ := newCache(t, Config{})
	c.Announce(start, 0, vip6)
	c.Tick(start, out)
	sent := out.take()
	require.Len(t, sent, 2)

	// Recorded from a Linux host of these addresses that joined ff02::1:ff00:1.
	want, err := hex.DecodeString("333300000016" + "020000000001" + "86dd" +
		"60000000" + "0024" + "00" + "01" +
		"fe800000000000000000000000000001" + "ff020000000000000000000000000016" +
		"3a00050200000100" +
		"8f00" + "7107" + "00000001" + "04000000" + "ff0200000000000000000001ff000001")
	require.NoError(t, err)
	require.Equal(t, want, sent[0].Bytes())

	eth, ip, pkt := parseND(t, sent[1])
	na := pkt.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	require.Equal(t, "33:33:00:00:00:01", eth.DstMAC.String())
	require.Equal(t, "ff02::1", ip.DstIP.String())
	require.Equal(t, vip6.AsSlice(), []byte(ip.SrcIP))
	require.EqualValues(t, flagOverride, na.Flags)
	require.Equal(t, linkOpt(layers.ICMPv6OptTargetAddress, ourMAC), na.Options)
}

func TestReportWithoutLinkLocalAddress(t *testing.T) {
	c, out, h := newCache(t, Config{})
	h.bare = true
	c.Announce(start, 0, vip6)
	c.Tick(start, out)
	require.Equal(t, zero6, wire.IPv6(out.sent[0].Bytes()[14:]).Src())
}

func TestAnnouncementEndsWithOwnership(t *testing.T) {
	c, out, h := newCache(t, Config{})
	c.Announce(start, 0, vip)
	c.Tick(start, out)
	require.Len(t, out.take(), 1)
	delete(h.owned, vip)
	require.Equal(t, clock.Never, c.Tick(start.Add(time.Second), out))
	require.Empty(t, out.take())
}

func TestManyAnnouncementsComeInBurstsAndOrder(t *testing.T) {
	const n = 1000
	c, out, h := newCache(t, Config{AnnounceCount: 1})
	var want []netip.Addr
	for a := netip.MustParseAddr("10.9.1.0"); len(want) < n; a = a.Next() {
		h.owned[a] = true
		want = append(want, a)
		c.Announce(start, 0, a)
	}
	var got []netip.Addr
	at := start
	for at != clock.Never {
		next := c.Tick(at, out)
		sent := out.take()
		require.LessOrEqual(t, len(sent), burst)
		for _, f := range sent {
			got = append(got, wire.ARPHeader(f.Bytes()[14:]).SenderIP())
		}
		require.Greater(t, next, at)
		at = next
	}
	require.Equal(t, want, got)
}

func TestAnnouncementWaitsForFrames(t *testing.T) {
	c, out, _ := newCache(t, Config{AnnounceCount: 1})
	c.Announce(start, 0, vip)
	out.full = true
	next := c.Tick(start, out)
	require.Equal(t, start.Add(burstGap), next)
	out.full = false
	c.Tick(next, out)
	require.Len(t, out.take(), 1)
}

// query is an MLDv2 general query (RFC 3810 section 5.1), answer within 2 s.
func query(group netip.Addr, src netip.Addr, hops uint8) []byte {
	g := group.As16()
	m := append([]byte{typeMLDQuery, 0, 0, 0, 0x07, 0xd0, 0, 0}, g[:]...)
	m = append(m, 2, 125, 0, 0)
	dst := allNodes
	putICMPv6Sum(m, src, dst)
	b := make([]byte, 14+40+8)
	eth := wire.EthernetHeader(b)
	eth.SetDst(GroupMAC(dst))
	eth.SetSrc(peerMAC)
	eth.SetType(wire.TypeIPv6)
	copy(b[14+40:], []byte{wire.ProtoICMPv6, 0, 5, 2, 0, 0, 1, 0})
	b = append(b, m...)
	putIPv6(b[14:], wire.ProtoHopByHop, hops, src, dst)
	return b
}

func TestAnswersMLDQueries(t *testing.T) {
	router := netip.MustParseAddr("fe80::fe")
	c, out, h := newCache(t, Config{AnnounceCount: 1})
	gone := vip6.Next()
	h.owned[gone] = true
	c.Announce(start, 0, vip6)
	c.Announce(start, 0, gone)
	c.Announce(start, 0, vip6)
	c.Tick(start, out)
	require.Len(t, out.take(), 6)
	delete(h.owned, gone)

	receive(c, start, query(zero6, router, 1), out)
	receive(c, start, query(zero6, router, 1), out)
	require.Empty(t, out.take(), "not at once")
	c.Tick(start.Add(2*time.Second), out)
	sent := out.take()
	require.Len(t, sent, 1, "one report for what is still ours, however often asked")
	require.EqualValues(t, modeIsExclude, sent[0].Bytes()[14+48+8])

	now := start.Add(10 * time.Second)
	receive(c, now, query(SolicitedNode(rip6), router, 1), out)
	c.Tick(now.Add(2*time.Second), out)
	require.Empty(t, out.take(), "not our group")
	receive(c, now, query(zero6, dip6, 1), out)
	require.EqualValues(t, 1, c.Count(NDMalformed), "not link-local")
	receive(c, now, query(zero6, router, 2), out)
	require.EqualValues(t, 1, c.Count(NDHopLimit))
}

func TestMaxResponse(t *testing.T) {
	for code, want := range map[uint16]time.Duration{
		0:      time.Millisecond,
		1000:   time.Second,
		10000:  10 * time.Second,
		0x8000: 10 * time.Second, // 0x1000 << 3 = 32768 ms, cut
		0xffff: 10 * time.Second,
	} {
		require.Equal(t, want, maxResponse(code), "%#x", code)
	}
}

func TestGroups(t *testing.T) {
	require.Equal(t, "ff02::1:ff34:5678", SolicitedNode(netip.MustParseAddr("fd00::1234:5678")).String())
	require.Equal(t, "33:33:ff:34:56:78", GroupMAC(netip.MustParseAddr("ff02::1:ff34:5678")).String())
	require.Equal(t, "01:00:5e:00:00:12", GroupMAC(netip.MustParseAddr("224.0.0.18")).String())
	require.Equal(t, "01:00:5e:7f:01:02", GroupMAC(netip.MustParseAddr("239.255.1.2")).String())
	macs := JoinMACs([]netip.Addr{vip, vip6, netip.MustParseAddr("fd00:8::1"), rip6})
	require.Equal(t, []wire.MAC{
		{0x33, 0x33, 0, 0, 0, 1}, {0x33, 0x33, 0xff, 0, 0, 1}, {0x33, 0x33, 0xff, 0, 0, 0x11},
	}, macs)
	require.Empty(t, JoinMACs([]netip.Addr{vip}))
}

// TestAnnounceWhileOthersTick adds announcements while workers send them; the
// race detector watches. What is on the stack belongs to whoever takes it.
func TestAnnounceWhileOthersTick(t *testing.T) {
	const workers, announcers, each = 2, 2, 5000
	c, _, _ := newCache(t, Config{AnnounceCount: 2, AnnounceInterval: time.Nanosecond})
	var announcing, ticking sync.WaitGroup
	var done atomic.Bool
	for range workers {
		ticking.Go(func() {
			out := new(sink)
			for at := start; !done.Load(); at = at.Add(burstGap) {
				c.Tick(at, out)
				out.take()
			}
		})
	}
	for range announcers {
		announcing.Go(func() {
			for range each {
				c.Announce(start, 0, vip)
			}
		})
	}
	announcing.Wait()
	done.Store(true)
	ticking.Wait()
	out := new(sink)
	for at := start.Add(time.Hour); !c.announcing.empty(); at = at.Add(burstGap) {
		c.Tick(at, out)
	}
	require.EqualValues(t, 2*announcers*each, c.Count(Announcements), "none lost, none said twice too often")
}
