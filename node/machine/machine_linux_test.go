package machine

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/control"
	"usvs/host"
	"usvs/ipvs"
	"usvs/keepalived"
	"usvs/link/netnstest"
	"usvs/node"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == host.GuardCommand {
		_ = host.RunGuard()
		return
	}
	os.Exit(m.Run())
}

func TestEndpoints(t *testing.T) {
	g1, g2 := netip.MustParseAddr("224.0.0.18"), netip.MustParseAddr("224.0.0.19")
	assert.Equal(t, []host.VRRPEndpoint{
		{Interface: "eth0", Protocol: host.ProtocolVRRP, Groups: []netip.Addr{g1, g2}},
		{Interface: "eth0", Protocol: host.ProtocolAH, Groups: []netip.Addr{g1}},
		{Interface: "eth0", Protocol: host.ProtocolVRRP, IPv6: true},
		{Protocol: host.ProtocolVRRP},
	}, endpoints([]node.Socket{
		{Interface: "eth0", Group: g2}, {Interface: "eth0", Group: g1, AH: true}, {Interface: "eth0", Group: g1},
		{Interface: "eth0", Source: netip.MustParseAddr("10.0.0.1")}, {Interface: "eth0", IPv6: true},
		{Source: netip.MustParseAddr("10.0.0.1")}, {Interface: "eth0", Group: g1},
	}))
}

// journal is a log that may be read while it is written.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

const aloneConf = `
vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	state MASTER
	priority 255
	version 3
	advert_int 0.1
	virtual_ipaddress {
		10.9.0.100
	}
}
`

// start opens a machine with a configuration and runs it until the test ends.
func start(t *testing.T, text string) (m *Machine, log *journal, stop func()) {
	t.Helper()
	conf, _ := keepalived.Parse("conf", keepalived.Options{Files: keepalived.Text{"conf": text}})
	log = &journal{}
	c := clock.NewSystem()
	ctl := control.New(control.Config{Clock: c, Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry), Sysctls: ipvs.DefaultSysctls()})
	m, err := Open(Config{Clock: c, Log: slog.New(slog.NewTextHandler(log, nil)), New: func(w node.World) (*node.Node, error) {
		return node.New(node.Config{Keepalived: conf, Control: ctl, World: w, Rand: rand.New(rand.NewPCG(1, 2))})
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return m, log, stop
}

func TestMachine(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Namespace("peer"), "eth0")
		lab.Home.AddAddr("eth0", "10.9.0.1/24")
		lab.Home.Run("ip", "address", "add", "10.9.0.100/32", "dev", "eth0") // left over
		addrs := func() string { return lab.Home.Run("ip", "-4", "-o", "address", "show", "dev", "eth0") }
		routes := func() string { return lab.Home.Run("ip", "route") }
		m, log, stop := start(t, "static_routes {\n10.60.0.0/16 dev eth0\n}\n"+strings.Replace(aloneConf, "virtual_ipaddress",
			"virtual_routes {\n10.50.0.0/16 via 10.9.0.9 dev eth0 src 10.9.0.100\n}\nvirtual_ipaddress", 1))
		require.Eventually(t, func() bool {
			var s node.Status
			err := m.Do(context.Background(), func(now clock.Instant, n *node.Node) { s = n.Status(now) })
			return err == nil && s.VRRP.Instances[0].State.String() == "MASTER"
		}, 10*time.Second, time.Millisecond, log.String())
		assert.Contains(t, addrs(), "10.9.0.100/32")
		lab.Home.SetDown("eth0")
		require.Eventually(t, func() bool { return bytes.Contains([]byte(log.String()), []byte("Entering FAULT STATE")) }, 10*time.Second, time.Millisecond)
		lab.Home.SetUp("eth0")
		require.Eventually(t, func() bool { return bytes.Contains([]byte(addrs()), []byte("10.9.0.100")) }, 10*time.Second, time.Millisecond)
		assert.Contains(t, routes(), "10.50.0.0/16 via 10.9.0.9 dev eth0 proto keepalived src 10.9.0.100")
		assert.Contains(t, routes(), "10.60.0.0/16 dev eth0", "made again with its interface")
		stop()
		assert.NotContains(t, addrs(), "10.9.0.100")
		assert.NotContains(t, routes(), "keepalived")
		assert.Error(t, m.Do(context.Background(), func(clock.Instant, *node.Node) {}), "it has stopped")
	})
}

// keepalived 2.2.7 does the same.
func TestReloadOverwritesNoTrackFile(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Namespace("peer"), "eth0")
		lab.Home.AddAddr("eth0", "10.9.0.1/24")
		path := filepath.Join(t.TempDir(), "number")
		text := "track_file tf {\n file " + path + "\n init_file 5 overwrite\n}\n" + aloneConf
		number := func() string {
			b, _ := os.ReadFile(path)
			return string(b)
		}
		require.NoError(t, os.WriteFile(path, []byte("7\n"), 0o600))
		m, _, _ := start(t, text)
		require.Eventually(t, func() bool { return number() == "5\n" }, 10*time.Second, time.Millisecond)
		require.NoError(t, os.WriteFile(path, []byte("9\n"), 0o600))
		conf, _ := keepalived.Parse("conf", keepalived.Options{Files: keepalived.Text{"conf": text}})
		var err error
		require.NoError(t, m.Do(t.Context(), func(now clock.Instant, n *node.Node) { err = n.Reload(now, conf) }))
		require.NoError(t, err)
		assert.Equal(t, "9\n", number())
	})
}
