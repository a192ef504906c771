package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/link/netnstest"
)

const requests = 300

// assertTurns: rr alternates.
func assertTurns(t *testing.T, answers []string) {
	t.Helper()
	for i := range answers[1:] {
		if answers[i] == answers[i+1] {
			t.Fatalf("requests %d and %d were both answered by %s", i, i+1, answers[i])
		}
	}
}

func TestPersistence(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newSite(t, lab, "lan0")
		s.director = s.machine("director", "lan0 192.168.40.1/24")
		for _, m := range []struct{ name, addr string }{{"rs1", "192.168.40.11/24"}, {"rs2", "192.168.40.12/24"}} {
			rs := s.machine(m.name, "lan0 "+m.addr)
			startNginx(t, rs, 80)
			s.servers = append(s.servers, rs)
		}
		clients := []*netnstest.Namespace{s.machine("client1", "lan0 192.168.40.21/24"), s.machine("client2", "lan0 192.168.40.22/24")}
		s.realServersUp("192.168.40.17", "dr")
		d := startDirector(t, s.director, "-i eth0")
		d.ipvsadm("-A -t 192.168.40.17:80 -s rr -p 20",
			"-a -t 192.168.40.17:80 -r 192.168.40.11 -g",
			"-a -t 192.168.40.17:80 -r 192.168.40.12 -g",
			"--set 2 1 1") // connections end soon; the template stays for its 20 s

		first := browse(t, clients[0], "192.168.40.17", 20)
		assert.Len(t, shares(first), 1, "one client, one server")
		second := browse(t, clients[1], "192.168.40.17", 20)
		assert.Len(t, shares(second), 1)
		assert.NotEqual(t, first[0], second[0], "the next client's turn is the next server's")

		list := d.ipvsadm("-Lnc")
		assert.Regexp(t, `(?m)^TCP 00:\d\d +ASSURED +192\.168\.40\.21:0 +192\.168\.40\.17:80 +192\.168\.40\.1[12]:80$`, list)
		assert.Regexp(t, `192\.168\.40\.22:0`, list)
		assert.Contains(t, d.ipvsadm("-Ln"), "TCP  192.168.40.17:80 rr persistent 20")
		assert.Contains(t, d.ipvsadm("-Ln --persistent-conn"), "192.168.40.17:80")

		// The template is renewed while there are connections under it.
		eventually(t, "the templates are gone", func() bool { return !strings.Contains(d.ipvsadm("-Lnc"), ":0 ") })
		third := browse(t, clients[0], "192.168.40.17", 5)
		assert.Len(t, shares(third), 1)
	})
}

// A mark binds ports 80 and 443 together: with persistence a client gets the
// same server on both.
func TestFirewallMark(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		for _, rs := range s.servers {
			startNginx(t, rs, 80, 443)
		}
		s.realServersUp("10.10.100.107", "dr")
		d := startDirector(t, s.director, "-i eth0")
		usvs(t, s.director, "iptables -t mangle -A PREROUTING -d 10.10.100.107 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 11")
		d.ipvsadm("-A -f 11 -s rr",
			"-a -f 11 -r 10.10.100.111 -g",
			"-a -f 11 -r 10.10.100.112 -g")
		assert.Contains(t, usvs(t, s.director, "iptables -t mangle -S PREROUTING"), "--dports 80,443")

		answers := browse(t, s.client, "10.10.100.107", requests)
		answers = append(answers, browse(t, s.client, "10.10.100.107:443", requests)...)
		assert.Equal(t, map[string]int{"rs1": requests, "rs2": requests}, shares(answers))
		assertTurns(t, answers)
		assert.Contains(t, d.ipvsadm("-Ln"), "FWM  11 rr")
		assertNobody(t, s.client, "10.10.100.107:8080") // a port without the mark

		d.ipvsadm("-E -f 11 -s rr -p 60")
		together := append(browse(t, s.client, "10.10.100.107", 4), browse(t, s.client, "10.10.100.107:443", 4)...)
		assert.Len(t, shares(together), 1, "both ports, one server")

		usvs(t, s.director, "iptables -t mangle -F PREROUTING")
		assertNobody(t, s.client, "10.10.100.107") // without the rule there is no VIP
	})
}
