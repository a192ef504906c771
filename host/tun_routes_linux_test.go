package host

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/route"
	"usvs/wire"
)

// testInventory is a host with eth0, eth1 and, with that flags, tun0.
func testInventory(tunFlags net.Flags, tunRaw uint32) *inventory {
	link := func(index int, name, encap string, flags net.Flags, raw uint32) netlink.Link {
		return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{
			Index: index, Name: name, EncapType: encap, Flags: flags, RawFlags: raw, MTU: 1500,
		}}
	}
	to := func(prefix string, index int) netlink.Route {
		p := netip.MustParsePrefix(prefix)
		dst := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		return netlink.Route{Dst: dst, LinkIndex: index, Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST}
	}
	return &inventory{
		links: []netlink.Link{
			link(2, "eth0", "ether", net.FlagUp, unix.IFF_RUNNING),
			link(3, "eth1", "ether", net.FlagUp, unix.IFF_RUNNING),
			link(4, "tun0", "none", tunFlags, tunRaw),
		},
		routes: []netlink.Route{to("10.0.0.0/24", 2), to("10.1.0.0/24", 3), to("10.2.0.0/24", 4)},
	}
}

func TestRoutesLeaveByTUN(t *testing.T) {
	for _, tc := range []struct {
		name    string
		names   []string
		up      net.Flags
		running uint32
		want    map[string]route.Hop // kind and port
	}{
		{"no TUN device", []string{"eth0"}, net.FlagUp, unix.IFF_RUNNING, map[string]route.Hop{
			"10.0.0.9": {Kind: route.Unicast}, "10.1.0.9": {Kind: route.Foreign}, "10.2.0.9": {Kind: route.Foreign}}},
		{"only a TUN device", []string{"tun0"}, net.FlagUp, unix.IFF_RUNNING, map[string]route.Hop{
			"10.0.0.9": {Kind: route.Unicast}, "10.1.0.9": {Kind: route.Unicast}, "10.2.0.9": {Kind: route.Unicast}}},
		{"both", []string{"eth0", "tun0"}, net.FlagUp, unix.IFF_RUNNING, map[string]route.Hop{
			"10.0.0.9": {Kind: route.Unicast}, "10.1.0.9": {Kind: route.Unicast, Port: 1}, "10.2.0.9": {Kind: route.Unicast, Port: 1}}},
		{"a TUN device that is down", []string{"tun0"}, 0, 0, map[string]route.Hop{"10.1.0.9": {Kind: route.Foreign}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, _ := testInventory(tc.up, tc.running).config(tc.names)
			table := route.New(cfg)
			for addr, want := range tc.want {
				hop := table.Lookup(netip.MustParseAddr(addr))
				assert.Equal(t, want.Kind, hop.Kind, addr)
				assert.Equal(t, want.Port, hop.Port, addr)
			}
		})
	}
	cfg, _ := testInventory(net.FlagUp, unix.IFF_RUNNING).config([]string{"tun0"})
	assert.Equal(t, wire.IP, cfg.Interfaces[0].Medium)
}
