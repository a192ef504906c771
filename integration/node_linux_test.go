package integration

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// lvsNode is a running `usvs run --keepalived`.
type lvsNode struct {
	*director
	file string
}

// startNode starts one. It chooses its interfaces itself.
func startNode(t *testing.T, ns *netnstest.Namespace, conf string) *lvsNode {
	t.Helper()
	n := &lvsNode{file: filepath.Join(t.TempDir(), "keepalived.conf")}
	n.write(t, conf)
	n.start(t, ns)
	return n
}

// start starts it again, too.
func (n *lvsNode) start(t *testing.T, ns *netnstest.Namespace) {
	t.Helper()
	n.director = startDirector(t, ns, "--log-detail --keepalived "+n.file)
}

func (n *lvsNode) write(t *testing.T, conf string) {
	t.Helper()
	require.NoError(t, os.WriteFile(n.file, []byte(conf), 0o644))
}

func (n *lvsNode) reload(t *testing.T, conf string) {
	t.Helper()
	n.write(t, conf)
	n.ns.Run("kill", "-HUP", strconv.Itoa(n.proc.Pid()))
}

// awaitLog waits until the node has logged something.
func (n *lvsNode) awaitLog(text string) {
	n.t.Helper()
	eventually(n.t, "logged: "+text, func() bool { return n.logged(text) })
}

// startNodes starts two, the first of which is to be the master.
func (s *keepalivedSite) startNodes(conf func(priority int) string) (master, backup *lvsNode) {
	s.t.Helper()
	master = startNode(s.t, s.director, conf(150))
	backup = startNode(s.t, s.backup, conf(100))
	return master, backup
}

func runNodes(t *testing.T, test func(*testing.T, *netnstest.Lab)) {
	t.Helper()
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "ip")
	netnstest.Run(t, test)
}

// The classic pair with what users are given in examples/keepalived: what
// TestKeepalived does with keepalived itself.
func TestNodePair(t *testing.T) {
	runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		n1 := startNode(t, s.director, example(t, "master.conf"))
		n2 := startNode(t, s.backup, example(t, "backup.conf"))
		s.awaitVIP(s.director, s.backup, vip4)
		assert.True(t, n1.logged("(web) Entering MASTER STATE"))
		awaitWeights(n1.director, bothServers)
		awaitWeights(n2.director, bothServers)
		n2.awaitOwn(vip4, false)
		who := s.requests(vip4, 3*clients)
		assert.Equal(t, 3*clients, who["rs1"]+who["rs2"])
		assert.GreaterOrEqual(t, min(who["rs1"], who["rs2"]), clients, "both servers take part: %v", who)
		assert.Equal(t, s.director.MAC("eth0").String(), neighbourMAC(s.client, vip4))

		vrrp, health := usvs(t, s.director, "vrrp"), usvs(t, s.director, "health")
		assert.Regexp(t, `web +MASTER .* 150 +51 +eth0 +this node +10\.10\.100\.107/32`, vrrp)
		assert.Regexp(t, `web +BACKUP .* 100 +51 +eth0 +10\.10\.100\.1 \(150\)`, usvs(t, s.backup, "vrrp"))
		assert.Contains(t, health, "10.10.100.112")
		assert.Contains(t, usvs(t, s.director, "vrrp --json"), `"state": "MASTER"`)
		t.Logf("usvs vrrp\n%susvs health\n%s", vrrp, health)

		t.Run("A server ends", func(t *testing.T) { s.testServerEnds(t, n1.director) })
		assert.True(t, n1.logged("TCP_CHECK on service [10.10.100.111]:tcp:80 failed"), "%s", n1.proc.Output())
		assert.True(t, n1.logged("Removing service [10.10.100.111]:tcp:80 from VS [10.10.100.107]:tcp:80"))
		t.Run("The master ends", func(t *testing.T) { s.testMasterEnds(t, n1, n2) })
		t.Run("The network ends", s.testNetworkEnds)
	})
}

