package host

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

var second4 = netip.MustParseAddr("192.0.2.81")

func arpSysctls(t *testing.T, devices ...string) map[string]string {
	t.Helper()
	values := map[string]string{}
	for _, device := range devices {
		for _, key := range []string{"arp_ignore", "arp_announce", "rp_filter"} {
			path := sysctlPath("net", "ipv4", "conf", device, key)
			v, err := readSysctl(path)
			require.NoError(t, err)
			values[path] = v
		}
	}
	return values
}

func stateFiles(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(dir + "/realserver-*")
	require.NoError(t, err)
	return len(files)
}

func TestRealServerUpAndDown(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		w := newWireLab(t, lab)
		home := lab.Home
		home.Sysctl("net.ipv4.conf.eth0.arp_ignore", "2")
		home.Sysctl("net.ipv4.conf.all.arp_announce", "1")
		before := arpSysctls(t, "all", "lo", "eth0")
		addrs := func() string { return w.Home.Run("ip", "addr", "show", "dev", "lo") }
		addrsBefore := addrs()
		dir := t.TempDir()
		opts := RealServerOptions{VIPs: []netip.Addr{vip4, vip6}, Device: "eth0", StateDir: dir}

		for range 2 {
			needs, err := RealServerUp(opts)
			require.NoError(t, err)
			assert.False(t, needs)
		}
		assert.Contains(t, addrs(), "inet 192.0.2.80/32 scope global lo")
		assert.Contains(t, addrs(), "inet6 2001:db8:1::80/128 scope global nodad deprecated")
		set := arpSysctls(t, "all", "lo", "eth0")
		assert.Equal(t, "1", set[sysctlPath("net", "ipv4", "conf", "all", "arp_ignore")])
		assert.Equal(t, "2", set[sysctlPath("net", "ipv4", "conf", "eth0", "arp_ignore")], "a stricter value stays")
		assert.Equal(t, "2", set[sysctlPath("net", "ipv4", "conf", "all", "arp_announce")])
		report, err := RealServerStatus(RealServerOptions{StateDir: dir})
		require.NoError(t, err)
		assert.True(t, report.OK(), report.String())
		assert.Contains(t, report.String(), "ok       192.0.2.80/32 on lo\n")
		assert.Contains(t, report.String(), "ok       net/ipv4/conf/eth0/arp_announce = 2\n")

		_, err = RealServerUp(RealServerOptions{VIPs: []netip.Addr{second4}, StateDir: dir})
		require.NoError(t, err)
		require.NoError(t, RealServerDown(RealServerOptions{VIPs: []netip.Addr{vip4, other4}, StateDir: dir}))
		assert.NotContains(t, addrs(), "192.0.2.80/32")
		assert.Contains(t, addrs(), "192.0.2.81/32")
		assert.Equal(t, set, arpSysctls(t, "all", "lo", "eth0"), "as long as a VIP is left")

		for range 2 {
			require.NoError(t, RealServerDown(RealServerOptions{StateDir: dir}))
			assert.Equal(t, before, arpSysctls(t, "all", "lo", "eth0"))
			assert.Equal(t, addrsBefore, addrs())
			assert.Zero(t, stateFiles(t, dir))
		}
	})
}

// TestRealServerKeepsForeignThings: what was there before, or was changed since.
func TestRealServerKeepsForeignThings(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Home.AddAddr("lo", vip4.String()+"/32")
		opts := RealServerOptions{VIPs: []netip.Addr{vip4, second4}, StateDir: t.TempDir()}
		_, err := RealServerUp(opts)
		require.NoError(t, err)
		lab.Home.Sysctl("net.ipv4.conf.lo.arp_ignore", "8")
		lab.Home.Run("ip", "addr", "del", second4.String()+"/32", "dev", "lo")
		require.NoError(t, RealServerDown(opts))
		assert.Contains(t, lab.Home.Run("ip", "addr", "show", "dev", "lo"), vip4.String(), "it was there before")
		v, err := readSysctl(sysctlPath("net", "ipv4", "conf", "lo", "arp_ignore"))
		require.NoError(t, err)
		assert.Equal(t, "8", v)
	})
}

