package host

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
	"usvs/route"
	"usvs/wire"
)

// watch starts a watcher in the lab's own namespace.
func watch(t *testing.T, names ...string) (*Watcher, *tables) {
	t.Helper()
	got := &tables{}
	w, err := NewWatcher(names, got.add)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	require.Equal(t, 1, got.count(), "the first table comes before NewWatcher returns")
	return w, got
}

type tables struct {
	mu        sync.Mutex
	list      []*route.Table
	portStart uint16 // as last told
}

func (l *tables) add(t *route.Table, portStart uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, t)
	l.portStart = portStart
}

func (l *tables) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list)
}

// until waits for a table that satisfies the condition.
func until(t *testing.T, w *Watcher, what string, ok func(*route.Table) bool) {
	t.Helper()
	require.Eventually(t, func() bool { return ok(w.table.Load()) }, 10*time.Second, time.Millisecond, what)
}

func hop(w *Watcher, addr string) route.Hop { return w.table.Load().Lookup(netip.MustParseAddr(addr)) }

func TestWatcherRoutes(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		peer := lab.Namespace("peer")
		home := lab.Home
		home.Sysctl("net.ipv4.ip_unprivileged_port_start", "80")
		lab.Veth(home, "eth0", peer, "eth0")
		lab.Veth(home, "eth1", peer, "eth1")
		lab.Veth(home, "mgmt0", peer, "mgmt0")
		for _, args := range []string{
			"addr add 10.0.0.1/24 dev eth0", "addr add 10.1.0.1/24 dev eth1", "addr add 10.2.0.1/24 dev mgmt0",
			"addr add 2001:db8::1/64 dev eth0 nodad", "addr add 192.0.2.80/32 dev lo",
			"route add default via 10.0.0.254 src 10.0.0.1 mtu 1400",
			"route add 10.9.0.0/16 nexthop via 10.1.0.9 nexthop via 10.0.0.9",
			"route add 10.8.0.0/16 via 10.2.0.9",
			"route add 10.7.0.0/16 via inet6 2001:db8::7 dev eth0",
			"route add blackhole 10.6.0.0/16", "route add unreachable 10.5.0.0/16", "route add throw 10.4.0.0/16",
			"route add 10.0.0.0/8 via 10.0.0.8 metric 50", "route add 10.0.0.0/8 via 10.1.0.8 metric 10",
			"route add local 10.3.0.0/16 dev lo", "route add 10.3.3.0/24 via 10.0.0.3",
			"route add 10.11.0.0/16 via 10.0.0.3 table 100",
			"route add 203.0.113.0/24 via 10.0.0.3 table default",
			"-6 route add 2001:db8:9::/48 via 2001:db8::9 dev eth0", "-6 route add blackhole 2001:db8:6::/48",
			"-6 route add 2001:db8:a::/48 nexthop via 2001:db8::a dev eth0 nexthop via 2001:db8::b dev eth0",
		} {
			home.Run("sh", "-c", "ip "+args)
		}
		w, told := watch(t, "eth1", "eth0")
		assert.EqualValues(t, 80, told.portStart)

		addr := netip.MustParseAddr
		eth1, eth0 := 0, 1
		for dst, want := range map[string]route.Hop{
			"10.0.0.77":      {Kind: route.Unicast, Port: eth0, Via: addr("10.0.0.77"), Src: addr("10.0.0.1"), MTU: 1500},
			"10.0.0.1":       {Kind: route.Local, Via: addr("10.0.0.1"), Src: addr("10.0.0.1")},
			"10.2.0.1":       {Kind: route.Local, Via: addr("10.2.0.1"), Src: addr("10.2.0.1")},
			"192.0.2.80":     {Kind: route.Local, Via: addr("192.0.2.80"), Src: addr("192.0.2.80")},
			"10.0.0.255":     {Via: addr("10.0.0.255")},
			"8.8.8.8":        {Kind: route.Unicast, Port: eth0, Via: addr("10.0.0.254"), Src: addr("10.0.0.1"), MTU: 1400},
			"10.9.1.1":       {Kind: route.Unicast, Port: eth1, Via: addr("10.1.0.9"), Src: addr("10.1.0.1"), MTU: 1500},
			"10.8.1.1":       {Kind: route.Foreign, Via: addr("10.8.1.1")},
			"10.2.0.9":       {Kind: route.Foreign, Via: addr("10.2.0.9"), Src: addr("10.2.0.1")},
			"10.7.1.1":       {Kind: route.Unicast, Port: eth0, Via: addr("2001:db8::7"), Src: addr("10.0.0.1"), MTU: 1500},
			"10.6.1.1":       {Via: addr("10.6.1.1")},
			"10.5.1.1":       {Via: addr("10.5.1.1")},
			"10.4.1.1":       {Via: addr("10.4.1.1")},
			"10.99.1.1":      {Kind: route.Unicast, Port: eth1, Via: addr("10.1.0.8"), Src: addr("10.1.0.1"), MTU: 1500},
			"10.3.3.3":       {Kind: route.Local, Via: addr("10.3.3.3")},
			"10.11.1.1":      {Kind: route.Unicast, Port: eth1, Via: addr("10.1.0.8"), Src: addr("10.1.0.1"), MTU: 1500},
			"203.0.113.1":    {Kind: route.Unicast, Port: eth0, Via: addr("10.0.0.254"), Src: addr("10.0.0.1"), MTU: 1400},
			"127.0.0.9":      {Kind: route.Local, Via: addr("127.0.0.9")},
			"2001:db8::77":   {Kind: route.Unicast, Port: eth0, Via: addr("2001:db8::77"), Src: addr("2001:db8::1"), MTU: 1500},
			"2001:db8:9::1":  {Kind: route.Unicast, Port: eth0, Via: addr("2001:db8::9"), Src: addr("2001:db8::1"), MTU: 1500},
			"2001:db8:a::1":  {Kind: route.Unicast, Port: eth0, Via: addr("2001:db8::a"), Src: addr("2001:db8::1"), MTU: 1500},
			"2001:db8:6::1":  {Via: addr("2001:db8:6::1")},
			"2001:4860::1":   {Via: addr("2001:4860::1")},
			"2001:db8::1":    {Kind: route.Local, Via: addr("2001:db8::1"), Src: addr("2001:db8::1")},
			"ff02::1":        {Via: addr("ff02::1")},
			"255.255.255.25": {Kind: route.Unicast, Port: eth0, Via: addr("10.0.0.254"), Src: addr("10.0.0.1"), MTU: 1400},
		} {
			got := hop(w, dst)
			if want.Kind == route.Local || want.Kind == route.Foreign {
				got.Src, want.Src, got.MTU = netip.Addr{}, netip.Addr{}, 0
			}
			assert.Equal(t, want, got, dst)
		}
		table := w.table.Load()
		assert.True(t, table.IsLocal(addr("10.2.0.1")), "on an interface that is not the director's")
		assert.Equal(t, "eth1", table.Interfaces[0].Name)
		assert.Equal(t, home.MAC("eth0"), table.Interfaces[1].MAC)
		assert.Equal(t, wire.Ethernet, table.Interfaces[1].Medium)
		assert.True(t, table.Interfaces[1].Up)
		assert.Contains(t, table.Interfaces[1].Addrs, netip.MustParsePrefix("10.0.0.1/24"))
	})
}