// testMasterEnds: it is stopped and its backup takes over at once, it comes back
// and takes over, it is killed and its backup notices.
func (s *keepalivedSite) testMasterEnds(t *testing.T, master, backup *lvsNode) {
	l := s.startLoad(vip4)
	defer l.end()
	l.goesOn(t)
	master.stop()
	assert.True(t, master.logged("(web) sent 0 priority"), "%s", master.proc.Output())
	s.awaitVIP(s.backup, s.director, vip4)
	assert.True(t, backup.logged("Backup received priority 0 advertisement"))
	l.goesOn(t)
	l.report(t, "the master was stopped")

	master.start(s.t, s.director)
	s.awaitVIP(s.director, s.backup, vip4)
	l.goesOn(t)
	l.report(t, "the master came back")

	master.kill()
	eventually(t, "the backup has "+vip4, func() bool { return has(s.backup, vip4) })
	l.goesOn(t)
	l.report(t, "the master was killed")
	assert.False(t, has(s.director, vip4), "the guard took the address off")
	assert.Equal(t, 2, strings.Count(backup.proc.Output(), "Backup received priority 0 advertisement"), "and said farewell")
	addAddr(s.director, vip4) // as if the guard had been killed, too

	master.start(s.t, s.director)
	master.awaitLog("(web) removing VIPs.")
	s.awaitVIP(s.director, s.backup, vip4)
	l.goesOn(t)
	l.report(t, "the master came back again")
}

// fast is what makes a pair fail over within half a second.
func fast(conf string) string {
	return strings.NewReplacer("advert_int 1", "advert_int 0.1\n\tversion 3").Replace(conf)
}

// A changed configuration is read while connections are open; one with errors
// changes nothing.
func TestNodeReload(t *testing.T) {
	runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		startEcho(t, s.servers[0], "[::]:7")
		echo := serviceConf(vip4+" 7", "", "10.10.100.111 7")
		conf := fast(vrrpConf(150, vip4+"/32"))
		n := startNode(t, s.director, conf+echo+serviceConf(vip4+" 80", "", "10.10.100.111 80", "10.10.100.112 80"))
		n.awaitLog("(web) Entering MASTER STATE")
		awaitWeights(n.director, map[string]int{"10.10.100.111:7": 1, "10.10.100.111:80": 1, "10.10.100.112:80": 1})
		k := startTalk(t, s.client, vip4+":7")
		k.assertWorks()

		n.reload(t, conf+echo+serviceConf(vip4+" 80", "", "10.10.100.112 80"))
		awaitWeights(n.director, map[string]int{"10.10.100.111:7": 1, "10.10.100.112:80": 1})
		k.assertWorks()
		assert.Equal(t, map[string]int{"rs2": 4}, s.requests(vip4, 4))

		// Another address, and another instance with an address on its own.
		more := strings.Replace(conf, vip4+"/32", vip4+"/32\n10.10.100.108", 1) + instanceConf("second", "eth0", 52, 150, "10.10.100.109")
		n.reload(t, more+echo+serviceConf(vip4+" 80", "", "10.10.100.112 80"))
		eventually(t, "the new addresses", func() bool { return has(s.director, "10.10.100.108") && has(s.director, "10.10.100.109") })
		k.assertWorks()
		n.reload(t, conf+echo+serviceConf(vip4+" 80", "", "10.10.100.112 80"))
		eventually(t, "they are gone", func() bool { return !has(s.director, "10.10.100.108") && !has(s.director, "10.10.100.109") })
		k.assertWorks()

		n.reload(t, conf+"virtual_server "+vip4+" 80 {\n\tlb_algo\n}\n")
		n.awaitLog("everything stays as it was")
		assert.Equal(t, map[string]int{"10.10.100.111:7": 1, "10.10.100.112:80": 1}, weights(n.director))
		k.assertWorks()
		assert.Equal(t, 1, strings.Count(n.proc.Output(), "(web) Entering MASTER STATE"), "no election")
	})
}

// VRRP over IPv6.
func TestNodeIPv6(t *testing.T) {
	runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		master, backup := s.startNodes(func(priority int) string {
			return fast(vrrpConf(priority, "fe80::107/128", vip6+"/128")) + serviceConf(vip6+" 80", "", "2001:db8::111 80", "2001:db8::112 80")
		})
		s.awaitVIP(s.director, s.backup, vip6)
		for _, n := range []*lvsNode{master, backup} {
			awaitWeights(n.director, map[string]int{"[2001:db8::111]:80": 1, "[2001:db8::112]:80": 1})
		}
		master.awaitOwn(vip6, true)
		assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, s.requests(vip6, 8))
		assert.Equal(t, s.director.MAC("eth0").String(), neighbourMAC(s.client, vip6))

		l := s.startLoad(vip6)
		defer l.end()
		l.goesOn(t)
		master.stop()
		s.awaitVIP(s.backup, s.director, vip6)
		l.goesOn(t)
		l.report(t, "the master was stopped")
		assert.Equal(t, s.backup.MAC("eth0").String(), neighbourMAC(s.client, vip6))
	})
}

