package host

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/iproute"
	"usvs/link/netnstest"
)

func routeOfWords(t *testing.T, words string) iproute.Route {
	t.Helper()
	e := iproute.Parse(strings.Fields(words+" no_track"), false)
	if at := strings.Index(words, " nexthop"); at >= 0 {
		e = iproute.Parse(strings.Fields(words[:at]+" no_track"+words[at:]), false)
	}
	require.True(t, e.Usable, "%v", e.Problems)
	return e.Route
}

// What is wanted is what keepalived 2.2.7 makes of the same words.
func TestVirtualRoutes(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, _ := addresses(t, lab)
		for _, addr := range []string{"10.9.0.5/24", "10.9.0.100/32", "2001:db8::5/64"} {
			lab.Home.AddAddr("eth0", addr)
		}
		show := func() string {
			return strings.Join(strings.Fields(lab.Home.Run("ip", "route", "show", "table", "all")), " ") // both families
		}
		for words, want := range map[string]string{
			"10.50.0.0/16 via 10.9.0.1":                                                 "10.50.0.0/16 via 10.9.0.1 dev eth0 proto keepalived ",
			"src 10.9.0.100 to 10.51.0.0/16 via 10.9.0.1 dev eth0 metric 50":            "10.51.0.0/16 via 10.9.0.1 dev eth0 proto keepalived src 10.9.0.100 metric 50 ",
			"10.52.0.0/16 dev eth0 scope link table 1000":                               "10.52.0.0/16 dev eth0 table 1000 proto keepalived scope link ",
			"blackhole 10.53.0.0/16":                                                    "blackhole 10.53.0.0/16 proto keepalived ",
			"unreachable 10.54.0.0/16 metric 7":                                         "unreachable 10.54.0.0/16 proto keepalived metric 7 ",
			"prohibit 10.55.0.0/16":                                                     "prohibit 10.55.0.0/16 proto keepalived ",
			"throw 10.56.0.0/16 table 200":                                              "throw 10.56.0.0/16 table 200 proto keepalived ",
			"10.57.0.0/16 via 10.99.0.1 dev eth0 onlink":                                "10.57.0.0/16 via 10.99.0.1 dev eth0 proto keepalived onlink ",
			"10.58.0.0/16 nexthop via 10.9.0.1 weight 2 nexthop via 10.9.0.2 weight 3":  "10.58.0.0/16 proto keepalived nexthop via 10.9.0.1 dev eth0 weight 2 nexthop via 10.9.0.2 dev eth0 weight 3 ",
			"10.59.0.0/16 dev eth0 mtu lock 1400 initcwnd 9 quickack 1 protocol static": "10.59.0.0/16 dev eth0 proto static mtu lock 1400 initcwnd 9 quickack 1 ",
			"10.60.0.0/16 dev eth0 tos 0x10 congctl cubic features ecn rto_min 2s":      "10.60.0.0/16 tos 0x10 dev eth0 proto keepalived ",
			"default via 10.9.0.1 metric 999":                                           "default via 10.9.0.1 dev eth0 proto keepalived metric 999 ",
			"2001:db8:5::/48 via 2001:db8::1 dev eth0":                                  "2001:db8:5::/48 via 2001:db8::1 dev eth0 proto keepalived metric 1024 ",
		} {
			r := routeOfWords(t, words)
			comesAndGoes(t, words, func() error { return a.AddRoute(r) }, func() (bool, error) { return a.RemoveRoute(r) }, func(there bool) {
				assert.Equal(t, there, strings.Contains(show(), want), "%s: %s", words, show())
			})
		}
		require.Error(t, a.AddRoute(routeOfWords(t, "10.50.0.0/16 dev nosuch")))
		there, err := a.RemoveRoute(routeOfWords(t, "10.50.0.0/16 dev nosuch"))
		require.NoError(t, err)
		assert.False(t, there)
	})
}

// A route of the host's own to the same destination comes back.
func TestVirtualRouteBeforeAnother(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, _ := addresses(t, lab)
		lab.Home.AddAddr("eth0", "10.9.0.5/24")
		lab.Home.Run("ip", "route", "add", "10.50.0.0/16", "via", "10.9.0.77")
		via := func() string { return lab.Home.Run("ip", "route", "get", "10.50.0.1") }
		r := routeOfWords(t, "10.50.0.0/16 via 10.9.0.1")
		require.NoError(t, a.AddRoute(r))
		assert.Contains(t, via(), "10.9.0.1 ")
		_, err := a.RemoveRoute(r)
		require.NoError(t, err)
		assert.Contains(t, via(), "10.9.0.77 ")
	})
}

// TestRefused: nobody reaches the host by a refused address, but finds it, and the
// table goes with the last one.
func TestRefused(t *testing.T) {
	netnstest.NeedCommands(t, "ip", "nft", "ping")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		peer := lab.Namespace("peer")
		lab.Veth(lab.Home, "eth0", peer, "eth0")
		lab.Home.AddAddr("eth0", "10.9.0.1/24")
		peer.AddAddr("eth0", "10.9.0.2/24")
		lab.Home.Run("ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
		peer.Run("ip", "address", "add", "2001:db8::2/64", "dev", "eth0", "nodad")
		a, err := NewAddresses(func(Address) {})
		require.NoError(t, err)
		t.Cleanup(func() { _ = a.Close() })
		answers := func(addr string) bool {
			return strings.Contains(peer.Run("sh", "-c", "ping -n -c 1 -W 1 "+addr+" || true"), " 0% packet loss")
		}
		for _, vip := range []string{"10.9.0.100/24", "2001:db8::100/64"} {
			addr := Address{Interface: "eth0", Prefix: netip.MustParsePrefix(vip), NoDAD: true, Refused: true}
			require.NoError(t, a.Add(addr))
			require.NoError(t, a.Add(addr), "it is adopted")
			host := addr.Prefix.Addr().String()
			assert.False(t, answers(host), vip)
			require.Eventually(t, func() bool {
				return !answers(host) && strings.Contains(peer.Run("ip", "neighbour", "show", "to", host), "lladdr")
			}, 20*time.Second, time.Millisecond, "it is found")
			require.Eventually(t, func() bool { return answers("10.9.0.1") && answers("2001:db8::1") }, 20*time.Second, time.Millisecond, "other addresses answer")
			_, err := a.Remove(addr)
			require.NoError(t, err)
			assert.NotContains(t, lab.Home.Run("nft", "list", "ruleset"), "no-accept")
			addr.Refused = false
			require.NoError(t, a.Add(addr))
			require.Eventually(t, func() bool { return answers(host) }, 20*time.Second, time.Millisecond, vip)
			_, err = a.Remove(addr)
			require.NoError(t, err)
		}
	})
}
