package node

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/vrrp"
)

// TestReload: what changes in the configuration changes, and nothing else.
func TestReload(t *testing.T) {
	const before = "192.168.1.100:80 rr 192.168.1.11/1 192.168.1.12/1"
	tests := []struct {
		name     string
		old, new string // in the configuration
		table    []string
		vips     []string
		kept     bool // master without an election
	}{
		{"nothing", "", "", []string{before}, []string{"192.168.1.100"}, true},
		{"a weight", "weight 1", "weight 7", []string{"192.168.1.100:80 rr 192.168.1.11/7 192.168.1.12/1"}, []string{"192.168.1.100"}, true},
		{"the scheduler", "lb_algo rr", "lb_algo wlc", []string{"192.168.1.100:80 wlc 192.168.1.11/1 192.168.1.12/1"}, []string{"192.168.1.100"}, true},
		{"a server more", "real_server 192.168.1.12 80 {", "real_server 192.168.1.13 80 {\n}\nreal_server 192.168.1.12 80 {",
			[]string{"192.168.1.100:80 rr 192.168.1.11/1 192.168.1.12/1 192.168.1.13/1"}, []string{"192.168.1.100"}, true},
		{"a server less", "real_server 192.168.1.11 80", "real_server 192.168.1.12 80", []string{"192.168.1.100:80 rr 192.168.1.12/1"}, []string{"192.168.1.100"}, true},
		{"an address more", "192.168.1.100\n", "192.168.1.100\n192.168.1.101\n", []string{before}, []string{"192.168.1.100", "192.168.1.101"}, true},
		{"another address", "192.168.1.100\n", "192.168.1.102\n", []string{before}, []string{"192.168.1.102"}, true},
		{"the instance's name", "vrrp_instance VI_1", "vrrp_instance renamed", []string{before}, []string{"192.168.1.100"}, true},
		{"the virtual router's id", "virtual_router_id 51", "virtual_router_id 52", []string{before}, []string{"192.168.1.100"}, false},
		{"the service's port", "virtual_server 192.168.1.100 80", "virtual_server 192.168.1.100 81", []string{"192.168.1.100:81 rr 192.168.1.11/1 192.168.1.12/1"}, []string{"192.168.1.100"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, a, _ := tutorialPair(t)
			a.boot()
			l.run(10 * time.Second)
			a.takeLog()
			a.reload(strings.Replace(tutorial, tt.old, tt.new, 1))
			require.Equal(t, tt.table, a.table())
			require.Equal(t, tt.kept, a.node.Status(l.now).VRRP.Instances[0].State == vrrp.Master)
			l.run(5 * time.Second)
			var vips []string
			for _, p := range a.addrs[1:] {
				vips = append(vips, p.Addr().String())
			}
			require.Equal(t, tt.vips, vips)
			snap := a.ctl.Snapshot()
			for _, v := range vips {
				_, held := snap.Stations.Get(netip.MustParseAddr(v))
				require.True(t, held, v)
			}
			if tt.kept {
				require.NotContains(t, a.log, "(VI_1) Entering MASTER STATE")
			}
		})
	}
}

// TestRefused: a configuration that cannot be done changes nothing.
func TestRefused(t *testing.T) {
	l, a, _ := tutorialPair(t)
	a.boot()
	l.run(10 * time.Second)
	before, log := a.table(), len(a.log)
	twice := tutorial + tutorial[strings.Index(tutorial, "virtual_server"):]
	for _, text := range []string{twice, "net_namespace other\n" + tutorial, "instance other\n" + tutorial} {
		require.Error(t, a.node.Reload(l.now, parsed(t, text)))
	}
	require.Equal(t, before, a.table())
	require.Len(t, a.log, log)
	_, err := New(Config{Keepalived: parsed(t, twice), Control: a.ctl, World: a})
	require.Error(t, err)
}

