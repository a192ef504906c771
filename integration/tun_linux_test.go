package integration

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/link/netnstest"
)

// Where packet sockets are not allowed the host routes the VIP into a TUN
// device, and forwards what comes out of it.

func TestTUNDeviceMasquerade(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "ping")
	needTUN(t)
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := masquerade(t, lab)
		s.director.Sysctl("net.ipv4.ip_forward", "1")
		for _, rs := range s.servers {
			startNginx(t, rs, 80)
		}
		d := startDirector(t, s.director, "--tun lvs0 --tun-addr 10.99.0.1/24 --tun-route 10.1.1.77/32")
		// The real servers' answers go through the device as well.
		s.director.Run("ip", "route", "add", "default", "dev", "lvs0", "table", "100")
		s.director.Run("ip", "rule", "add", "iif", "eth1", "lookup", "100")
		bulkModes[1].service(d, 80, "-s rr")

		answers := browse(t, s.client, "10.1.1.77", requests)
		assert.Equal(t, half, shares(answers))
		assertTurns(t, answers)
		assertPings(t, s.client, "10.1.1.77")

		out, err := s.director.Try(program(), "ipvsadm", "-a", "-t", "10.1.1.77:80", "-r", "10.1.1.80", "-g")
		assert.Error(t, err)
		assert.Contains(t, out, "Ethernet", "the refusal says why")
	})
}

func TestTUNDeviceTunnel(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl")
	needTUN(t)
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := tunnel(t, lab)
		s.director.Sysctl("net.ipv4.ip_forward", "1")
		for _, rs := range s.servers {
			startNginx(t, rs, 80)
		}
		s.realServersUp(vip4, "tun")
		d := startDirector(t, s.director, "--tun lvs0 --tun-addr 10.99.0.1/24 --tun-route "+vip4+"/32")
		bulkModes[2].service(d, 80, "-s rr")
		s.client.AddRoute(vip4+"/32", "10.10.100.1")

		answers := browse(t, s.client, vip4, requests)
		assert.Equal(t, half, shares(answers))
		assertTurns(t, answers)
	})
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