func TestWatcherFollows(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		peer, home := lab.Namespace("peer"), lab.Home
		w, got := watch(t, "eth0", "eth1")
		assert.Equal(t, []route.Interface{{Name: "eth0"}, {Name: "eth1"}}, w.table.Load().Interfaces)

		lab.Veth(home, "eth0", peer, "eth0")
		until(t, w, "appears", func(tb *route.Table) bool { return tb.Interfaces[0].Up })
		home.AddAddr("eth0", "10.0.0.1/24")
		until(t, w, "address", func(tb *route.Table) bool { return tb.IsLocal(host4) })
		home.AddRoute("default", "10.0.0.254")
		until(t, w, "route", func(tb *route.Table) bool { return tb.Lookup(other4).Kind == route.Unicast })
		home.SetMTU("eth0", 1400)
		until(t, w, "MTU", func(tb *route.Table) bool { return tb.Lookup(other4).MTU == 1400 })
		mac := wire.MAC{2, 1, 2, 3, 4, 5}
		home.SetMAC("eth0", mac)
		until(t, w, "MAC", func(tb *route.Table) bool { return tb.Interfaces[0].MAC == mac })
		peer.SetDown("eth0")
		until(t, w, "carrier lost", func(tb *route.Table) bool { return !tb.Interfaces[0].Up })
		peer.SetUp("eth0")
		until(t, w, "carrier back", func(tb *route.Table) bool { return tb.Interfaces[0].Up })
		home.SetDown("eth0")
		until(t, w, "down", func(tb *route.Table) bool { return tb.Lookup(other4).Kind == route.None })
		home.Delete("eth0")
		until(t, w, "deleted", func(tb *route.Table) bool { return tb.Interfaces[0].MAC == wire.MAC{} })
		assert.Equal(t, "eth0", w.table.Load().Interfaces[0].Name, "keeps its port")
		assert.Greater(t, got.count(), 8)
	})
}

