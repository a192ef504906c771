package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/ipvs"
	"usvs/link/afxdp"
	"usvs/route"
)

func TestParseIO(t *testing.T) {
	for word, method := range map[string]ioMethod{"auto": ioMmsg, "mmsg": ioMmsg, "ring": ioRing, "xdp": ioXDP} {
		m, err := parseIO(word)
		require.NoError(t, err)
		got, why := m.resolve()
		assert.Equal(t, method, got)
		assert.NotEmpty(t, why)
	}
	for _, word := range []string{"", "dpdk", "MMSG"} {
		_, err := parseIO(word)
		assert.ErrorContains(t, err, "want auto, mmsg")
	}
}

func TestWantedBy(t *testing.T) {
	vip, rip, host := netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.1")
	service := director.Endpoint{Protocol: ipvs.TCP, Addr: host, Port: 80}
	server := director.Endpoint{Protocol: ipvs.UDP, Addr: rip, Port: 53}
	s := &director.Snapshot{Routes: route.New(route.Config{Locals: []netip.Addr{host}})}
	assert.Equal(t, afxdp.Wanted{Locals: []netip.Addr{host}}, wantedBy(s))
	s.Hidden = &director.Hidden{
		Addrs: director.AddrsOf(vip), Services: director.EndpointsOf(service), Servers: director.EndpointsOf(server),
	}
	assert.Equal(t, afxdp.Wanted{
		Addrs:    []netip.Addr{vip},
		Services: []afxdp.Endpoint{{Protocol: 6, Addr: host, Port: 80}},
		Servers:  []afxdp.Endpoint{{Protocol: 17, Addr: rip, Port: 53}},
		Locals:   []netip.Addr{host},
	}, wantedBy(s))
}
