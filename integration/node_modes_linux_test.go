package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// instanceConf is a vrrp_instance that fails over within half a second.
func instanceConf(name, dev string, id, priority int, addr string) string {
	return fmt.Sprintf(`
vrrp_instance %s {
	interface %s
	virtual_router_id %d
	priority %d
	version 3
	advert_int 0.1
	virtual_ipaddress {
		%s
	}
}
`, name, dev, id, priority, addr)
}

// NAT: the outer virtual address and the one that is the servers' default
// route go together.
func TestNodeMasquerade(t *testing.T) {
	runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
		s := masquerade(t, lab)
		backup := s.machine("backup", "lan0 192.168.40.3/24", "lan1 10.1.1.3/24")
		for _, rs := range s.servers {
			rs.Run("ip", "route", "replace", "default", "via", "10.1.1.254")
			startNginx(t, rs, 80)
		}
		vip := "192.168.40.107"
		conf := func(priority int) string {
			return "vrrp_sync_group both {\n\tgroup {\n\t\touter\n\t\tinner\n\t}\n}\n" +
				instanceConf("outer", "eth0", 51, priority, vip+"/32") + instanceConf("inner", "eth1", 52, priority, "10.1.1.254/24") +
				strings.Replace(serviceConf(vip+" 80", "", "10.1.1.78 80", "10.1.1.79 80"), "DR", "NAT", 1)
		}
		master := startNode(t, s.director, conf(150))
		second := startNode(t, backup, conf(100))
		master.awaitLog("(inner) Entering MASTER STATE")
		for _, n := range []*lvsNode{master, second} {
			awaitWeights(n.director, map[string]int{"10.1.1.78:80": 1, "10.1.1.79:80": 1})
		}
		assert.Equal(t, map[string]int{"rs1": 5, "rs2": 5}, shares(browse(t, s.client, vip, 10)))

		s.plug.SetDown("port2") // the master's outer cable
		second.awaitLog("(inner) Entering MASTER STATE")
		assert.True(t, second.logged("VRRP_Group(both) Syncing instances to MASTER state"))
		master.awaitLog("(inner) Entering FAULT STATE")
		assert.Equal(t, map[string]int{"rs1": 5, "rs2": 5}, shares(browse(t, s.client, vip, 10)))
	})
}

// Tunnels, to servers behind a router.
func TestNodeTunnel(t *testing.T) {
	runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
		s := tunnel(t, lab)
		for _, rs := range s.servers {
			startNginx(t, rs, 80)
		}
		s.realServersUp(vip4, "tun")
		n := startNode(t, s.director, instanceConf("web", "eth0", 51, 150, vip4)+
			strings.Replace(serviceConf(vip4+" 80", "", "172.16.52.61 80", "172.16.52.62 80"), "DR", "TUN", 1))
		n.awaitLog("(web) Entering MASTER STATE")
		awaitWeights(n.director, map[string]int{"172.16.52.61:80": 1, "172.16.52.62:80": 1})
		assert.Equal(t, map[string]int{"rs1": 5, "rs2": 5}, shares(browse(t, s.client, vip4, 10)))
		assert.Contains(t, n.ipvsadm("-Ln"), "Tunnel")
	})
}

