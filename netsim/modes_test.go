package netsim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// service configures a UDP service with both servers.
func (l *lab) service(vip, flag string, servers ...string) {
	l.lvs.MustExec("ipvsadm -A -u " + vip + " -s rr")
	for _, s := range servers {
		l.lvs.MustExec("ipvsadm -a -u " + vip + " -r " + s + " " + flag)
	}
}

// twice asks twice and wants an answer of each server.
func (l *lab) twice(t *testing.T, vip string) {
	t.Helper()
	answers := append(l.ask(t, l.client, vip, "hello"), l.ask(t, l.client, vip, "hello")...)
	require.ElementsMatch(t, []string{"rs1 hello", "rs2 hello"}, answers, l.LogText())
}

func TestDirectRouting(t *testing.T) {
	for _, vip := range []string{"10.0.0.100:53", "[2001:db8::100]:53"} {
		t.Run(vip, func(t *testing.T) {
			l := newLab(1, LinkOptions{Delay: 50 * time.Microsecond})
			for _, h := range l.servers {
				h.MustExec("usvs realserver up --vip 10.0.0.100 --vip 2001:db8::100")
				echo(t, h, "[::]:53")
			}
			if vip[0] == '[' {
				l.service(vip, "-g", "[2001:db8::11]:53", "[2001:db8::12]:53")
			} else {
				l.service(vip, "-g", "10.0.0.11", "10.0.0.12")
			}
			l.twice(t, vip)
		})
	}
}

func TestTunnel(t *testing.T) {
	for _, test := range []struct{ vip, rs1, rs2, flag, up string }{
		{"10.0.0.100:53", "10.0.0.11", "10.0.0.12", "-i", "usvs realserver up --vip 10.0.0.100 --mode tun"},
		{"[2001:db8::100]:53", "[2001:db8::11]:53", "[2001:db8::12]:53", "-i", "usvs realserver up --vip 2001:db8::100 --mode tun"},
		{"10.0.0.100:53", "[2001:db8::11]:53", "[2001:db8::12]:53", "-i", "usvs realserver up --vip 10.0.0.100 --mode tun"},
		{"10.0.0.100:53", "10.0.0.11", "10.0.0.12", "-i --tun-type gre", "usvs realserver up --vip 10.0.0.100 --mode tun --gre"},
		{"10.0.0.100:53", "10.0.0.11", "10.0.0.12", "-i --tun-type gue --tun-port 6080", "usvs realserver up --vip 10.0.0.100 --mode tun --gue-port 6080"},
	} {
		t.Run(fmt.Sprint(test.vip, test.rs1, test.flag), func(t *testing.T) {
			l := newLab(1, LinkOptions{})
			for _, h := range l.servers {
				h.MustExec(test.up)
				echo(t, h, "[::]:53")
			}
			l.service(test.vip, test.flag, test.rs1, test.rs2)
			l.twice(t, test.vip)
		})
	}
}

// newNATLab has the director between two networks, and is the servers' gateway.
func newNATLab(t *testing.T, v6 bool) *lab {
	n := New(1)
	l := &lab{Net: n, sw: n.Switch("sw"), client: n.Host("client"), lvs: n.Director("lvs")}
	n.Link(l.client.NIC("eth0", "198.51.100.9/24", "2001:db8:1::9/64"), l.lvs.NIC("eth0", "198.51.100.1/24", "2001:db8:1::1/64"))
	n.Link(l.lvs.NIC("eth1", "10.0.0.1/24", "2001:db8::1/64"), l.sw.NextPort())
	for _, name := range []string{"rs1", "rs2"} {
		h := n.Host(name)
		l.servers = append(l.servers, h)
		k := string(name[2])
		n.Link(h.NIC("eth0", "10.0.0.1"+k+"/24", "2001:db8::1"+k+"/64"), l.sw.NextPort())
		h.MustExec("ip route add default via 10.0.0.1")
		h.MustExec("ip -6 route add default via 2001:db8::1")
		echo(t, h, "[::]:5353")
	}
	if v6 {
		l.service("[2001:db8:1::100]:53", "-m", "[2001:db8::11]:5353", "[2001:db8::12]:5353")
	} else {
		l.service("198.51.100.100:53", "-m", "10.0.0.11:5353", "10.0.0.12:5353")
	}
	return l
}

func TestMasquerading(t *testing.T) {
	newNATLab(t, false).twice(t, "198.51.100.100:53")
	newNATLab(t, true).twice(t, "[2001:db8:1::100]:53")
}

func TestWrongGatewayInNAT(t *testing.T) {
	l := newNATLab(t, false)
	for _, h := range l.servers {
		h.MustExec("ip route del default")
	}
	require.Empty(t, l.ask(t, l.client, "198.51.100.100:53", "hello"))
}

