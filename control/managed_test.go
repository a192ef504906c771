package control

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/wire"
)

// TestManaged: what VRRP says of an address goes before Config.Own.
func TestManaged(t *testing.T) {
	const webRules = "-A -t 10.9.0.1:80 -s rr\n"
	vmac := director.Station{Interface: "eth0", MAC: wire.MAC{0, 0, 0x5e, 0, 1, 51}}
	plain := director.Station{Interface: "eth0"}
	tests := []struct {
		name          string
		own           Own
		held          map[string]director.Station
		locals, rules string
		owned, hidden string
	}{
		{name: "backup", rules: webRules, hidden: "service TCP 10.9.0.1:80"},
		{name: "backup that carries it", rules: webRules, locals: "10.9.0.1", owned: "10.9.0.1", hidden: "service TCP 10.9.0.1:80"},
		{name: "backup, host mode", own: OwnHost, rules: webRules, hidden: "service TCP 10.9.0.1:80"},
		{name: "another's service", rules: "-A -t 10.9.0.2:80 -s rr", owned: "10.9.0.2", hidden: "addr 10.9.0.2"},
		{name: "master before its host carries it", held: map[string]director.Station{"10.9.0.1": plain}, rules: webRules,
			owned: "10.9.0.1", hidden: "addr 10.9.0.1,service TCP 10.9.0.1:80"},
		{name: "master", held: map[string]director.Station{"10.9.0.1": plain}, rules: webRules, locals: "10.9.0.1",
			owned: "10.9.0.1", hidden: "service TCP 10.9.0.1:80"},
		{name: "master without a service", held: map[string]director.Station{"10.9.0.1": plain}},
		{name: "master with a virtual MAC", own: OwnHost, held: map[string]director.Station{"10.9.0.1": vmac}, rules: webRules,
			owned: "10.9.0.1", hidden: "addr 10.9.0.1,service TCP 10.9.0.1:80"},
		{name: "virtual MAC without a service", held: map[string]director.Station{"10.9.0.1": vmac}, owned: "10.9.0.1", hidden: "addr 10.9.0.1"},
		{name: "not managed, so not held", held: map[string]director.Station{"10.9.0.2": vmac}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Own = tt.own })
			r.SetManaged([]netip.Addr{netip.MustParseAddr("10.9.0.1")})
			if tt.locals != "" {
				r.SetRoutes(hostWith(tt.locals))
			}
			r.must(r.load(tt.rules))
			before, hiddenBefore := owns(r.Snapshot())
			held := map[netip.Addr]director.Station{}
			for a, st := range tt.held {
				held[netip.MustParseAddr(a)] = st
			}
			r.Hold(held)
			check := func() {
				owned, hidden := owns(r.Snapshot())
				require.Equal(t, tt.owned, strings.Join(owned, ","))
				require.Equal(t, tt.hidden, strings.Join(hidden, ","))
			}
			check()
			r.SetRoutes(hostWith(append([]string{"10.9.0.77"}, strings.Fields(tt.locals)...)...))
			check() // made anew it is the same
			for a := range held {
				r.Release(a)
			}
			owned, hidden := owns(r.Snapshot())
			require.Equal(t, before, owned)
			require.Equal(t, hiddenBefore, hidden)
		})
	}
}

// TestManagedNoMore: an address that VRRP lets go of is as if it had never been
// VRRP's.
func TestManagedNoMore(t *testing.T) {
	vip := netip.MustParseAddr("10.9.0.1")
	r := newRig(t)
	r.must(r.AddService(web, by("rr")))
	owned, hidden := owns(r.Snapshot())
	r.SetManaged([]netip.Addr{vip})
	r.Hold(map[netip.Addr]director.Station{vip: {Interface: "eth0", MAC: wire.MAC{2}}})
	snap := r.Snapshot()
	require.True(t, snap.Stations.Has("eth0", wire.MAC{2}))
	r.SetManaged(nil)
	snap = r.Snapshot()
	require.Empty(t, snap.Stations.Virtual())
	o, h := owns(snap)
	require.Equal(t, owned, o)
	require.Equal(t, hidden, h)
}

// TestTogether: what changes meanwhile is published once.
func TestTogether(t *testing.T) {
	published := 0
	r := newRig(t, func(c *Config) { c.Publish = func(*director.Snapshot) { published++ } })
	was := published
	r.Together(func() {
		r.must(r.AddService(web, by("rr")))
		r.Together(func() { r.must(r.EditService(web, by("wlc"))) })
		require.Equal(t, "wlc", r.entry(web).Spec.Scheduler)
		require.Equal(t, was, published)
	})
	require.Equal(t, was+1, published)
	r.Together(func() {})
	require.Equal(t, was+1, published)
}