// TestStaticAddresses come and go with the configuration.
func TestStaticAddresses(t *testing.T) {
	const static = "static_ipaddress {\n10.0.9.9/24 dev eth0\n10.0.9.8/24 dev eth0 label eth0:1\n}\n"
	l, a, _ := tutorialPair(t)
	a.text = static + tutorial
	a.boot()
	require.True(t, a.has("10.0.9.9") && a.has("10.0.9.8"))
	a.reload(strings.Replace(static, "10.0.9.9/24", "10.0.9.7/24", 1) + tutorial)
	require.True(t, a.has("10.0.9.7") && a.has("10.0.9.8"))
	require.False(t, a.has("10.0.9.9"))
	a.node.Stop(l.now)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.168.1.1/24")}, a.addrs)
}

// TestRoutes are the host's while the instance is master, and static ones as long
// as the node runs.
func TestRoutes(t *testing.T) {
	const routes = "virtual_routes {\n10.50.0.0/16 via 192.168.1.9 dev eth0\nblackhole 10.51.0.0/16 no_track\n}\nno_accept\n"
	const static = "static_routes {\n10.60.0.0/16 dev eth0\n}\n"
	l, a, _ := tutorialPair(t)
	a.text = static + strings.Replace(tutorial, "virtual_ipaddress", routes+"virtual_ipaddress", 1)
	a.boot()
	require.Equal(t, []string{"10.60.0.0/16 dev eth0"}, a.routes)
	require.Len(t, a.setup.LeftoverRoutes, 3)
	l.run(10 * time.Second)
	require.True(t, a.refused)
	require.Equal(t, []string{"10.60.0.0/16 dev eth0", "10.50.0.0/16 via 192.168.1.9 dev eth0", "blackhole 10.51.0.0/16"}, a.routes)
	a.reload(strings.Replace(a.text, "10.51.0.0", "10.52.0.0", 1))
	require.Equal(t, []string{"10.60.0.0/16 dev eth0", "10.50.0.0/16 via 192.168.1.9 dev eth0", "blackhole 10.52.0.0/16"}, a.routes)
	a.reload(strings.Replace(a.text, "10.60.0.0", "10.61.0.0", 1))
	require.Contains(t, a.routes, "10.61.0.0/16 dev eth0")
	a.link(false)
	require.Equal(t, []string{"10.61.0.0/16 dev eth0"}, a.routes)
	a.routes = nil // the kernel takes routes away with their interface
	a.link(true)
	require.Equal(t, []string{"10.61.0.0/16 dev eth0"}, a.routes)
	a.node.Stop(l.now)
	require.Empty(t, a.routes)
}

// TestRandomReloads: after any number of reloads the services are those of a
// node that has just started with the last configuration.
func TestRandomReloads(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		l := newLab(t)
		a := l.add("a", "192.168.1.1/24", randomServices(rnd))
		a.boot()
		for range 4 {
			a.reload(randomServices(rnd))
			l.run(time.Duration(rnd.Int64N(int64(500 * time.Millisecond)))) // before any check
		}
		fresh := newLab(t).add("b", "192.168.1.1/24", a.text)
		fresh.boot()
		require.Equal(t, sortedTable(fresh), sortedTable(a), "seed %d\n%s", seed, a.text)
	}
}

// sortedTable is the table without the order in which servers came.
func sortedTable(m *machine) []string {
	var out []string
	for _, line := range m.table() {
		words := strings.Fields(line)
		slices.Sort(words[2:])
		out = append(out, strings.Join(words, " "))
	}
	slices.Sort(out)
	return out
}

func randomServices(rnd *rand.Rand) string {
	var b strings.Builder
	for i := range 1 + rnd.IntN(4) {
		if rnd.IntN(4) == 0 {
			continue
		}
		fmt.Fprintf(&b, "virtual_server 10.9.0.%d 80 {\nprotocol TCP\nlb_algo %s\nlb_kind %s\n", i, []string{"rr", "wlc"}[rnd.IntN(2)], []string{"NAT", "DR"}[rnd.IntN(2)])
		if rnd.IntN(3) == 0 {
			b.WriteString("quorum 2\nsorry_server 10.9.9.9 80\n")
		}
		for j := range 3 {
			if j == 0 || rnd.IntN(2) == 0 {
				fmt.Fprintf(&b, "real_server 10.9.1.%d 80 {\nweight %d\nTCP_CHECK {\nwarmup 9\n}\n}\n", j, 1+rnd.IntN(3))
			}
		}
		b.WriteString("}\n")
	}
	return b.String()
}
