package netsim

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// star is hosts a, b and c at one switch.
type star struct {
	*Net
	sw    *Switch
	hosts []*Host
	rec   *Recorder
}

func newStar(t testing.TB) *star {
	s := &star{Net: New(1)}
	s.sw = s.Switch("sw")
	for i, name := range []string{"a", "b", "c"} {
		h := s.Host(name)
		s.hosts = append(s.hosts, h)
		s.Link(h.NIC("eth0", netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}).String()+"/24"), s.sw.NextPort())
	}
	s.rec = s.Record()
	return s
}

func (s *star) ping(from int, to string) (replies int) {
	_ = s.hosts[from].Ping(netip.MustParseAddr(to), PingOptions{Size: 56}, func(PingReply) { replies++ })
	s.Run(time.Second)
	return replies
}

// seenBy lists what reached a host, and forgets it.
func (s *star) seenBy(host int) (list []string) {
	for _, r := range s.rec.Records {
		if r.To.Node() == s.hosts[host] {
			list = append(list, Summary(r.Data))
		}
	}
	s.rec.Records = nil
	return list
}

func TestSwitchLearns(t *testing.T) {
	s := newStar(t)
	require.Equal(t, 1, s.ping(0, "10.0.0.2"))
	require.Equal(t, []string{"ARP who has 10.0.0.2? tell 10.0.0.1"}, s.seenBy(2), "only the broadcast is flooded")
	require.Equal(t, []Station{
		{s.hosts[0].Port("eth0").MAC(), 0, s.sw.Port("1"), time.Second},
		{s.hosts[1].Port("eth0").MAC(), 0, s.sw.Port("2"), time.Second},
	}, s.sw.Stations())
	require.Equal(t, SwitchStats{Forwarded: 3, Flooded: 1}, s.sw.Stats())
}

func TestSwitchForgets(t *testing.T) {
	s := newStar(t)
	s.sw.SetAgeing(10 * time.Second)
	b := s.hosts[1].Port("eth0")
	s.hosts[0].SetNeighbour(s.hosts[0].Port("eth0"), netip.MustParseAddr("10.0.0.2"), b.MAC())
	require.Equal(t, 1, s.ping(0, "10.0.0.2"))
	s.Run(11 * time.Second)
	require.Empty(t, s.sw.Stations())
	s.rec.Records = nil
	require.Equal(t, 1, s.ping(0, "10.0.0.2"))
	require.Len(t, s.seenBy(2), 1, "an unknown station is looked for everywhere")
	b.Link().SetUp(false)
	require.Len(t, s.sw.Stations(), 1, "what was behind a dead link is forgotten")
}

func TestSwitchFilters(t *testing.T) {
	s := newStar(t)
	require.Equal(t, 1, s.ping(0, "10.0.0.2"))
	a := s.hosts[0].Port("eth0")
	loop := append(append([]byte{}, a.mac[:]...), make([]byte, 60)...) // to a, from a's own port
	a.Inject(loop)
	s.Run(time.Second)
	require.EqualValues(t, 1, s.sw.Stats().Filtered)
	a.Inject([]byte{1, 2, 3})
	s.Run(time.Second)
}

func TestSwitchFiltersGroups(t *testing.T) {
	s := newStar(t)
	s.sw.FilterGroups(func(dst wire.MAC) bool { return dst == wire.Broadcast })
	require.Equal(t, 1, s.ping(0, "10.0.0.2"), "ARP is broadcast")
	s.seenBy(1)
	group := append([]byte{0x01, 0, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 9, 0x08, 0}, make([]byte, 46)...)
	s.hosts[0].Port("eth0").Inject(group)
	s.Run(time.Second)
	require.Empty(t, s.seenBy(1))
	require.EqualValues(t, 1, s.sw.Stats().Filtered)
	s.sw.FilterGroups(nil)
	s.hosts[0].Port("eth0").Inject(group)
	s.Run(time.Second)
	require.Len(t, s.seenBy(1), 1)
}

func TestStationMoves(t *testing.T) {
	s := newStar(t)
	require.Equal(t, 1, s.ping(0, "10.0.0.2"))
	a, c := s.hosts[0].Port("eth0"), s.hosts[2].Port("eth0")
	c.SetMAC(a.MAC())
	require.Equal(t, 1, s.ping(2, "10.0.0.2"))
	require.Contains(t, s.LogText(), "sw: 02:00:00:00:02:00 moved from port 1 to 3")
}

func TestVLANs(t *testing.T) {
	s := newStar(t)
	s.sw.SetVLAN(s.sw.Port("1"), 10)
	s.sw.SetVLAN(s.sw.Port("3"), 10)
	require.Equal(t, 0, s.ping(0, "10.0.0.2"))
	require.Empty(t, s.seenBy(1))
	require.Equal(t, 1, s.ping(0, "10.0.0.3"))
	require.Equal(t, 10, s.sw.Stations()[0].VLAN)
}

// TestSwitchingLoop ends: there is no spanning tree, but a limit of hops.
func TestSwitchingLoop(t *testing.T) {
	n := New(1)
	s1, s2, h := n.Switch("s1"), n.Switch("s2"), n.Host("h")
	n.Link(s1.Port("a"), s2.Port("a"))
	n.Link(s1.Port("b"), s2.Port("b"))
	n.Link(h.NIC("eth0", "10.0.0.1/24"), s1.Port("h"))
	require.NoError(t, h.Ping(netip.MustParseAddr("10.0.0.9"), PingOptions{}, func(PingReply) {}))
	n.Run(10 * time.Second)
	require.Contains(t, n.LogText(), "there is a loop")
	require.Less(t, n.Stats().Events, uint64(10000))
}