func TestRealServerRefuses(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		newWireLab(t, lab)
		dir := t.TempDir()
		for want, vips := range map[string][]netip.Addr{
			"no VIP given":                          nil,
			"127.0.0.9 cannot be a VIP":             {netip.MustParseAddr("127.0.0.9")},
			"224.0.0.1 cannot be a VIP":             {netip.MustParseAddr("224.0.0.1")},
			"invalid IP cannot be a VIP":            {{}},
			"10.0.0.1 is on eth0, which answers":    {host4},
			"2001:db8::1 is on eth0, which answers": {vip4, host6},
			"::ffff:192.0.2.80 cannot be a VIP":     {netip.MustParseAddr("::ffff:192.0.2.80")},
			"fe80::1%eth0 cannot be a VIP":          {netip.MustParseAddr("fe80::1%eth0")},
		} {
			_, err := RealServerUp(RealServerOptions{VIPs: vips, StateDir: dir})
			assert.ErrorContains(t, err, want)
		}
		assert.Zero(t, stateFiles(t, dir), "nothing was done")
		_, err := RealServerUp(RealServerOptions{VIPs: []netip.Addr{vip4}, StateDir: dir, Device: "eth9"})
		assert.ErrorContains(t, err, "eth9")
		assert.Zero(t, stateFiles(t, dir), "nothing was done, so that another try is not in its way")
		lab.Home.SetDown("lo")
		_, err = RealServerUp(RealServerOptions{VIPs: []netip.Addr{vip4}, StateDir: dir})
		assert.ErrorContains(t, err, "ip link set lo up")
		require.NoError(t, os.WriteFile(dir+"/file", nil, 0o600))
		_, err = RealServerStatus(RealServerOptions{StateDir: dir + "/file"})
		assert.ErrorContains(t, err, "state directory")
	})
}

func TestRealServerStatus(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		dir := t.TempDir()
		report, err := RealServerStatus(RealServerOptions{StateDir: dir})
		require.NoError(t, err)
		assert.True(t, report.OK())
		assert.Equal(t, "no VIP is set up\n", report.String())

		newWireLab(t, lab)
		lab.Home.AddAddr("eth0", vip4.String()+"/32")
		report, err = RealServerStatus(RealServerOptions{VIPs: []netip.Addr{vip4}, Tunnel: true, StateDir: dir})
		require.NoError(t, err)
		assert.False(t, report.OK())
		for _, line := range []string{
			"ok       lo is up\n",
			"MISSING  192.0.2.80/32 on lo: usvs realserver up --vip 192.0.2.80\n",
			"MISSING  192.0.2.80 nowhere else: it is on eth0 too",
			"MISSING  net/ipv4/conf/all/arp_ignore = 1: it is 0\n",
			"MISSING  tunnelled packets are unpacked by tunl0: ",
		} {
			assert.Contains(t, report.String(), line)
		}
		assert.Zero(t, stateFiles(t, dir), "asking changes nothing")
	})
}

// TestRealServerStatePerNamespace: two namespaces share a state directory.
func TestRealServerStatePerNamespace(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		other := lab.Namespace("other")
		dir := t.TempDir()
		_, err := RealServerUp(RealServerOptions{VIPs: []netip.Addr{vip4}, StateDir: dir})
		require.NoError(t, err)
		other.Do(func() {
			_, err := RealServerUp(RealServerOptions{VIPs: []netip.Addr{second4}, StateDir: dir})
			require.NoError(t, err)
			require.NoError(t, RealServerDown(RealServerOptions{StateDir: dir}))
		})
		report, err := RealServerStatus(RealServerOptions{StateDir: dir})
		require.NoError(t, err)
		assert.True(t, report.OK(), report.String())
		assert.Equal(t, []netip.Addr{vip4}, report.VIPs)
	})
}

