package control

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/route"
)

// hostWith is a host that carries addresses.
func hostWith(addrs ...string) *route.Table {
	var cfg route.Config
	for _, a := range addrs {
		cfg.Locals = append(cfg.Locals, netip.MustParseAddr(a))
	}
	return route.New(cfg)
}

// owns lists what there is of a snapshot's ownership, sorted.
func owns(s *director.Snapshot) (owned, hidden []string) {
	for _, a := range s.Owned.Sorted() {
		owned = append(owned, a.String())
	}
	for a := range s.Hidden.Addrs.All() {
		hidden = append(hidden, "addr "+a.String())
	}
	for e := range s.Hidden.Services.All() {
		hidden = append(hidden, "service "+show(e))
	}
	for e := range s.Hidden.Servers.All() {
		hidden = append(hidden, "server "+show(e))
	}
	for _, p := range s.Hidden.Prefixes {
		hidden = append(hidden, "prefix "+p.String())
	}
	for what, all := range map[string]bool{"all local IPv4": s.Hidden.Local4, "all local IPv6": s.Hidden.Local6} {
		if all {
			hidden = append(hidden, what)
		}
	}
	slices.Sort(hidden)
	return owned, hidden
}

func show(e director.Endpoint) string {
	return e.Protocol.String() + " " + netip.AddrPortFrom(e.Addr, e.Port).String()
}

func TestOwnership(t *testing.T) {
	const (
		webRules = "-A -t 10.9.0.1:80 -s rr\n"
		marked   = "iptables -t mangle -A PREROUTING -d 10.9.0.5 -p tcp -j MARK --set-mark 5\n"
		network  = "iptables -t mangle -A PREROUTING -d 10.9.1.0/24 -j MARK --set-mark 5\n"
		anywhere = "iptables -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 5\n"
		fwm5     = "-A -f 5 -s rr\n"
	)
	tests := []struct {
		name          string
		own           Own
		vips          string
		locals        string
		rules         string
		owned, hidden string // separated by commas
	}{
		{name: "nothing"},
		{name: "a service on a host without the VIP", rules: webRules, owned: "10.9.0.1", hidden: "addr 10.9.0.1"},
		{name: "a service on a host with the VIP", locals: "10.9.0.1", rules: webRules, owned: "10.9.0.1", hidden: "service TCP 10.9.0.1:80"},
		{name: "two services on a VIP", locals: "10.9.0.1", rules: webRules + "-A -u 10.9.0.1:53 -s rr\n-A -t 10.9.0.1:0 -s rr -p",
			owned: "10.9.0.1", hidden: "service TCP 10.9.0.1:0,service TCP 10.9.0.1:80,service UDP 10.9.0.1:53"},
		{name: "extra VIPs", vips: "10.9.0.7,fd00::7", locals: "fd00::7", owned: "10.9.0.7,fd00::7", hidden: "addr 10.9.0.7"},
		{name: "IPv6", locals: "fd00:9::1", rules: "-A -t [fd00:9::1]:80 -s rr\n-A -t [fd00:9::2]:80 -s rr",
			owned: "fd00:9::1,fd00:9::2", hidden: "addr fd00:9::2,service TCP [fd00:9::1]:80"},
		{name: "services nobody answers for", rules: "-A -t 224.0.0.1:80 -s rr\n-A -t 255.255.255.255:80 -s rr\n-A -t 0.0.0.0:80 -s rr"},

		{name: "host mode, VIP elsewhere", own: OwnHost, rules: webRules, hidden: "service TCP 10.9.0.1:80"},
		{name: "host mode, VIP here", own: OwnHost, locals: "10.9.0.1", rules: webRules, owned: "10.9.0.1", hidden: "service TCP 10.9.0.1:80"},
		{name: "host mode, extra VIPs", own: OwnHost, vips: "10.9.0.7,10.9.0.8", locals: "10.9.0.7", owned: "10.9.0.7"},
		{name: "host mode, marked address elsewhere", own: OwnHost, rules: marked + fwm5, hidden: "service IP 10.9.0.5:0"},
		{name: "host mode, marked address here", own: OwnHost, locals: "10.9.0.5", rules: marked + fwm5, owned: "10.9.0.5", hidden: "service IP 10.9.0.5:0"},
		{name: "host mode, marked network", own: OwnHost, rules: network + fwm5, hidden: "prefix 10.9.1.0/24"},
		{name: "host mode, anything marked", own: OwnHost, locals: "10.9.0.7", vips: "10.9.0.7,10.9.0.8", rules: anywhere + fwm5,
			owned: "10.9.0.7", hidden: "all local IPv4"},
		{name: "host mode, anything marked, no VIP", own: OwnHost, rules: anywhere + fwm5, hidden: "all local IPv4"},
		{name: "host mode, anything marked, IPv6", own: OwnHost, rules: "ip6tables -t mangle -A PREROUTING -j MARK --set-mark 5\n-A -f 5 -6 -s rr",
			hidden: "all local IPv6"},
		{name: "anything marked, but with a mark of no service", rules: anywhere + "-A -f 6 -s rr"},

		{name: "marked, no service for it", rules: marked, owned: "10.9.0.5", hidden: "addr 10.9.0.5"},
		{name: "marked, service for another mark", rules: marked + "-A -f 6 -s rr", owned: "10.9.0.5", hidden: "addr 10.9.0.5"},
		{name: "marked, service of the other family", rules: marked + "-A -f 5 -6 -s rr", owned: "10.9.0.5", hidden: "addr 10.9.0.5"},
		{name: "marked", rules: marked + fwm5, owned: "10.9.0.5", hidden: "addr 10.9.0.5"},
		{name: "marked, here", locals: "10.9.0.5", rules: marked + fwm5, owned: "10.9.0.5", hidden: "service IP 10.9.0.5:0"},
		{name: "marked twice", locals: "10.9.0.5", rules: marked + strings.Replace(marked, "tcp", "udp", 1) + fwm5, owned: "10.9.0.5", hidden: "service IP 10.9.0.5:0"},
		{name: "marked network", rules: network + fwm5, hidden: "prefix 10.9.1.0/24"},
		{name: "anything marked", locals: "10.9.0.1", rules: anywhere + fwm5 + webRules, vips: "10.9.0.2,fd00::1", owned: "10.9.0.1,10.9.0.2,fd00::1",
			hidden: "addr 10.9.0.2,addr fd00::1,all local IPv4,service TCP 10.9.0.1:80"},
		{name: "marked, IPv6", rules: "ip6tables -t mangle -A PREROUTING -d fd00::5 -j MARK --set-mark 5\n-A -f 5 -6 -s rr",
			owned: "fd00::5", hidden: "addr fd00::5"},
		{name: "accepted is not marked", rules: "iptables -t mangle -A PREROUTING -d 10.9.0.5 -j ACCEPT\n" + fwm5},

		{name: "servers", locals: "10.9.0.1", rules: webRules + "-a -t 10.9.0.1:80 -r 10.1.0.11:8080 -m\n-a -t 10.9.0.1:80 -r 10.1.0.12 -g\n-a -t 10.9.0.1:80 -r 10.1.0.13 -i",
			owned: "10.9.0.1", hidden: "server TCP 10.1.0.11:8080,service TCP 10.9.0.1:80"},
		{name: "servers of every port", locals: "10.9.0.1", rules: "-A -u 10.9.0.1:0 -s rr -p\n-a -u 10.9.0.1:0 -r 10.1.0.11:80 -m",
			owned: "10.9.0.1", hidden: "server UDP 10.1.0.11:0,service UDP 10.9.0.1:0"},
		{name: "servers of a mark", rules: fwm5 + "-a -f 5 -r 10.1.0.11:8080 -m", hidden: "server IP 10.1.0.11:0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			split := func(s string) []string {
				if s == "" {
					return nil
				}
				return strings.Split(s, ",")
			}
			r := newRig(t, func(c *Config) {
				c.Own = tt.own
				for _, v := range split(tt.vips) {
					c.VIPs = append(c.VIPs, netip.MustParseAddr(v))
				}
			})
			r.SetRoutes(hostWith(split(tt.locals)...))
			r.must(r.load(tt.rules))
			owned, hidden := owns(r.Snapshot())
			require.Equal(t, split(tt.owned), owned)
			require.Equal(t, split(tt.hidden), hidden)
		})
	}
}

