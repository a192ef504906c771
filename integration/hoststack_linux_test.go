package integration

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// Whatever the host is set to, its own stack adds nothing to what the director
// does: no reset, no ICMP, no second copy of a packet.
func TestHostStackKeepsQuiet(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "tcpdump")
	if receives == "xdp" {
		t.Skip("tcpdump does not see what an XDP socket sends")
	}
	for _, m := range bulkModes[:2] {
		for _, carries := range []string{"nothing", "lo", "eth0"} {
			t.Run(m.name+"/VIP on "+carries, func(t *testing.T) {
				t.Parallel()
				netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { testQuiet(t, lab, &m, carries) })
			})
		}
	}
}

func testQuiet(t *testing.T, lab *netnstest.Lab, m *bulkMode, carries string) {
	s, d := m.start(t, lab)
	for _, rs := range s.servers {
		startNginx(t, rs, 80)
	}
	if carries != "nothing" {
		s.director.Run("ip", "addr", "add", m.vip+"/32", "dev", carries)
	}
	m.service(d, 80, "-s rr")
	awaitOneAnswerIfNear(t, s, m)
	for _, forward := range []string{"0", "1"} {
		t.Run("ip_forward="+forward, func(t *testing.T) {
			s.director.Sysctl("net.ipv4.ip_forward", forward)
			// What leaves the director, by any of its interfaces.
			mac := map[string]string{"eth0": s.director.MAC("eth0").String()}
			if m.repliesPass {
				mac["eth1"] = s.director.MAC("eth1").String()
			}
			var dumps []*dump
			for dev, mac := range mac {
				dumps = append(dumps, startDump(t, s.director, dev, "-Q", "out", "-S", "-s", "256", "ether src "+mac+" and (tcp or icmp)"))
			}
			const n = 20
			assert.Equal(t, map[string]int{"rs1": n / 2, "rs2": n / 2}, shares(browse(t, s.client, m.vip, n)))
			for _, dump := range dumps {
				eventually(t, "tcpdump has seen all handshakes", func() bool { return strings.Count(dump.proc.Output(), "Flags [S") >= n })
				dump.stop()
			}
			assertNoExtras(t, dumps, n)
		})
	}
	// The host itself gets what is its own.
	assertPings(t, s.client, m.vip)
}

// awaitOneAnswerIfNear waits until the director knows what the host carries,
// which ARP shows where the VIP is on the client's LAN.
func awaitOneAnswerIfNear(t *testing.T, s *site, m *bulkMode) {
	t.Helper()
	if !m.repliesPass {
		awaitOneAnswer(t, s.client, m.vip, s.director)
	}
	browse(t, s.client, m.vip, 2)
}

// assertNoExtras: of n connections each packet left once, and nothing else did.
func assertNoExtras(t *testing.T, dumps []*dump, n int) {
	t.Helper()
	for _, dump := range dumps {
		seen := map[string]int{}
		for _, line := range dump.lines() {
			if strings.Contains(line, "ICMP") || strings.Contains(line, "Flags [R") {
				t.Errorf("the director sent: %s", line)
			}
			if strings.Contains(line, "Flags [S") {
				seen[line[strings.Index(line, "length"):]]++
			}
		}
		assert.Len(t, seen, n, "handshakes")
		for packet, copies := range seen {
			assert.Equal(t, 1, copies, packet)
		}
	}
}

// The VIP is on the host, which serves another port of it: sshd, say.
func TestHostServiceOnVIP(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		for _, rs := range s.servers {
			startNginx(t, rs, 80)
		}
		s.realServersUp(vip4, "dr")
		s.director.AddAddr("eth0", vip4+"/32")
		startEcho(t, s.director, vip4+":22")
		d := startDirector(t, s.director, "-i eth0")
		before := startTalk(t, s.client, vip4+":22")
		d.ipvsadm("-A -t 10.10.100.107:80 -s rr",
			"-a -t 10.10.100.107:80 -r 10.10.100.111 -g",
			"-a -t 10.10.100.107:80 -r 10.10.100.112 -g")
		before.assertWorks()
		after := startTalk(t, s.client, vip4+":22")
		assert.Equal(t, "director", after.server)
		assert.Equal(t, map[string]int{"rs1": 2, "rs2": 2}, shares(browse(t, s.client, vip4, 4)))

		// A mark rule makes the director look at every port of the VIP.
		usvs(t, s.director, "iptables -t mangle -A PREROUTING -d 10.10.100.107 -p tcp --dport 443 -j MARK --set-mark 7")
		d.ipvsadm("-A -f 7 -s rr")
		assert.Equal(t, "director", startTalk(t, s.client, vip4+":22").server)
		after.assertWorks()
		before.assertWorks()

		// And without usvs as with it.
		d.kill()
		after.assertWorks()
		assert.Equal(t, "director", startTalk(t, s.client, vip4+":22").server)
	})
}

// -r with an address of the director's own.
func TestLocalNode(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		startNginx(t, s.servers[0], 80)
		startNginx(t, s.director, 80, 8080)
		s.realServersUp(vip4, "dr")
		s.director.AddAddr("eth0", vip4+"/32")
		d := startDirector(t, s.director, "-i eth0")
		d.ipvsadm("-A -t 10.10.100.107:80 -s rr",
			"-a -t 10.10.100.107:80 -r 10.10.100.111 -g",
			"-a -t 10.10.100.107:80 -r 10.10.100.1 -g")
		assert.Regexp(t, `10\.10\.100\.1:80 +Route`, d.ipvsadm("-Ln"), "locality is the route's, not the server's")
		assert.Equal(t, map[string]int{"rs1": 20, "director": 20}, shares(browse(t, s.client, vip4, 40)))
	})
}