// TestRealServerDirectRoute: the network does not learn of the VIP, and packets
// sent to the MAC are served.
func TestRealServerDirectRoute(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		w := newWireLab(t, lab)
		w.client.Run("ip", "route", "add", vip4.String()+"/32", "dev", "eth0")
		w.client.Run("ip", "route", "add", vip6.String()+"/128", "dev", "eth0")
		asks := func(vip netip.Addr) string {
			_ = quickEcho(w.client, netip.AddrPortFrom(vip, 80).String())
			return w.client.Run("ip", "neigh", "show", vip.String())
		}
		w.Home.AddAddr("lo", vip4.String()+"/32")
		assert.Contains(t, asks(vip4), "lladdr", "a host without the settings answers")
		w.Home.Run("ip", "addr", "del", vip4.String()+"/32", "dev", "lo")
		w.client.Run("ip", "neigh", "flush", "all")

		opts := RealServerOptions{VIPs: []netip.Addr{vip4, vip6}, StateDir: t.TempDir()}
		_, err := RealServerUp(opts)
		require.NoError(t, err)
		for _, vip := range opts.VIPs {
			assert.NotContains(t, asks(vip), "lladdr", "%v stays secret", vip)
			w.client.AddNeighbor("eth0", vip.String(), w.mac)
			addr := netip.AddrPortFrom(vip, 80).String()
			go serveUpload(w.Home.Listen("tcp", addr))
			assert.NoError(t, upload(w.client, addr))
		}
	})
}

func TestRealServerTunnel(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		w := newWireLab(t, lab)
		opts := RealServerOptions{VIPs: []netip.Addr{vip4, vip6}, Tunnel: true, Userspace: true, StateDir: t.TempDir()}
		needs, err := RealServerUp(opts)
		require.NoError(t, err)
		require.True(t, needs)
		stop := startDecapsulator(t, DecapsulatorOptions{})
		needs, err = RealServerUp(opts)
		require.NoError(t, err)
		assert.False(t, needs, "it runs")
		report, err := RealServerStatus(RealServerOptions{StateDir: opts.StateDir})
		require.NoError(t, err)
		assert.True(t, report.OK(), report.String())

		stopTunnel := startTunnel(t, w, encapsulations[0], peer4, host4, true)
		for _, vip := range opts.VIPs {
			addr := netip.AddrPortFrom(vip, 80).String()
			go serveUpload(w.Home.Listen("tcp", addr))
			assert.NoError(t, upload(w.client, addr))
		}
		stopTunnel()
		require.NoError(t, RealServerDown(RealServerOptions{StateDir: opts.StateDir}))
		require.Eventually(t, func() bool { return !DecapsulatorRuns() }, 10*time.Second, 10*time.Millisecond)
		assert.NoError(t, stop())
	})
}

// TestRealServerKernelTunnel: what is done to the kernel's tunnel interface, and
// undone. A bridge plays the interface, as not every kernel has the ipip module.
func TestRealServerKernelTunnel(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		if _, err := lab.Home.Netlink().LinkByName("tunl0"); err != nil {
			lab.Home.Run("ip", "link", "add", "tunl0", "type", "bridge")
		}
		lab.Home.Sysctl("net.ipv4.conf.all.rp_filter", "1")
		before := arpSysctls(t, "all", "lo", "tunl0")
		show := func() string { return lab.Home.Run("ip", "addr", "show", "dev", "tunl0") }
		opts := RealServerOptions{VIPs: []netip.Addr{vip4}, Tunnel: true, StateDir: t.TempDir()}
		for range 2 {
			needs, err := RealServerUp(opts)
			require.NoError(t, err)
			require.False(t, needs)
		}
		assert.Contains(t, show(), "UP")
		assert.Contains(t, show(), "inet 127.85.83.1/32 scope host")
		set := arpSysctls(t, "tunl0")
		assert.Equal(t, "2", set[rpFilterPath("tunl0")])
		report, err := RealServerStatus(RealServerOptions{StateDir: opts.StateDir})
		require.NoError(t, err)
		assert.Contains(t, report.String(), "ok       tunnelled packets are unpacked by tunl0\n")
		err = RunDecapsulator(context.Background(), DecapsulatorOptions{})
		assert.ErrorContains(t, err, "tunl0 is up and unpacks the same packets")

		require.NoError(t, RealServerDown(opts))
		assert.Equal(t, before, arpSysctls(t, "all", "lo", "tunl0"))
		assert.NotContains(t, show(), "127.85.83.1")
		assert.NotContains(t, show(), ",UP")
	})
}
