package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/link/netnstest"
)

// vrrpConf is a keepalived.conf's part about who has addresses.
func vrrpConf(priority int, addrs ...string) string {
	return fmt.Sprintf(`
vrrp_instance web {
	state BACKUP
	interface eth0
	virtual_router_id 51
	priority %d
	advert_int 1
	virtual_ipaddress {
		%s
	}
}
`, priority, strings.Join(addrs, "\n\t\t"))
}

// serviceConf is the part about a virtual service with direct routing, checked
// twice a second. name is what stands behind virtual_server.
func serviceConf(name, options string, servers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "virtual_server %s {\n\tdelay_loop 0.5\n\tlb_algo rr\n\tlb_kind DR\n\tprotocol TCP\n\t%s\n", name, options)
	for _, rs := range servers {
		fmt.Fprintf(&b, "\treal_server %s {\n\t\tweight 1\n%s\n\t}\n", rs, check)
	}
	b.WriteString("}\n")
	return b.String()
}

const check = `
		TCP_CHECK {
			connect_timeout 5
			retry 0
			delay_before_retry 1
		}`

// alone is a site with one director and its keepalived.
type alone struct {
	*keepalivedSite
	d *director
	k *keepalived
}

func startAlone(t *testing.T, lab *netnstest.Lab, services string) *alone {
	t.Helper()
	s := newKeepalivedSite(t, lab)
	a := &alone{keepalivedSite: s, d: startDirector(t, s.director, "-i eth0 --own host")}
	a.k = startKeepalived(t, s.director, vrrpConf(150, vip4+"/32")+services)
	eventually(t, vip4+" is there", func() bool { return has(s.director, vip4) })
	return a
}

// await waits until the table has these real servers, and the director takes
// their clients' packets.
func (a *alone) await(servers map[string]int) {
	a.t.Helper()
	awaitWeights(a.d, servers)
	a.d.awaitOwn(vip4, true)
}

func runKeepalived(t *testing.T, test func(*testing.T, *netnstest.Lab)) {
	t.Helper()
	t.Parallel()
	netnstest.NeedCommands(t, "keepalived", "nginx", "ip")
	netnstest.Run(t, test)
}

// A changed configuration is read while connections are open.
func TestKeepalivedReload(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		before := serviceConf(vip4+" 80", "", "10.10.100.111 80", "10.10.100.112 80") +
			serviceConf(vip4+" 7", "", "10.10.100.111 7")
		a := startAlone(t, lab, before)
		for _, rs := range a.servers {
			startEcho(t, rs, ":7")
		}
		a.await(map[string]int{"10.10.100.111:80": 1, "10.10.100.112:80": 1, "10.10.100.111:7": 1})
		open := startTalk(t, a.client, vip4+":7")
		l := a.startLoad(vip4)
		defer l.end()
		l.goesOn(t)

		after := strings.Replace(serviceConf(vip4+" 80", "", "10.10.100.111 80", "10.10.100.112 80"), "weight 1", "weight 3", 1) +
			serviceConf(vip4+" 7", "", "10.10.100.111 7", "10.10.100.112 7") +
			serviceConf(vip4+" 81", "", "10.10.100.112 80")
		a.k.configure(vrrpConf(150, vip4+"/32") + strings.Replace(after, "lb_algo rr", "lb_algo wrr", 1))
		a.k.signal("HUP")
		eventually(t, "the new configuration is in force", func() bool {
			out := a.d.ipvsadm("-Ln")
			return strings.Contains(out, vip4+":81 ") && strings.Contains(out, vip4+":80 wrr") &&
				weights(a.d)["10.10.100.111:80"] == 3 && weights(a.d)["10.10.100.112:7"] == 1
		})
		l.goesOn(t)
		l.end()
		_, lost, _ := l.sofar()
		assert.Empty(t, lost)
		open.assertWorks()
		assert.Equal(t, map[string]int{"rs1": 6, "rs2": 2}, a.requests(vip4, 8))
		assert.True(t, has(a.director, vip4))
	})
}

// When no server is left the sorry server says so.
func TestKeepalivedSorryServer(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		a := startAlone(t, lab, serviceConf(vip4+" 80", "sorry_server 10.10.100.113 80", "10.10.100.111 80", "10.10.100.112 80"))
		sorry := a.machine("sorry", "lan0 10.10.100.113/24")
		usvs(t, sorry, "realserver up --vip "+vip4+" --mode dr --dev eth0")
		startWebServer(t, sorry)
		a.await(bothServers)
		assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, a.requests(vip4, 8))
		for _, w := range a.web {
			w.stop()
		}
		a.await(map[string]int{"10.10.100.113:80": 1})
		assert.Equal(t, map[string]int{"sorry": 8}, a.requests(vip4, 8))
		a.web[1].start()
		a.await(map[string]int{"10.10.100.112:80": 1})
		assert.Equal(t, map[string]int{"rs2": 8}, a.requests(vip4, 8))
		a.web[0].start()
		a.await(bothServers)
	})
}

// With inhibit_on_failure a server that does not answer keeps its place and its
// connections, and gets no new ones.
func TestKeepalivedInhibit(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		conf := serviceConf(vip4+" 80", "", "10.10.100.111 80", "10.10.100.112 80")
		a := startAlone(t, lab, strings.ReplaceAll(conf, "weight 1", "weight 1\n\t\tinhibit_on_failure"))
		a.await(bothServers)
		for range 2 {
			a.web[0].stop()
			a.await(map[string]int{"10.10.100.111:80": 0, "10.10.100.112:80": 1})
			assert.Equal(t, map[string]int{"rs2": 8}, a.requests(vip4, 8))
			a.web[0].start()
			a.await(bothServers)
			assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, a.requests(vip4, 8))
		}
	})
}

// groupConf is a group of virtual servers.
func groupConf(members ...string) string {
	return "virtual_server_group web {\n\t" + strings.Join(members, "\n\t") + "\n}\n" +
		serviceConf("group web", "", "10.10.100.111 80", "10.10.100.112 80")
}

// A group that is a firewall mark, which usvs's own rules give.
func TestKeepalivedMark(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		both := map[string]int{"10.10.100.111:0": 1, "10.10.100.112:0": 1}
		a := startAlone(t, lab, groupConf("fwmark 1"))
		usvs(t, a.director, "iptables -t mangle -A PREROUTING -d "+vip4+" -p tcp --dport 80 -j MARK --set-mark 1")
		a.await(both)
		assert.Contains(t, a.d.ipvsadm("-Ln"), "FWM  1 rr")
		assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, a.requests(vip4, 8))
		a.web[1].stop()
		a.await(map[string]int{"10.10.100.111:0": 1})
		assert.Equal(t, map[string]int{"rs1": 8}, a.requests(vip4, 8))
		a.web[1].start()
		a.await(both)
		assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, a.requests(vip4, 8))
	})
}

// A group that grows by an address.
func TestKeepalivedGroup(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		const other = "10.10.100.108"
		a := startAlone(t, lab, groupConf(vip4+" 80"))
		a.realServersUp(other, "dr")
		a.await(bothServers)
		assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, a.requests(vip4, 8))

		a.k.configure(vrrpConf(150, vip4+"/32", other+"/32") + groupConf(vip4+" 80", other+" 80"))
		a.k.signal("HUP")
		eventually(t, "both addresses have both servers", func() bool {
			out := a.d.ipvsadm("-Ln")
			return strings.Contains(out, other+":80 rr") && strings.Count(out, "Route") == 4
		})
		for _, vip := range []string{vip4, other} {
			a.d.awaitOwn(vip, true)
			assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, a.requests(vip, 8))
		}
	})
}
