package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/ipvs"
	"usvs/link"
	"usvs/link/afxdp"
	"usvs/route"
)

func TestParseIO(t *testing.T) {
	for _, word := range []string{"auto", "mmsg", "ring", "xdp"} {
		m, err := parseIO(word)
		require.NoError(t, err)
		assert.EqualValues(t, word, m)
	}
	for _, word := range []string{"", "dpdk", "MMSG"} {
		_, err := parseIO(word)
		assert.ErrorContains(t, err, "want auto, mmsg")
	}
}

func TestTakenChange(t *testing.T) {
	vip, rip, host := netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.1")
	service := director.Endpoint{Protocol: ipvs.TCP, Addr: host, Port: 80}
	server := director.Endpoint{Protocol: ipvs.UDP, Addr: rip, Port: 53}
	bare := &director.Snapshot{Routes: route.New(route.Config{Locals: []netip.Addr{host}})}
	full := &director.Snapshot{Routes: bare.Routes, Hidden: &director.Hidden{
		Addrs: director.AddrsOf(vip), Services: director.EndpointsOf(service), Servers: director.EndpointsOf(server),
	}}
	nothing := afxdp.Wanted{}
	locals := afxdp.Wanted{Locals: []netip.Addr{host}}
	rules := afxdp.Wanted{
		Addrs:    []netip.Addr{vip},
		Services: []afxdp.Endpoint{{Protocol: 6, Addr: host, Port: 80}},
		Servers:  []afxdp.Endpoint{{Protocol: 17, Addr: rip, Port: 53}},
	}
	all := rules
	all.Locals = locals.Locals
	other := &director.Snapshot{Routes: route.New(route.Config{Locals: []netip.Addr{host, vip}}), Hidden: full.Hidden}
	for _, tc := range []struct {
		name      string
		old, is   *director.Snapshot
		add, drop afxdp.Wanted
	}{
		{"the first", &nothingTaken, bare, locals, nothing},
		{"the first with rules", &nothingTaken, full, all, nothing},
		{"rules", bare, full, rules, nothing},
		{"no more rules", full, bare, nothing, rules},
		{"the same", full, full, nothing, nothing},
		{"another address", full, other, afxdp.Wanted{Locals: []netip.Addr{vip}}, nothing},
		{"an address less", other, full, nothing, afxdp.Wanted{Locals: []netip.Addr{vip}}},
	} {
		add, drop := takenChange(tc.old, tc.is)
		assert.Equal(t, tc.add, add, tc.name)
		assert.Equal(t, tc.drop, drop, tc.name)
	}
}

// wrapping is a device that says what it was told to say.
type wrapping struct {
	link.Device
	able  bool
	asked int
}

func (w *wrapping) Wraps() bool {
	w.asked++
	return w.able
}

// A port takes super-frames within tunnels when all of its devices do, and all
// of them are asked to.
func TestWraps(t *testing.T) {
	able, other, unable := &wrapping{able: true}, &wrapping{able: true}, &wrapping{}
	var plain struct{ link.Device }
	n := &node{wrappers: [][]wrapper{
		wrappersOf([]link.Device{able, other}), wrappersOf([]link.Device{unable, able}), wrappersOf([]link.Device{plain}),
	}}
	for port, want := range []bool{true, false, false, false} {
		require.Equal(t, want, n.wraps(port), "port %d", port)
	}
	require.Equal(t, []int{2, 1, 1}, []int{able.asked, other.asked, unable.asked})
}