// Scripts are run, lines are written to the FIFO, and what is tracked decides.
func TestNodeNotifies(t *testing.T) {
	runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		dir := t.TempDir()
		file := func(name string) string { return filepath.Join(dir, name) }
		text := func(name string) string { b, _ := os.ReadFile(file(name)); return string(b) }
		write := func(name, text string, mode os.FileMode) {
			require.NoError(t, os.WriteFile(file(name), []byte(text), mode))
		}
		write("state", "#!/bin/sh\necho \"$@\" >>"+file("states")+"\n", 0o755)
		write("reader", "#!/bin/sh\nexec cat \"$1\" >>"+file("lines")+"\n", 0o755)
		write("check", "#!/bin/sh\ntest ! -e "+file("bad")+"\n", 0o755)
		write("weight", "0\n", 0o644)
		conf := instanceConf("web", "eth0", 51, 150, vip4)
		conf = strings.Replace(conf, "virtual_ipaddress", "notify "+file("state")+`
	track_script {
		chk
	}
	track_file {
		load
	}
	virtual_ipaddress`, 1)
		n := startNode(t, s.director, fmt.Sprintf(`
global_defs {
	script_user root
	vrrp_notify_fifo %s
	vrrp_notify_fifo_script %s
}
vrrp_script chk {
	script %s
	interval 1
}
track_file load {
	file %s
	weight 1
}
`, file("fifo"), file("reader"), file("check"), file("weight"))+conf)
		eventually(t, "the master is told of", func() bool { return strings.Contains(text("states"), "INSTANCE web MASTER 150") })
		eventually(t, "the line", func() bool { return strings.Contains(text("lines"), `INSTANCE "web" MASTER 150`) })
		write("weight", "-20\n", 0o644)
		n.awaitLog("(web) Changing effective priority from 150 to 130")
		write("bad", "", 0o644)
		n.awaitLog("(web) Entering FAULT STATE")
		assert.False(t, has(s.director, vip4))
		require.NoError(t, os.Remove(file("bad")))
		eventually(t, "it is master again", func() bool { return has(s.director, vip4) })
		n.stop()
		assert.Equal(t, "INSTANCE web BACKUP 150\nINSTANCE web MASTER 150\nINSTANCE web FAULT 130\nINSTANCE web BACKUP 130\nINSTANCE web MASTER 130\nINSTANCE web STOP 130\n",
			text("states"), "every state, in order, to the end")
	})
}

// Checks by way of the VIP find servers that answer on their own address only, and
// say why; with keepalived they would stay in the table.
func TestNodeChecksByTheVIP(t *testing.T) {
	t.Parallel()
	byVIP := func(conf string) string {
		return strings.Replace(conf, "delay_loop", "check_path vip\n\tdelay_loop", 1)
	}
	t.Run("DR", func(t *testing.T) {
		runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
			s := newKeepalivedSite(t, lab)
			n := startNode(t, s.director, instanceConf("web", "eth0", 51, 150, vip4)+
				byVIP(serviceConf(vip4+" 80", "", "10.10.100.111 80", "10.10.100.112 80")))
			n.awaitLog("(web) Entering MASTER STATE")
			awaitWeights(n.director, bothServers)
			usvs(t, s.servers[1], "realserver down --vip "+vip4)
			n.awaitLog("answers on its own address but not on the VIP: is the VIP on its lo")
			awaitWeights(n.director, map[string]int{"10.10.100.111:80": 1})
			assert.Equal(t, 5, shares(browse(t, s.client, vip4, 5))["rs1"])
			usvs(t, s.servers[1], fmt.Sprintf("realserver up --vip %s --mode dr --dev eth0", vip4))
			awaitWeights(n.director, bothServers)
		})
	})
	t.Run("TUN", func(t *testing.T) {
		runNodes(t, func(t *testing.T, lab *netnstest.Lab) {
			s := tunnel(t, lab)
			for _, rs := range s.servers {
				startNginx(t, rs, 80)
			}
			s.realServersUp(vip4, "tun")
			n := startNode(t, s.director, instanceConf("web", "eth0", 51, 150, vip4)+
				byVIP(strings.Replace(serviceConf(vip4+" 80", "", "172.16.52.61 80", "172.16.52.62 80"), "DR", "TUN", 1)))
			n.awaitLog("(web) Entering MASTER STATE")
			awaitWeights(n.director, map[string]int{"172.16.52.61:80": 1, "172.16.52.62:80": 1})
			usvs(t, s.servers[0], "realserver down --vip "+vip4)
			n.awaitLog("answers on its own address but not on the VIP")
			awaitWeights(n.director, map[string]int{"172.16.52.62:80": 1})
		})
	})
}