// An address with a virtual MAC is on no interface: the director answers for it,
// with that MAC, and clients' neighbour entries hold over a failover.
func TestNodeVirtualMAC(t *testing.T) {
	runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		master, backup := s.startNodes(func(priority int) string {
			conf := strings.Replace(fast(vrrpConf(priority, vip4+"/32")), "interface eth0", "interface eth0\n\tuse_vmac", 1)
			return conf + serviceConf(vip4+" 80", "", "10.10.100.111 80", "10.10.100.112 80")
		})
		master.awaitOwn(vip4, true)
		for _, n := range []*lvsNode{master, backup} {
			awaitWeights(n.director, bothServers)
		}
		s.requests(vip4, 4)
		assert.Equal(t, "00:00:5e:00:01:33", neighbourMAC(s.client, vip4))
		assert.False(t, has(s.director, vip4))
		master.stop()
		backup.awaitOwn(vip4, true)
		s.requests(vip4, 4)
		assert.Equal(t, "00:00:5e:00:01:33", neighbourMAC(s.client, vip4))
	})
}

// Somebody takes the address away: another election, and it is back.
func TestNodeAddressTaken(t *testing.T) {
	runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		n := startNode(t, s.director, fast(vrrpConf(150, vip4+"/32"))+serviceConf(vip4+" 80", "", "10.10.100.111 80"))
		eventually(t, "master", func() bool { return has(s.director, vip4) })
		delAddr(s.director, vip4)
		eventually(t, "the address is back", func() bool { return has(s.director, vip4) })
		assert.Equal(t, 2, strings.Count(n.proc.Output(), "(web) Entering MASTER STATE"), "%s", n.proc.Output())
		s.requests(vip4, 2)
	})
}

// Open connections go on when the master is killed, and when it comes back: the
// directors tell each other about them.
func TestNodeSync(t *testing.T) {
	runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		const conns = 20
		for _, rs := range s.servers {
			startEcho(t, rs, "[::]:7")
		}
		master, backup := s.startNodes(func(priority int) string {
			return syncConf + fast(vrrpConf(priority, vip4+"/32")) + serviceConf(vip4+" 7", "", "10.10.100.111 7", "10.10.100.112 7")
		})
		eventually(t, "both know their part", func() bool { return syncState(master.director) == "master" && syncState(backup.director) == "backup" })
		master.awaitOwn(vip4, true)
		talks, _ := startTalks(t, s.client, vip4+":7", conns)
		eventually(t, "the backup knows all connections", func() bool { return backup.entries() == conns })
		work := func() {
			t.Helper()
			for _, k := range talks {
				k.assertWorks()
			}
		}
		master.kill()
		s.awaitVIP(s.backup, s.director, vip4)
		backup.awaitOwn(vip4, true)
		work()
		assert.Equal(t, "master", syncState(backup.director))

		master.start(t, s.director)
		s.awaitVIP(s.director, s.backup, vip4)
		master.awaitOwn(vip4, true)
		assert.Equal(t, "backup", syncState(backup.director))
		status := master.status()
		assert.EqualValues(t, 1, status["vrrp web"]["state MASTER"])
		assert.EqualValues(t, 2, status["health"]["real servers up"])
	})
}

// A director without a node says so.
func TestNoNode(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		startDirector(t, s.director, "-i eth0")
		for _, command := range []string{"vrrp", "health"} {
			out, err := s.director.Try(program(), command)
			assert.Error(t, err)
			assert.Contains(t, out, "start it with usvs run --keepalived FILE")
		}
	})
}

// A second director touches nothing of the first one's.
func TestASecondDirectorInTheNamespace(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Namespace("peer"), "eth0")
		startDirector(t, lab.Home, "-i eth0")
		capture := filepath.Join(t.TempDir(), "capture")
		second := launchDirector(t, lab.Home, "-i", "eth0", "--pcap", capture)
		eventually(t, "the second one ends", second.ended)
		assert.True(t, second.logged("control socket"), second.proc.Output())
		assert.NoFileExists(t, capture)
	})
}
