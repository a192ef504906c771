package netnstest_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
	"usvs/wire"
)

// innerEnv marks the processes that run one of the tests below on purpose.
const innerEnv = "USVS_NETNSTEST_INNER"

func TestLabHasOnlyLoopback(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		links, err := lab.Home.Netlink().LinkList()
		require.NoError(t, err)
		require.NotEmpty(t, links)
		assert.Equal(t, "lo", links[0].Attrs().Name)
		assert.NotZero(t, links[0].Attrs().Flags&net.FlagUp, "loopback is up")
		assert.Equal(t, 1, os.Getpid(), "processes started here end with the test")
	})
}

func TestTCPBetweenNamespaces(t *testing.T) {
	for _, tc := range []struct{ name, client, server, listen string }{
		{"IPv4", "10.0.0.1/24", "10.0.0.2/24", "10.0.0.2:80"},
		{"IPv6", "2001:db8::1/64", "2001:db8::2/64", "[2001:db8::2]:80"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				client, server := lab.Namespace("client"), lab.Namespace("server")
				lab.Veth(client, "eth0", server, "eth0")
				client.AddAddr("eth0", tc.client)
				server.AddAddr("eth0", tc.server)
				assert.Equal(t, "hello", exchange(t, client, server.Listen("tcp", tc.listen)))
			})
		})
	}
}

// exchange connects from client to ln and returns what arrived of "hello".
func exchange(t *testing.T, client *netnstest.Namespace, ln net.Listener) string {
	t.Helper()
	got := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		b, _ := io.ReadAll(conn)
		got <- string(b)
	}()
	conn, err := client.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	_, err = conn.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	return <-got
}

func TestRouterAndBridge(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		client, sw, router, server := lab.Namespace("client"), lab.Namespace("switch"), lab.Namespace("router"), lab.Namespace("server")
		lab.Veth(client, "eth0", sw, "p0")
		lab.Veth(router, "eth0", sw, "p1")
		lab.Veth(router, "eth1", server, "eth0")
		sw.Bridge("br0", "p0", "p1")
		client.AddAddr("eth0", "10.0.0.1/24")
		router.AddAddr("eth0", "10.0.0.254/24")
		router.AddAddr("eth1", "10.1.0.254/24")
		server.AddAddr("eth0", "10.1.0.1/24")
		router.Sysctl("net.ipv4.ip_forward", "1")
		client.AddRoute("10.1.0.0/24", "10.0.0.254")
		server.AddRoute("default", "10.1.0.254")
		client.AddNeighbor("eth0", "10.0.0.254", router.MAC("eth0"))
		assert.Equal(t, "hello", exchange(t, client, server.Listen("tcp", "10.1.0.1:80")))
	})
}

func TestLinkChanges(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		peer := lab.Namespace("peer")
		lab.Veth(lab.Home, "eth0", peer, "eth0")
		mac := wire.MAC{2, 0, 0, 0, 0, 7}
		lab.Home.SetMAC("eth0", mac)
		assert.Equal(t, mac, lab.Home.MAC("eth0"))
		lab.Home.SetMTU("eth0", 1400)
		assert.Equal(t, 1400, lab.Home.Link("eth0").Attrs().MTU)
		lab.Home.SetDown("eth0")
		assert.Zero(t, lab.Home.Link("eth0").Attrs().Flags&net.FlagUp)
		lab.Home.Delete("eth0")
		_, err := peer.Netlink().LinkByName("eth0")
		assert.Error(t, err, "the peer is gone too")
	})
}

func TestProcesses(t *testing.T) {
	netnstest.NeedCommands(t, "ip", "sleep", "cat")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		other := lab.Namespace("other")
		lab.Veth(lab.Home, "here0", other, "there0")
		assert.Contains(t, other.Run("ip", "-o", "link"), "there0")
		assert.NotContains(t, lab.Home.Run("ip", "-o", "link"), "there0")
		_, err := lab.Home.Try("cat", "/nonexistent")
		assert.Error(t, err)

		long := other.Start("sleep", "1000")
		assert.Positive(t, long.Pid())
		assert.Error(t, long.Stop(), "ended by the signal")

		short := other.StartCmd(exec.Command("ip", "-o", "link"))
		assert.NoError(t, short.Wait())
		<-short.Done()
		assert.Contains(t, short.Output(), "there0")
	})
}

func TestDoAndGo(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		other := lab.Namespace("other")
		lab.Veth(lab.Home, "here0", other, "there0")
		inside := func() bool { _, err := net.InterfaceByName("there0"); return err == nil }
		assert.False(t, inside())
		other.Do(func() {
			assert.True(t, inside())
			lab.Home.Do(func() { assert.False(t, inside(), "nested") })
			assert.True(t, inside(), "back from nested")
		})
		assert.False(t, inside())
		var saw bool
		<-other.Go(func() { saw = inside() })
		assert.True(t, saw)
		assert.True(t, strings.HasPrefix(other.Path(), "/proc/"))
		conn := other.ListenPacket("udp", "127.0.0.1:0")
		assert.NoError(t, conn.SetDeadline(time.Now()))
	})
}

// The tests named Inner end as their names say; TestOutcomes runs them.

func TestInnerFails(t *testing.T) {
	if !inner() {
		return
	}
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Namespace("x").Do(func() { t.Fatal("on purpose") })
	})
}

func TestInnerSkips(t *testing.T) {
	if !inner() {
		return
	}
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { netnstest.Skip(t, "no %s here", "moon") })
}

func TestInnerTwice(t *testing.T) {
	if !inner() {
		return
	}
	for range 2 {
		netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {})
	}
}

func inner() bool { return os.Getenv(innerEnv) != "" }

func TestOutcomes(t *testing.T) {
	for _, tc := range []struct {
		test, require, want string
		fails               bool
	}{
		{"TestInnerFails", "", "on purpose", true},
		{"TestInnerTwice", "", "one Run per test", true},
		{"TestInnerSkips", "", "--- SKIP: TestInnerSkips", false},
		{"TestInnerSkips", "1", "no moon here", true},
	} {
		t.Run(tc.test+tc.require, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^"+tc.test+"$", "-test.v")
			cmd.Env = append(os.Environ(), innerEnv+"=1", "USVS_REQUIRE="+tc.require)
			out, err := cmd.CombinedOutput()
			assert.Contains(t, string(out), tc.want)
			if !strings.Contains(string(out), "does not permit") {
				assert.Equal(t, tc.fails, err != nil, "%s", out)
			}
		})
	}
}

func BenchmarkNamespace(b *testing.B) {
	netnstest.Bench(b, func(b *testing.B, lab *netnstest.Lab) {
		for b.Loop() {
			lab.Home.Do(func() {})
		}
		b.ReportMetric(1, "labs/op")
	})
}
