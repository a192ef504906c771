package integration

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/link/netnstest"
)

const vip4 = "10.10.100.107"

var arpReply = regexp.MustCompile(`(?m)reply from \S+ \[([0-9A-F:]+)\]`)

// arping asks for an address twice and returns who answered.
func arping(ns *netnstest.Namespace, addr string) (macs []string) {
	// With a deadline it ends at the second answer, even if both are to the first question.
	out, _ := ns.Try("arping", "-b", "-I", "eth0", "-c", "2", "-w", "2", addr)
	if !strings.Contains(out, "Sent 2 probes") {
		return []string{out}
	}
	for _, m := range arpReply.FindAllStringSubmatch(out, -1) {
		macs = append(macs, strings.ToLower(m[1]))
	}
	return macs
}

// awaitOneAnswer: once a change of addresses is known to the director, every
// question gets one answer, with that machine's MAC.
func awaitOneAnswer(t *testing.T, ns *netnstest.Namespace, addr string, of *netnstest.Namespace) {
	t.Helper()
	mac := of.MAC("eth0").String()
	eventually(t, "one answer for "+addr, func() bool { return slices.Equal(arping(ns, addr), []string{mac, mac}) })
}

// awaitNoAnswer is its opposite.
func awaitNoAnswer(t *testing.T, ns *netnstest.Namespace, addr string) {
	t.Helper()
	eventually(t, "no answer for "+addr, func() bool { return arping(ns, addr) == nil })
}

var echoReply = regexp.MustCompile(`icmp_seq=(\d+) ttl=`)

// ping sends echo requests until it has three replies and returns to which
// those are. A request more goes out if the last reply takes long.
func ping(ns *netnstest.Namespace, addr string) (replies, out string) {
	out, _ = ns.Try("ping", "-n", "-c", "3", "-i", "0.1", "-w", "20", addr)
	for _, m := range echoReply.FindAllStringSubmatch(out, -1) {
		replies += m[1]
	}
	return replies, out
}

// assertPings: every echo request got one reply.
func assertPings(t *testing.T, ns *netnstest.Namespace, addr string) {
	t.Helper()
	replies, out := ping(ns, addr)
	assert.Equal(t, "123", replies, out)
}

// awaitPings: once a change of addresses is known to the director, every echo
// request gets one reply.
func awaitPings(t *testing.T, ns *netnstest.Namespace, addr string) {
	t.Helper()
	eventually(t, "one reply from "+addr, func() bool {
		replies, _ := ping(ns, addr)
		return replies == "123"
	})
}

func TestARP(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "arping", "ping")
	eachBackend(t, packetBackends, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		s.realServersUp(vip4, "dr")
		d := startDirector(t, s.director, "-i eth0")
		awaitNoAnswer(t, s.client, vip4)
		d.ipvsadm("-A -t 10.10.100.107:80 -s rr",
			"-a -t 10.10.100.107:80 -r 10.10.100.111 -g",
			"-a -t 10.10.100.107:80 -r 10.10.100.112 -g")
		awaitOneAnswer(t, s.client, vip4, s.director)
		assertPings(t, s.client, vip4)

		t.Run("VIP on the host", func(t *testing.T) {
			s.director.Run("ip", "addr", "add", vip4+"/32", "dev", "eth0")
			awaitOneAnswer(t, s.client, vip4, s.director)
			assertPings(t, s.client, vip4)
			s.director.Run("ip", "addr", "del", vip4+"/32", "dev", "eth0")
			awaitOneAnswer(t, s.client, vip4, s.director)
		})
		t.Run("VIP on the host's loopback", func(t *testing.T) {
			s.director.Run("ip", "addr", "add", vip4+"/32", "dev", "lo")
			awaitOneAnswer(t, s.client, vip4, s.director)
			assertPings(t, s.client, vip4)
			s.director.Run("ip", "addr", "del", vip4+"/32", "dev", "lo")
		})
		t.Run("Another host answers", func(t *testing.T) {
			thief := s.machine("thief", "lan0 10.10.100.66/24 10.10.100.107/32")
			defer thief.Delete("eth0")
			thief.Run("arping", "-A", "-c", "2", "-I", "eth0", vip4)
			eventually(t, "the conflict is logged", func() bool {
				return d.logged("another host answers for VIP") && d.logged(thief.MAC("eth0").String())
			})
		})
		t.Run("Service deleted", func(t *testing.T) {
			d.ipvsadm("-D -t 10.10.100.107:80")
			awaitNoAnswer(t, s.client, vip4)
			d.ipvsadm("-A -t 10.10.100.107:80 -s rr")
			awaitOneAnswer(t, s.client, vip4, s.director)
		})
		t.Run("Stopped", func(t *testing.T) {
			d.stop()
			awaitNoAnswer(t, s.client, vip4)
		})
	})
}

