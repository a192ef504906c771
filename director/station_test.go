package director

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

var vmac51 = wire.MAC{0, 0, 0x5e, 0, 1, 51}

func TestStations(t *testing.T) {
	a, b := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd00::1")
	s := NewStations()
	s.Set(a, Station{"eth0", vmac51})
	s.Set(b, Station{"eth0", vmac51})
	first := s.Freeze()
	require.Len(t, first.Virtual(), 1)
	s.Remove(a)
	second := s.Freeze()
	require.True(t, second.Has("eth0", vmac51), "b still has it")
	s.Set(b, Station{Interface: "eth1"})
	s.Remove(a)
	third := s.Freeze()
	require.False(t, third.Has("eth0", vmac51))
	require.False(t, third.Has("eth1", wire.MAC{}))
	st, ok := third.Get(b)
	require.True(t, ok)
	require.Equal(t, Station{Interface: "eth1"}, st)

	st, ok = first.Get(a)
	require.True(t, ok, "a frozen map stays as it was")
	require.Equal(t, vmac51, st.MAC)
	require.True(t, first.Has("eth0", vmac51))
	require.False(t, first.Has("eth1", vmac51))
}

// TestVirtualMAC: a question for an address with a virtual MAC is answered with
// it, on its own interface only, and frames to it are taken there.
func TestVirtualMAC(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
	stations := NewStations()
	stations.Set(vip, Station{"eth0", vmac51})
	b.snap.Stations = stations.Freeze()
	b.publish()

	answer := b.handle(0, arpRequest(vip)).Tx
	require.Len(t, answer, 1)
	require.Equal(t, vmac51, wire.ARPHeader(answer[0].Bytes()[wire.EthernetLen:]).SenderMAC())
	passes(t, b, b.handle(1, arpRequest(vip)))

	syn := segment(ap(cip, 1), ap(vip, 80), wire.FlagSYN, 0)
	toStation(syn, vmac51)
	out := b.handle(0, bytes.Clone(syn))
	require.Len(t, out.Tx, 1, "%v", b.w.seen)
	stations.Set(vip, Station{"eth1", vmac51})
	b.snap.Stations = stations.Freeze()
	b.publish()
	b.handle(0, syn)
	require.Equal(t, NotForUs, b.w.seen)

	b.snap.Stations = StationSet{}
	b.publish()
	b.handle(0, syn)
	require.Equal(t, NotForUs, b.w.seen)
}

// TestStationAnnouncements: VRRP announces its addresses itself, but for those
// with a virtual MAC, which the director announces where they are.
func TestStationAnnouncements(t *testing.T) {
	for _, tt := range []struct {
		name    string
		station *Station
		want    map[wire.MAC]int
	}{
		{"not of VRRP", nil, map[wire.MAC]int{dirMAC0: 2, dirMAC1: 2}},
		{"of VRRP", &Station{Interface: "eth0"}, map[wire.MAC]int{}},
		{"with a virtual MAC", &Station{"eth1", vmac51}, map[wire.MAC]int{vmac51: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestbed(t)
			b.snap.Owned = AddrsOf()
			b.publish()
			b.announced()
			stations := NewStations()
			if tt.station != nil {
				stations.Set(vip, *tt.station)
			}
			b.snap.Owned, b.snap.Stations = AddrsOf(vip), stations.Freeze()
			b.publish()
			require.Equal(t, tt.want, b.announced())
		})
	}
}
