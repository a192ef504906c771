package integration

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// pairOf starts two directors and two keepalived with the same configuration but
// for the priority.
func (s *keepalivedSite) pairOf(t *testing.T, conf func(priority int) string) ([2]*director, [2]*keepalived) {
	t.Helper()
	return startPair(t, [2]*netnstest.Namespace{s.director, s.backup}, "-i eth0", conf)
}

func startPair(t *testing.T, machines [2]*netnstest.Namespace, interfaces string, conf func(priority int) string) (directors [2]*director, daemons [2]*keepalived) {
	t.Helper()
	for i, ns := range machines {
		directors[i] = startDirector(t, ns, interfaces+" --own host")
		daemons[i] = startKeepalived(t, ns, conf(150-50*i))
	}
	return directors, daemons
}

// VRRP over IPv6, with an IPv6 virtual server.
func TestKeepalivedIPv6(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		servers := []string{"2001:db8::111 80", "2001:db8::112 80"}
		directors, daemons := s.pairOf(t, func(priority int) string {
			return vrrpConf(priority, "fe80::107/128", vip6+"/128") + serviceConf(vip6+" 80", "", servers...)
		})
		s.awaitVIP(s.director, s.backup, vip6)
		for _, d := range directors {
			awaitWeights(d, map[string]int{"[2001:db8::111]:80": 1, "[2001:db8::112]:80": 1})
		}
		directors[0].awaitOwn(vip6, true)
		who := s.requests(vip6, 8)
		assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, who)
		assert.Equal(t, s.director.MAC("eth0").String(), neighbourMAC(s.client, vip6))

		l := s.startLoad(vip6)
		defer l.end()
		l.goesOn(t)
		daemons[0].kill()
		s.awaitVIP(s.backup, s.director, vip6)
		l.goesOn(t)
		l.report(t, "keepalived was killed")
		assert.Equal(t, s.backup.MAC("eth0").String(), neighbourMAC(s.client, vip6))
		daemons[0].start()
		s.awaitVIP(s.director, s.backup, vip6)
		l.goesOn(t)
		l.report(t, "keepalived returned")
		for _, d := range directors {
			assert.Zero(t, d.status()["neighbours"]["announcements"])
		}
	})
}

// syncConf has keepalived run the synchronisation daemons.
const syncConf = "global_defs {\n\tlvs_sync_daemon eth0 web id 51\n}\n"

// keepalived runs the synchronisation daemons, and connections survive.
func TestKeepalivedSync(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		directors, daemons := s.pairOf(t, func(priority int) string {
			return syncConf + vrrpConf(priority, vip4+"/32") + serviceConf(vip4+" 7", "", "10.10.100.111 7", "10.10.100.112 7")
		})
		testSurvival(t, s.site, vip4, directors, daemons)
	})
}

// The same with NAT, where the real servers' default route moves along.
func TestKeepalivedSyncNAT(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		p := masqueradePair(t, lab)
		directors, daemons := startPair(t, [2]*netnstest.Namespace{p.director, p.backup}, "-i eth0 -i eth1", func(priority int) string {
			conf := syncConf + vrrpConf(priority, p.vip+"/32", "10.1.1.254/32 dev eth1") + serviceConf(p.vip+" 7", "", "10.1.1.78 7", "10.1.1.79 7")
			return strings.Replace(conf, "lb_kind DR", "lb_kind NAT", 1)
		})
		testSurvival(t, p.site, p.vip, directors, daemons)
	})
}

