package machine

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/host"
	"usvs/node"
)

func TestHostAddress(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	for _, c := range []struct {
		name string
		in   node.Address
		want host.Address
		fail string
	}{
		{"plain", node.Address{Prefix: prefix("10.0.0.1/32"), Virtual: true}, host.Address{Prefix: prefix("10.0.0.1/32")}, ""},
		{"words", node.Address{Prefix: prefix("10.0.0.1/24"), Interface: "eth0", Label: "eth0:1", Scope: "link", Broadcast: "10.0.0.255"},
			host.Address{Prefix: prefix("10.0.0.1/24"), Interface: "eth0", Label: "eth0:1", Scope: 253, Broadcast: addr("10.0.0.255")}, ""},
		{"last of the prefix", node.Address{Prefix: prefix("10.0.0.5/30"), Broadcast: "+"}, host.Address{Prefix: prefix("10.0.0.5/30"), Broadcast: addr("10.0.0.7")}, ""},
		{"first of the prefix", node.Address{Prefix: prefix("10.0.0.5/30"), Broadcast: "-"}, host.Address{Prefix: prefix("10.0.0.5/30"), Broadcast: addr("10.0.0.4")}, ""},
		{"scope by number", node.Address{Prefix: prefix("10.0.0.1/32"), Scope: "17"}, host.Address{Prefix: prefix("10.0.0.1/32"), Scope: 17}, ""},
		{"peer", node.Address{Prefix: prefix("10.0.0.1/32"), Peer: addr("10.0.0.2")}, host.Address{Prefix: prefix("10.0.0.1/32"), Peer: addr("10.0.0.2")}, ""},
		{"flags", node.Address{Prefix: prefix("10.0.0.1/24"), Flags: []string{"noprefixroute", "autojoin"}},
			host.Address{Prefix: prefix("10.0.0.1/24"), NoPrefixRoute: true, AutoJoin: true}, ""},
		{"IPv6", node.Address{Prefix: prefix("2001:db8::1/128"), Virtual: true}, host.Address{Prefix: prefix("2001:db8::1/128"), NoDAD: true, Deprecated: true}, ""},
		{"IPv6 with a network", node.Address{Prefix: prefix("2001:db8::1/64"), Virtual: true}, host.Address{Prefix: prefix("2001:db8::1/64"), NoDAD: true}, ""},
		{"IPv6 static", node.Address{Prefix: prefix("2001:db8::1/128")}, host.Address{Prefix: prefix("2001:db8::1/128")}, ""},
		{"IPv6 with DAD", node.Address{Prefix: prefix("2001:db8::1/64"), Virtual: true, Flags: []string{"-nodad"}}, host.Address{Prefix: prefix("2001:db8::1/64")}, ""},
		{"preferred for ever", node.Address{Prefix: prefix("2001:db8::1/128"), Virtual: true, Preferred: "forever"}, host.Address{Prefix: prefix("2001:db8::1/128"), NoDAD: true}, ""},
		{"preferred for a while", node.Address{Prefix: prefix("2001:db8::1/64"), Preferred: "60"},
			host.Address{Prefix: prefix("2001:db8::1/64"), Deprecated: true, PreferredSecs: 60}, ""},
		{"bad scope", node.Address{Prefix: prefix("10.0.0.1/32"), Scope: "moon"}, host.Address{}, "moon"},
		{"bad broadcast", node.Address{Prefix: prefix("10.0.0.1/32"), Broadcast: "all"}, host.Address{}, "all"},
		{"bad lifetime", node.Address{Prefix: prefix("2001:db8::1/64"), Preferred: "long"}, host.Address{}, "long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := hostAddress(c.in)
			if c.fail != "" {
				assert.ErrorContains(t, err, c.fail)
				return
			}
			assert.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}