// The director reaches masqueraded real servers itself, from where it checks
// their health, and others through it, around the virtual service.
func TestMasqueradeNeighbourhood(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "ping")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := masquerade(t, lab)
		s.director.Sysctl("net.ipv4.ip_forward", "1")
		other := s.machine("other", "lan1 10.1.1.90/24")
		other.AddRoute("default", "10.1.1.1")
		for _, rs := range append(s.servers, other) {
			startNginx(t, rs, 80)
		}
		d := startDirector(t, s.director, "-i eth0 -i eth1")
		bulkModes[1].service(d, 80, "-s rr")
		for _, carries := range []bool{false, true} {
			if carries {
				s.director.AddAddr("eth1", "10.1.1.77/32")
			}
			assert.Equal(t, []string{"rs1", "rs1", "rs1"}, browse(t, s.director, "10.1.1.78", 3), "health check")
			assert.Equal(t, []string{"rs2"}, browse(t, s.client, "10.1.1.79", 1), "past the service, to a real server's port")
			assert.Equal(t, []string{"other"}, browse(t, s.client, "10.1.1.90", 1), "unrelated forwarding")
			assertPings(t, s.client, "10.1.1.90")
			assertPings(t, s.client, "10.1.1.78")
			assertPings(t, s.director, "10.1.1.78")
			assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, shares(browse(t, s.client, "10.1.1.77", 8)))
		}
	})
}

// Datagrams that come and go in fragments.
func TestFragments(t *testing.T) {
	t.Parallel()
	for _, m := range bulkModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			eachBackend(t, m.backends(), func(t *testing.T, lab *netnstest.Lab) { testFragments(t, lab, &m) })
		})
	}
}

func testFragments(t *testing.T, lab *netnstest.Lab, m *bulkMode) {
	s, d := m.start(t, lab)
	s.director.Sysctl("net.ipv4.ip_forward", "1")
	for _, rs := range s.servers {
		repeatDatagrams(rs.ListenPacket("udp4", listenAddr(m)))
	}
	d.ipvsadm(fmt.Sprintf("-A -u %s:7 -s rr", m.vip))
	for _, rs := range m.servers {
		d.ipvsadm(fmt.Sprintf("-a -u %s:7 -r %s %s", m.vip, rs, m.flag))
	}
	sizes := []int{100, 1400, 1472, 4096, 9000, 60000}
	for _, size := range sizes {
		conn, err := s.client.Dial("udp", m.vip+":7")
		require.NoError(t, err)
		t.Log(conn.LocalAddr(), size)
		assertRepeated(t, conn, size)
		conn.Close()
	}
	d.counted(m.vip+":7", len(sizes))
}

// listenAddr is where a datagram server listens: answers come from the address
// it is bound to, which must be the VIP unless the director rewrites it.
func listenAddr(m *bulkMode) string {
	if m.repliesPass {
		return ":7"
	}
	return m.vip + ":7"
}

func repeatDatagrams(conn net.PacketConn) {
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
}

// assertRepeated sends a datagram until it comes back: datagrams may get lost,
// the first to a neighbour for instance.
func assertRepeated(t *testing.T, conn net.Conn, size int) {
	t.Helper()
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = byte(i * 7)
	}
	buf := make([]byte, 1<<16)
	eventually(t, fmt.Sprintf("a datagram of %d bytes comes back", size), func() bool {
		_, _ = conn.Write(sent)
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		n, err := conn.Read(buf)
		return err == nil && bytes.Equal(sent, buf[:n])
	})
}

// A killed director leaves nothing that hurts the host.
func TestKill(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "nft", "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		for _, rs := range append(s.servers, s.director) {
			startNginx(t, rs, 80)
		}
		s.realServersUp(vip4, "dr")
		s.director.AddAddr("eth0", vip4+"/32")
		commands := []string{"-A -t 10.10.100.107:80 -s rr",
			"-a -t 10.10.100.107:80 -r 10.10.100.111 -g",
			"-a -t 10.10.100.107:80 -r 10.10.100.112 -g"}
		for range 3 {
			d := startDirector(t, s.director, "-i eth0")
			d.ipvsadm(commands...)
			assert.Equal(t, map[string]int{"rs1": 2, "rs2": 2}, shares(browse(t, s.client, vip4, 4)))
			assert.Len(t, nftTables(t, s.director), 1)
			links := s.director.Run("ip", "-o", "link")
			assert.Contains(t, links, "usvs0a")
			assert.NotContains(t, links, "usvs1a", "the pair of the one before is cleared away")
			d.kill()
			assert.Empty(t, nftTables(t, s.director))
			assert.Equal(t, []string{"director", "director"}, browse(t, s.client, vip4, 2), "the host's own server")
			out, err := s.director.Try(program(), "ipvsadm", "-Ln")
			assert.Error(t, err, out)
		}
		d := startDirector(t, s.director, "-i eth0")
		d.stop()
		assert.NotContains(t, s.director.Run("ip", "-o", "link"), "usvs", "a stopped director leaves nothing at all")
	})
}