// With --own host a VIP is owned as long as an interface carries it: keepalived
// or a script moves it.
func TestOwnHost(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "arping", "ping", "nginx", "curl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		for _, rs := range s.servers {
			startNginx(t, rs, 80)
		}
		s.realServersUp(vip4, "dr")
		d := startDirector(t, s.director, "-i eth0 --own host")
		d.ipvsadm("-A -t 10.10.100.107:80 -s rr",
			"-a -t 10.10.100.107:80 -r 10.10.100.111 -g",
			"-a -t 10.10.100.107:80 -r 10.10.100.112 -g")
		awaitNoAnswer(t, s.client, vip4)
		for range 2 {
			s.director.Run("ip", "addr", "add", vip4+"/32", "dev", "eth0")
			awaitOneAnswer(t, s.client, vip4, s.director)
			assertPings(t, s.client, vip4)
			assert.Equal(t, map[string]int{"rs1": 2, "rs2": 2}, shares(browse(t, s.client, vip4, 4)))
			s.director.Run("ip", "addr", "del", vip4+"/32", "dev", "eth0")
			awaitNoAnswer(t, s.client, vip4)
			s.client.Run("ip", "neigh", "flush", "dev", "eth0")
		}
	})
}

// A switch that snoops on multicast delivers solicitations only to those who
// joined.
func TestNeighbourDiscovery(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ping", "ip", "bridge")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		const vip6 = "2001:db8::80"
		s := newSite(t, lab, "lan0")
		s.plug.Run("ip", "link", "set", "lan0", "type", "bridge", "mcast_snooping", "1",
			"mcast_query_response_interval", "10", "mcast_mld_version", "2", "mcast_querier", "1")
		s.client = s.machine("client", "lan0 2001:db8::2/64")
		s.director = s.machine("director", "lan0 2001:db8::1/64")
		s.servers = []*netnstest.Namespace{s.machine("rs1", "lan0 2001:db8::11/64")}
		s.realServersUp(vip6, "dr")
		d := startDirector(t, s.director, "-i eth0")
		d.ipvsadm("-A -t [2001:db8::80]:80 -s rr", "-a -t [2001:db8::80]:80 -r [2001:db8::11]:80 -g")

		eventually(t, "the switch has learned the group", func() bool {
			return strings.Contains(s.plug.Run("bridge", "mdb"), "ff02::1:ff00:80")
		})
		assertPings(t, s.client, vip6)
		assert.Equal(t, s.director.MAC("eth0").String(), neighbourMAC(s.client, vip6))

		// On the host as well the kernel answers, and only it.
		s.director.Run("ip", "addr", "add", vip6+"/128", "dev", "eth0", "nodad")
		s.client.Run("ip", "neigh", "flush", "dev", "eth0")
		awaitPings(t, s.client, vip6)
		s.director.Run("ip", "addr", "del", vip6+"/128", "dev", "eth0")
		s.client.Run("ip", "neigh", "flush", "dev", "eth0")
		awaitPings(t, s.client, vip6)

		d.stop()
		s.client.Run("ip", "neigh", "flush", "dev", "eth0")
		out, err := s.client.Try("ping", "-n", "-c", "1", "-W", "2", vip6)
		assert.Error(t, err, out)
	})
}

// neighbourMAC is what a namespace takes an address's MAC to be.
func neighbourMAC(ns *netnstest.Namespace, addr string) string {
	f := strings.Fields(ns.Run("ip", "neigh", "show", addr))
	for i, word := range f {
		if word == "lladdr" {
			return f[i+1]
		}
	}
	return ""
}
