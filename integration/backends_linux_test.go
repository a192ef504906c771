package integration

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/link/netnstest"
)

// What is true of one way in and out of a director must be true of all.

// ioEnv chooses how the directors under test receive where the test does not: a
// word of --io.
const ioEnv = "USVS_TEST_IO"

// tunDevice stands among the words of --io for a TUN device instead of the
// director's interfaces: the host routes the VIP into it, and forwards what
// comes out of it.
const tunDevice = "tun"

var (
	packetBackends = []string{"mmsg", "ring", "xdp"}
	backends       = append(packetBackends, tunDevice)
)

// receives is how the directors of this process receive.
var receives = cmp.Or(os.Getenv(ioEnv), "auto")

// runWords begin the command line of a director.
func runWords() []string {
	if receives == tunDevice {
		return []string{"run"}
	}
	return []string{"run", "--io", receives}
}

// eachBackend runs a test in a lab for each backend, some of them at once.
func eachBackend(t *testing.T, list []string, f func(t *testing.T, lab *netnstest.Lab)) {
	t.Helper()
	for _, b := range list {
		t.Run(b, func(t *testing.T) {
			t.Parallel()
			if b == tunDevice {
				needTUN(t)
			}
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				receives = b
				f(t, lab)
			})
		})
	}
}

// needTUN skips the test where there are no TUN devices.
func needTUN(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		netnstest.Skip(t, "no TUN devices: %v", err)
	}
	f.Close()
}

// startOnTUN starts a director on a TUN device. The host sends the client's
// packets into it, and those of masquerading servers.
func (m *bulkMode) startOnTUN(t *testing.T, s *site) *director {
	t.Helper()
	vip := netip.MustParseAddr(m.vip)
	only := netip.PrefixFrom(vip, vip.BitLen()).String()
	family, addr := "-4", "10.99.0.1/24"
	s.director.Sysctl("net.ipv4.ip_forward", "1")
	if vip.Is6() {
		family, addr = "-6", "fd99::1/64"
		s.director.Sysctl("net.ipv6.conf.all.forwarding", "1")
	}
	d := startDirector(t, s.director, fmt.Sprintf("--tun lvs0 --tun-addr %s --tun-route %s", addr, only))
	if m.repliesPass {
		s.director.Run("ip", family, "route", "add", "default", "dev", "lvs0", "table", "100")
		s.director.Run("ip", family, "rule", "add", "iif", "eth1", "lookup", "100")
		return d
	}
	s.client.AddRoute(only, m.dip)
	return d
}

// backends are those that the mode works with: without Ethernet there is no
// direct routing.
func (m *bulkMode) backends() []string {
	if m.flag == "-g" {
		return packetBackends
	}
	return backends
}

// endpoint is the VIP with a port.
func (m *bulkMode) endpoint(port int) string { return net.JoinHostPort(m.vip, fmt.Sprint(port)) }

const (
	sharedRequests = 100
	iperfAmount    = "30M"
)

func TestShares(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "iperf3", "nstat", "ping")
	for _, m := range slices.Concat(bulkModes, bulkModes6) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			eachBackend(t, m.backends(), func(t *testing.T, lab *netnstest.Lab) { testShares(t, lab, &m) })
		})
	}
}

func testShares(t *testing.T, lab *netnstest.Lab, m *bulkMode) {
	s, d := m.start(t, lab)
	for _, rs := range s.servers {
		startNginx(t, rs, 80)
	}
	m.service(d, 80, "-s rr")
	assertPings(t, s.client, m.vip)

	answers := browse(t, s.client, strings.TrimSuffix(m.endpoint(80), ":80"), sharedRequests)
	assert.Equal(t, map[string]int{"rs1": sharedRequests / 2, "rs2": sharedRequests / 2}, shares(answers))
	assertTurns(t, answers)
	stats := d.counted(m.endpoint(80), sharedRequests)
	for _, rs := range m.servers {
		assert.EqualValues(t, sharedRequests/2, stats[net.JoinHostPort(rs, "80")].conns)
	}
	if m.repliesPass {
		assert.GreaterOrEqual(t, stats[m.endpoint(80)].outPkts, uint64(4*sharedRequests), "answers pass the director")
	} else {
		assert.Zero(t, stats[m.endpoint(80)].outPkts, "answers do not pass the director")
	}
	if receives == tunDevice {
		out, err := s.director.Try(program(), "ipvsadm", "-a", "-t", m.endpoint(80), "-r", m.endpoint(80), "-g")
		assert.Error(t, err)
		assert.Contains(t, out, "Ethernet", "the refusal says why")
	}

	m.service(d, iperfPort, "-s sh") // the control and the data connection belong together
	health := watchTCP(t, s.ends()...)
	servers := iperfServers{}
	for _, direction := range []string{"Up", "Down"} {
		servers.listen(t, s.servers)
		runIperf(t, s.client, m.vip, direction, "--bytes", iperfAmount)
		servers.awaitEnd(t)
	}
	health.assertUnchanged(damage...) // iperf3 itself ends connections by resets
}