func TestMissingVIPInDR(t *testing.T) {
	l := newLab(1, LinkOptions{})
	for _, h := range l.servers {
		echo(t, h, "0.0.0.0:53")
	}
	l.service("10.0.0.100:53", "-g", "10.0.0.11", "10.0.0.12")
	require.Empty(t, l.ask(t, l.client, "10.0.0.100:53", "hello"))
	require.EqualValues(t, 1, l.servers[0].Counters()["not for this host"]+l.servers[1].Counters()["not for this host"])
}

func TestMarks(t *testing.T) {
	l := newLab(1, LinkOptions{})
	for _, h := range l.servers {
		h.MustExec("usvs realserver up --vip 10.0.0.100")
		echo(t, h, "0.0.0.0:80")
		echo(t, h, "0.0.0.0:443")
	}
	for _, port := range []string{"80", "443"} {
		l.lvs.MustExec("iptables -t mangle -A PREROUTING -d 10.0.0.100 -p udp --dport " + port + " -j MARK --set-mark 1")
	}
	l.lvs.MustExec("ipvsadm -A -f 1 -s rr -p 300")
	l.lvs.MustExec("ipvsadm -a -f 1 -r 10.0.0.11 -g")
	l.lvs.MustExec("ipvsadm -a -f 1 -r 10.0.0.12 -g")
	first := l.ask(t, l.client, "10.0.0.100:80", "x")
	require.Len(t, first, 1)
	require.Equal(t, first, l.ask(t, l.client, "10.0.0.100:443", "x"), "one mark, one server for both ports")
}

// TestARPProblem: a real server that answers ARP for the VIP takes the traffic
// away from the director, which notices.
func TestARPProblem(t *testing.T) {
	l := newLab(1, LinkOptions{Delay: 100 * time.Microsecond})
	l.service("10.0.0.100:53", "-g", "10.0.0.11", "10.0.0.12")
	for _, h := range l.servers {
		h.MustExec("ip addr add 10.0.0.100/32 dev lo") // arp_ignore stays 0
		echo(t, h, "0.0.0.0:53")
	}
	rec := l.Record()
	l.client.MustExec("ip neigh flush dev eth0")
	require.Len(t, l.ask(t, l.client, "10.0.0.100:53", "hello"), 1)
	replies := map[string]bool{}
	for _, r := range rec.Records {
		if r.From.Node() != l.sw && Summary(r.Data)[:17] == "ARP 10.0.0.100 is" {
			replies[r.From.Node().Name()] = true
		}
	}
	require.Equal(t, map[string]bool{"lvs": true, "rs1": true, "rs2": true}, replies, "all three answer for the VIP")
	mac := l.client.Neighbours()[0].MAC
	require.Equal(t, l.lvs.Port("eth0").MAC(), mac, "the first answer stands for a second (locktime)")

	// rs1 asks in the name of the VIP (arp_announce 0), which overwrites the
	// client's entry: from then on rs1 gets everything.
	l.Run(40 * time.Second)
	l.servers[0].MustExec("ip neigh flush dev eth0")
	u, err := l.servers[0].UDP(addrPort("10.0.0.100:99"))
	require.NoError(t, err)
	require.NoError(t, u.Send(addrPort("10.0.0.9:99"), []byte("news")))
	l.Run(time.Second)
	require.Equal(t, l.servers[0].Port("eth0").MAC(), l.client.Neighbours()[0].MAC)
	require.Contains(t, l.LogText(), "lvs: WARN another host answers for VIP vip=10.0.0.100 mac="+l.servers[0].Port("eth0").MAC().String())
	require.Contains(t, l.LogText(), "client: 10.0.0.100 is now at "+l.servers[0].Port("eth0").MAC().String())
}

func TestARPSettingsOfRealServers(t *testing.T) {
	l := newLab(1, LinkOptions{})
	l.service("10.0.0.100:53", "-g", "10.0.0.11", "10.0.0.12")
	for _, h := range l.servers {
		h.MustExec("ip addr add 10.0.0.100/32 dev lo")
		h.MustExec("sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.eth0.arp_announce=2")
		echo(t, h, "0.0.0.0:53")
	}
	l.twice(t, "10.0.0.100:53")
	require.NotContains(t, l.LogText(), "another host")
}