// TestWatcherSeesNewInterface: an interface deleted and made anew in no time
// looks the same, but is another one.
func TestWatcherSeesNewInterface(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		peer, home := lab.Namespace("peer"), lab.Home
		mac := wire.MAC{2, 1, 2, 3, 4, 5}
		make := func() {
			lab.Veth(home, "eth0", peer, "eth0")
			home.SetMAC("eth0", mac)
			home.AddAddr("eth0", "10.0.0.1/24")
		}
		make()
		w, got := watch(t, "eth0")
		until(t, w, "ready", func(tb *route.Table) bool { return tb.Interfaces[0].Up && tb.IsLocal(host4) })
		time.Sleep(20 * time.Millisecond) // for what the kernel still has to say
		before := got.count()
		home.Delete("eth0")
		make()
		require.Eventually(t, func() bool { return got.count() > before }, 10*time.Second, time.Millisecond)
	})
}

// TestWatcherSurvivesStorm: far more changes than notifications fit.
func TestWatcherSurvivesStorm(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		peer, home := lab.Namespace("peer"), lab.Home
		lab.Veth(home, "eth0", peer, "eth0")
		home.AddAddr("eth0", "10.0.0.1/24")
		w, got := watch(t, "eth0")
		require.NoError(t, w.events.SetReceiveBufferSize(2048, false))
		const routes = 5000
		script := ""
		for i := range routes {
			script += fmt.Sprintf("route add 172.%d.%d.0/24 via 10.0.0.9\n", 16+i/256, i%256)
		}
		file := t.TempDir() + "/routes"
		require.NoError(t, os.WriteFile(file, []byte(script), 0o600))
		home.Run("ip", "-batch", file)
		last := netip.AddrFrom4([4]byte{172, 16 + (routes-1)/256, (routes - 1) % 256, 1})
		until(t, w, "the last route", func(tb *route.Table) bool { return tb.Lookup(last).Kind == route.Unicast })
		assert.Less(t, got.count(), routes/2, "changes are taken together")
	})
}

func TestWatcherCloses(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		for range 20 {
			calls := 0
			w, err := NewWatcher([]string{"lo"}, func(*route.Table, uint16) { calls++ })
			require.NoError(t, err)
			lab.Home.SetDown("lo")
			lab.Home.SetUp("lo")
			require.NoError(t, w.Close())
			assert.Positive(t, calls) // no race: nothing calls back any more
		}
	})
}