// Ownership follows the host's addresses, and what an operator changes.
func TestOwnershipFollows(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Own = OwnHost })
	r.must(r.AddService(web, by("rr")))
	require.Zero(t, r.Snapshot().Owned.Len())
	r.SetRoutes(hostWith("10.9.0.1"))
	require.Equal(t, []netip.Addr{web.Addr}, r.Snapshot().Owned.Sorted())
	r.SetRoutes(hostWith())
	require.Zero(t, r.Snapshot().Owned.Len())
	r.SetRoutes(hostWith("10.9.0.1"))
	r.must(r.DeleteService(web))
	require.Zero(t, r.Snapshot().Owned.Len())
}

// The answers of a deleted server's open connections are still translated, so
// the host must not forward them as they are.
func TestDeletedServersStayHidden(t *testing.T) {
	r := newRig(t)
	r.must(r.load("-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.1:80 -r 10.1.0.11:80 -m\n-a -t 10.9.0.1:80 -r 10.1.0.12:80 -g\n"))
	hidden := func() []string { _, h := owns(r.Snapshot()); return h }
	before := hidden()
	r.must(r.load("-A -t 10.9.0.1:80 -s rr\n"))
	require.Equal(t, before, hidden())
	r.advance(10 * time.Minute)
	r.SetRoutes(nil)
	require.Equal(t, []string{"addr 10.9.0.1"}, hidden())
}