func TestTwoDirectorsOwnHost(t *testing.T) {
	n := New(3)
	sw, client, rs := n.Switch("sw"), n.Host("client"), n.Host("rs1")
	l := &lab{Net: n, client: client}
	n.Link(client.NIC("eth0", "10.0.0.9/24"), sw.NextPort())
	n.Link(rs.NIC("eth0", "10.0.0.11/24"), sw.NextPort())
	rs.MustExec("usvs realserver up --vip 10.0.0.100")
	echo(t, rs, "0.0.0.0:53")
	var directors []*Director
	for i, name := range []string{"lvs1", "lvs2"} {
		d := n.Director(name, DirectorOptions{Own: 1}) // as the kernel: what the host carries
		n.Link(d.NIC("eth0", fmt.Sprintf("10.0.0.%d/24", i+1)), sw.NextPort())
		d.MustExec("ipvsadm -A -u 10.0.0.100:53 -s rr")
		d.MustExec("ipvsadm -a -u 10.0.0.100:53 -r 10.0.0.11 -g")
		directors = append(directors, d)
	}
	directors[0].MustExec("ip addr add 10.0.0.100/32 dev eth0")
	require.Equal(t, []string{"rs1 a"}, l.ask(t, client, "10.0.0.100:53", "a"))
	require.Zero(t, directors[1].Core().Totals.Conns.Load())

	// The address moves, as VRRP would have it.
	directors[0].MustExec("ip addr del 10.0.0.100/32 dev eth0")
	directors[1].MustExec("ip addr add 10.0.0.100/32 dev eth0")
	directors[1].MustExec("arping -U -c 1 -I eth0 10.0.0.100")
	n.Run(time.Second)
	require.Equal(t, []string{"rs1 b"}, l.ask(t, client, "10.0.0.100:53", "b"))
	require.EqualValues(t, 1, directors[1].Core().Totals.Conns.Load())
}

func TestListing(t *testing.T) {
	l := newLab(1, LinkOptions{})
	l.service("10.0.0.100:53", "-g", "10.0.0.11")
	l.ask(t, l.client, "10.0.0.100:53", "x")
	out := l.lvs.MustExec("ipvsadm -Ln")
	require.Contains(t, out, "UDP  10.0.0.100:53 rr")
	require.Contains(t, out, "-> 10.0.0.11:53                 Route   1      0          1")
	saved := l.lvs.MustExec("ipvsadm -Sn")
	l.lvs.MustExec("ipvsadm -C")
	r := l.lvs.ExecInput("ipvsadm -R", saved)
	require.NoError(t, r.Err())
	require.Equal(t, saved, l.lvs.MustExec("ipvsadm -Sn"))
	require.Equal(t, 255, l.lvs.Exec("ipvsadm -A -u 10.0.0.100:53 -s nosuch").Status)
	require.Error(t, l.lvs.Exec("iptables -t mangle -A NOWHERE -j MARK --set-mark 1").Err())
	require.Equal(t, 127, l.lvs.Exec("rm -rf /").Status)
}

// TestLargeDatagramsThroughDirectors: fragments of a datagram reach one server,
// by every method and in both families.
func TestLargeDatagramsThroughDirectors(t *testing.T) {
	text := strings.Repeat("0123456789", 500)
	for _, flag := range []string{"-g", "-i"} {
		for _, vip := range []string{"10.0.0.100:53", "[2001:db8::100]:53"} {
			l := newLab(1, LinkOptions{Delay: 100 * time.Microsecond, Reorder: 0.3, ReorderBy: time.Millisecond})
			servers := []string{"10.0.0.11", "10.0.0.12"}
			if vip[0] == '[' {
				servers = []string{"[2001:db8::11]:53", "[2001:db8::12]:53"}
			}
			for _, h := range l.servers {
				h.MustExec("usvs realserver up --vip 10.0.0.100 --vip 2001:db8::100 --mode tun")
				echo(t, h, "[::]:53")
			}
			l.service(vip, flag, servers...)
			if flag == "-i" && vip[0] == '[' { // nobody but the client may cut an IPv6 packet
				require.Equal(t, []string{"2001:db8::100: ICMP packet too big (mtu 1460)"}, l.ask(t, l.client, vip, text))
			}
			for range 10 {
				answers := l.ask(t, l.client, vip, text)
				require.Len(t, answers, 1, "%s %s", flag, vip)
				require.Equal(t, text, answers[0][len("rs1 "):])
			}
		}
	}
	for _, v6 := range []bool{false, true} {
		vip := map[bool]string{false: "198.51.100.100:53", true: "[2001:db8:1::100]:53"}[v6]
		nat := newNATLab(t, v6)
		require.Equal(t, []string{"rs2 " + text}, nat.ask(t, nat.client, vip, text))
	}
}

// TestPathMTUThroughATunnel: the director tells the client that a packet does
// not fit with its outer header, and the client believes it.
func TestPathMTUThroughATunnel(t *testing.T) {
	l := newLab(1, LinkOptions{})
	for _, h := range l.servers {
		h.MustExec("usvs realserver up --vip 10.0.0.100 --mode tun")
		echo(t, h, "0.0.0.0:53")
	}
	l.service("10.0.0.100:53", "-i", "10.0.0.11", "10.0.0.12")
	text := strings.Repeat("x", 1460) // 1488 bytes of IP: 8 too many
	require.Equal(t, []string{"10.0.0.100: ICMP fragmentation needed (mtu 1480)"}, l.ask(t, l.client, "10.0.0.100:53", text))
	require.Len(t, l.ask(t, l.client, "10.0.0.100:53", text), 1)
	require.Equal(t, 1480, l.client.PathMTU(netip.MustParseAddr("10.0.0.100")))
}