// testSurvival: open connections go on when the master's keepalived ends and
// when it returns.
func testSurvival(t *testing.T, s *site, vip string, directors [2]*director, daemons [2]*keepalived) {
	const conns = 20
	for _, rs := range s.servers {
		startEcho(t, rs, ":7")
	}
	servesAlone := func(i int) {
		t.Helper()
		eventually(t, "director "+strconv.Itoa(i)+" has the address and both servers", func() bool {
			return has(directors[i].ns, vip) && !has(directors[1-i].ns, vip) && len(weights(directors[i])) == 2
		})
		directors[i].awaitOwn(vip, true)
	}
	servesAlone(0)
	for i, state := range []string{"master", "backup"} {
		eventually(t, "the daemon is "+state, func() bool { return syncState(directors[i]) == state })
	}
	talks, servers := startTalks(t, s.client, net.JoinHostPort(vip, "7"), conns)
	require.Equal(t, map[string]int{"rs1": conns / 2, "rs2": conns / 2}, servers)
	work := func() {
		t.Helper()
		for _, k := range talks {
			k.assertWorks()
		}
	}
	work()
	eventually(t, "the backup knows all connections", func() bool { return directors[1].entries() == conns })

	daemons[0].kill()
	servesAlone(1)
	eventually(t, "the backup's daemon is master", func() bool { return syncState(directors[1]) == "master" })
	work()
	daemons[0].start()
	servesAlone(0)
	work()
	eventually(t, "the daemons are what they were", func() bool {
		return syncState(directors[0]) == "master" && syncState(directors[1]) == "backup"
	})
}

// A director that dies takes keepalived with it, if that was started together
// with it: the other machine has the address from then on.
func TestKeepalivedDirectorDies(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		netnstest.NeedCommands(t, "pgrep")
		s := newKeepalivedSite(t, lab)
		conf := func(priority int) string {
			return vrrpConf(priority, vip4+"/32") + serviceConf(vip4+" 80", "", "10.10.100.111 80", "10.10.100.112 80")
		}
		master := startKeepalived(t, s.director, conf(150), "--start", "-i eth0")
		d := startDirector(t, s.backup, "-i eth0 --own host")
		startKeepalived(t, s.backup, conf(100))
		s.awaitVIP(s.director, s.backup, vip4)
		awaitWeights(d, bothServers)
		awaitWeights(&director{t: t, ns: s.director}, bothServers)
		l := s.startLoad(vip4)
		defer l.end()
		l.goesOn(t)

		pid := s.director.Run("pgrep", "-f", "--parent", strconv.Itoa(master.proc.Pid()), "run --own host")
		s.director.Run("kill", "-KILL", strings.TrimSpace(pid))
		s.awaitVIP(s.backup, s.director, vip4)
		l.goesOn(t)
		l.report(t, "the director was killed")
		assert.Error(t, master.proc.Wait(), "the end of usvs exec")
		assert.Contains(t, master.proc.Output(), "the director that --start started has ended (")
	})
}

// keepalived hangs, and with it its advertisements, while its machine still has
// the address: the backup takes over, and gives it back.
func TestKeepalivedHangs(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newKeepalivedSite(t, lab)
		directors, daemons := s.pairOf(t, func(priority int) string {
			return vrrpConf(priority, vip4+"/32") + serviceConf(vip4+" 80", "", "10.10.100.111 80", "10.10.100.112 80")
		})
		s.awaitVIP(s.director, s.backup, vip4)
		for _, d := range directors {
			awaitWeights(d, bothServers)
		}
		l := s.startLoad(vip4)
		defer l.end()
		l.goesOn(t)
		vrrp := strings.TrimSpace(s.director.Run("cat", daemons[0].file("vrrp.pid")))
		s.director.Run("kill", "-STOP", vrrp)
		eventually(t, "the backup has the address", func() bool {
			return has(s.backup, vip4) && neighbourMAC(s.client, vip4) == s.backup.MAC("eth0").String()
		})
		l.goesOn(t)
		s.director.Run("kill", "-CONT", vrrp)
		eventually(t, "the master has the address alone", func() bool {
			return !has(s.backup, vip4) && neighbourMAC(s.client, vip4) == s.director.MAC("eth0").String()
		})
		l.goesOn(t)
		l.report(t, "keepalived hung")
	})
}

// syncState is what `ipvsadm -L --daemon` says a director's daemons are.
func syncState(d *director) string {
	var states []string
	for line := range strings.Lines(d.ipvsadm("-L --daemon")) {
		if f := strings.Fields(line); len(f) > 0 {
			states = append(states, f[0])
		}
	}
	slices.Sort(states)
	return strings.Join(states, ",")
}
