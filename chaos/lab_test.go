package chaos

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/keepalived"
)

// parsed reads a configuration's text.
func parsed(t testing.TB, name, text string) Input {
	t.Helper()
	c, report := keepalived.Parse(name, keepalived.Options{Files: keepalived.Text{name: text}, Extensions: true})
	errors, _ := report.Count()
	require.Zero(t, errors, "%v", report.Problems)
	return Input{name, c}
}

func fromFile(t testing.TB, path string) Input {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return parsed(t, fileStem(path)+".conf", string(text))
}

func tutorial(t testing.TB) []Input {
	return []Input{fromFile(t, "../examples/keepalived/master.conf"), fromFile(t, "../examples/keepalived/backup.conf")}
}

// instance is a configuration with one vrrp_instance and a service behind DR.
func instance(lines ...string) string {
	return "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {\n 10.0.0.100\n }\n" +
		strings.Join(lines, "\n") + "\n}\n" +
		"virtual_server 10.0.0.100 80 {\n delay_loop 2\n lb_algo rr\n lb_kind DR\n protocol TCP\n" +
		" real_server 10.0.0.11 80 {\n TCP_CHECK {\n connect_timeout 2\n retry 1\n delay_before_retry 1\n }\n }\n" +
		" real_server 10.0.0.12 80 {\n TCP_CHECK {\n connect_timeout 2\n retry 1\n delay_before_retry 1\n }\n }\n}\n"
}

func newLab(t testing.TB, inputs ...Input) *Lab {
	t.Helper()
	l, err := NewLab(inputs)
	require.NoError(t, err)
	return l
}

func TestLabOfTheTutorialPair(t *testing.T) {
	l := newLab(t, tutorial(t)...)
	require.Equal(t, strings.TrimLeft(`
network net-eth0  10.10.100.0/24
  director director1    eth0   10.10.100.1/24  (master.conf)
  director director2    eth0   10.10.100.2/24  (backup.conf)
  server   rs1          10.10.100.111/24  http 80  lo 10.10.100.107  via 10.10.100.254
  server   rs2          10.10.100.112/24  http 80  lo 10.10.100.107  via 10.10.100.254
  router   10.10.100.254/24
network clients  203.0.113.0/24 2001:db8:ffff::/64
  router   203.0.113.1/24 2001:db8:ffff::1/64
  client   16 addresses
virtual router 51 in net-eth0:  director1 MASTER priority 150 every 1s  director2 BACKUP priority 100 every 1s  has 10.10.100.107
service [10.10.100.107]:tcp:80: rs1 rs2  DR rr persistent 50s
assumed: net-eth0 is 10.10.100.0/24: no file says how long its prefix is
assumed: director1 has 10.10.100.1/24 in net-eth0
assumed: director2 has 10.10.100.2/24 in net-eth0
assumed: the router and default gateway of net-eth0 is 10.10.100.254
assumed: real servers have their virtual addresses on lo where lb_kind is DR or TUN, and serve the ports that are checked
`, "\n"), l.Describe())
}

func TestLabBehindNAT(t *testing.T) {
	first := fromFile(t, "testdata/nat.conf")
	second, err := Pair(first)
	require.NoError(t, err)
	l := newLab(t, first, second)
	require.Equal(t, strings.TrimLeft(`
network net-eth0  192.0.2.0/28
  director nat          eth0   192.0.2.2/28  (nat.conf)
  director nat-peer     eth0   192.0.2.1/28  (nat-peer.conf)
  router   192.0.2.14/28
network net-eth1  10.1.0.0/24
  director nat          eth1   10.1.0.1/24  (nat.conf)
  director nat-peer     eth1   10.1.0.2/24  (nat-peer.conf)
  server   rs1          10.1.0.11/24  http 8080  dns 53  via 10.1.0.254
  server   rs2          10.1.0.12/24  http 8080  via 10.1.0.254
  server   rs3          10.1.0.99/24  http 8080  via 10.1.0.254
network clients  203.0.113.0/24 2001:db8:ffff::/64
  router   203.0.113.1/24 2001:db8:ffff::1/64
  client   16 addresses
virtual router 10 in net-eth0:  nat MASTER priority 150 every 1s  nat-peer BACKUP priority 100 every 1s  has 192.0.2.10
virtual router 11 in net-eth1:  nat MASTER priority 150 every 1s  nat-peer BACKUP priority 100 every 1s  has 10.1.0.254
service [192.0.2.10]:tcp:80: rs1 rs2 rs3  NAT wrr
service [192.0.2.10]:udp:53: rs1  NAT rr
assumed: digest, regex and status_code of HTTP_GET are not compared: every page is there
assumed: nat has 10.1.0.1/24 in net-eth1
assumed: nat-peer has 192.0.2.1/28 in net-eth0
assumed: nat-peer has 10.1.0.2/24 in net-eth1
assumed: the router and default gateway of net-eth0 is 192.0.2.14
assumed: real servers have their virtual addresses on lo where lb_kind is DR or TUN, and serve the ports that are checked
`, "\n"), l.Describe())
	require.NotSame(t, first.Config.SyncGroups[0], second.Config.SyncGroups[0])
	require.Same(t, second.Config.Instances[0], second.Config.SyncGroups[0].Instances[0])
	require.Same(t, second.Config.SyncGroups[0], second.Config.Instances[0].SyncGroup)
}

func TestLabInference(t *testing.T) {
	server := func(vip, kind, rip string) string {
		return "virtual_server " + vip + " 80 {\n lb_algo rr\n lb_kind " + kind + "\n protocol TCP\n real_server " + rip + " 80 {\n }\n}\n"
	}
	for _, c := range []struct {
		name  string
		texts []string
		want  []string // parts of the description
	}{
		{"a single director without VRRP", []string{server("10.0.0.100", "DR", "10.0.0.11")},
			[]string{"director a            eth0   10.0.0.1/24", "rs1          10.0.0.11/24  http 80  lo 10.0.0.100  via 10.0.0.254", "assumed: rs1"[:9]}},
		{"NAT behind a network that no instance names", []string{server("10.0.0.100", "NAT", "192.168.1.11")},
			[]string{"network net-inside  192.168.1.0/24", "eth1   192.168.1.1/24", "via 192.168.1.1", "by eth1, which the file does not name"}},
		{"tunnels to servers elsewhere", []string{server("10.0.0.100", "TUN", "172.16.5.11")},
			[]string{"network net-eth0  10.0.0.0/24 172.16.5.0/24", "director a            eth0   10.0.0.1/24 172.16.5.1/24", "via 172.16.5.254"}},
		{"the director is a server", []string{server("10.0.0.100", "DR", "127.0.0.1")},
			[]string{"real server 127.0.0.1 is a director itself"}},
		{"IPv6", []string{server("2001:db8::100", "DR", "2001:db8::11")},
			[]string{"network net-eth0  2001:db8::/64", "rs1          2001:db8::11/64"}},
		{"interfaces of different names", []string{instance("mcast_src_ip 10.0.0.2"), strings.ReplaceAll(instance("mcast_src_ip 10.0.0.3"), "eth0", "ens3")},
			[]string{"eth0   10.0.0.2/24", "ens3   10.0.0.3/24"}},
		{"unicast", []string{
			instance("unicast_src_ip 10.0.0.7", "unicast_peer {", "10.0.0.8", "}"),
			instance()},
			[]string{"director a            eth0   10.0.0.7/24", "director b            eth0   10.0.0.8/24"}},
		{"different VRIDs are different routers", []string{instance(), strings.ReplaceAll(instance(), "router_id 51", "router_id 52")},
			[]string{"virtual router 51 in net-eth0:  a", "virtual router 52 in net-eth0:  b"}},
		{"a group's addresses", []string{"virtual_server_group g {\n 10.0.0.100-102 80\n 10.0.0.200 443\n}\n" +
			strings.Replace(server("10.0.0.100", "DR", "10.0.0.11"), "10.0.0.100 80", "group g", 1)},
			[]string{"service [10.0.0.100]:tcp:80", "service [10.0.0.200]:tcp:443"}},
		{"a mark", []string{strings.Replace(strings.Replace(server("10.0.0.100", "DR", "10.0.0.11"), "10.0.0.100 80", "fwmark 1", 1), "protocol TCP", "", 1) + instance()},
			[]string{"virtual_server fwmark 1 is not tried"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var inputs []Input
			for i, text := range c.texts {
				in := Input{Name: "keepalived.conf"}
				in.Config, _ = keepalived.Parse("x", keepalived.Options{Files: keepalived.Text{"x": text}})
				in.Name = []string{"a.conf", "b.conf"}[i]
				inputs = append(inputs, in)
			}
			l := newLab(t, inputs...)
			for _, want := range c.want {
				require.Contains(t, l.Describe(), want)
			}
		})
	}
}

func TestLabsThatCannotBe(t *testing.T) {
	_, err := NewLab(nil)
	require.ErrorContains(t, err, "one configuration or two")
	_, err = NewLab([]Input{parsed(t, "x", "global_defs {\n router_id x\n}\n")})
	require.ErrorContains(t, err, "neither a vrrp_instance nor a virtual_server")
	_, err = Pair(parsed(t, "x", "global_defs {\n router_id x\n}\n"))
	require.ErrorContains(t, err, "no vrrp_instance")
}

func TestDirectorNames(t *testing.T) {
	named := func(id, file string) Input {
		in := parsed(t, file, "global_defs {\n router_id "+id+"\n}\n")
		return in
	}
	for _, c := range []struct {
		in   []Input
		want []string
	}{
		{[]Input{named("lb1", "x.conf"), named("lb2", "x.conf")}, []string{"lb1", "lb2"}},
		{[]Input{named("LVS", "/etc/one.conf"), named("LVS", "two.conf")}, []string{"one", "two"}},
		{[]Input{named("LVS", "1/keepalived.conf"), named("LVS", "2/keepalived.conf")}, []string{"a", "b"}},
		{[]Input{named("router", "rs1.conf")}, []string{"a"}},
	} {
		require.Equal(t, c.want, directorNames(c.in))
	}
}

func TestPair(t *testing.T) {
	for _, c := range []struct {
		lines    string
		state    string
		priority int
	}{
		{"state MASTER\npriority 150", "BACKUP", 100},
		{"state BACKUP\npriority 100", "MASTER", 150},
		{"state BACKUP\npriority 150\nnopreempt", "BACKUP", 100},
		{"state BACKUP\npriority 90\nnopreempt", "BACKUP", 140},
		{"state MASTER\npriority 20", "BACKUP", 1},
		{"state BACKUP\npriority 120\nunicast_src_ip 10.0.0.7\nunicast_peer {\n10.0.0.8\n}", "BACKUP", 70},
	} {
		in := parsed(t, "one.conf", instance(c.lines))
		before := *in.Config.Instances[0]
		peer, err := Pair(in)
		require.NoError(t, err)
		twin := peer.Config.Instances[0]
		require.Equal(t, c.state, twin.State.V, c.lines)
		require.Equal(t, c.priority, twin.Priority.V, c.lines)
		require.Equal(t, before.Priority, in.Config.Instances[0].Priority)
		if len(before.UnicastPeers) > 0 {
			require.Equal(t, before.UnicastSrc.V, twin.UnicastPeers[0].Addr)
			require.Equal(t, in.Config.Instances[0].UnicastPeers[0].Addr, twin.UnicastSrc.V)
			require.NotEqual(t, twin.UnicastSrc.V, twin.UnicastPeers[0].Addr)
		}
		require.Equal(t, "one-peer.conf", peer.Name)
	}
}

func TestBounds(t *testing.T) {
	second := time.Second
	for _, c := range []struct {
		name     string
		text     string
		elect    time.Duration
		announce time.Duration
		dead     time.Duration
	}{
		{"keepalived's defaults", instance("priority 100"), 3*second + 609375*time.Microsecond, 0, 2*second + 2*second + 3*second + margin},
		{"a slower router", instance("priority 254", "advert_int 3"), 9*second + 7812500*time.Nanosecond, 0, 9 * second},
		{"version 3: the skew is a part of the interval", instance("priority 156", "version 3", "advert_int 0.1"), 339062500 * time.Nanosecond, 0, 9 * second},
		{"more adverts", instance("priority 255", "state MASTER", "down_timer_adverts 5"), 5*second + 3906250*time.Nanosecond, 0, 9 * second},
		{"refreshed announcements", instance("priority 100", "garp_master_refresh 10"), 3*second + 609375*time.Microsecond, 10 * second, 9 * second},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, parsed(t, "a.conf", c.text))
			b := NewBounds(l)
			require.Equal(t, c.elect, b.Elect)
			require.Equal(t, c.announce, b.Announce)
			require.Equal(t, c.dead, b.Servers["rs1"].Dead)
		})
	}
	pair := NewBounds(newLab(t, tutorial(t)...))
	require.Equal(t, neighbours, pair.Announce, "without garp_master_refresh a neighbour's entry has to expire")
	require.Equal(t, second+margin, pair.Together)
}

func TestBoundsOfChecks(t *testing.T) {
	l := newLab(t, fromFile(t, "testdata/nat.conf"))
	b := NewBounds(l)
	// HTTP_GET: 5 s, three waits of 2 s, and two retries of 1 s and as much.
	require.Equal(t, (5+6+2*(1+6))*time.Second+margin, NewBounds(newLab(t, parsed(t, "x", instance()+`virtual_server 10.0.0.100 81 {
		delay_loop 5
		lb_algo rr
		lb_kind DR
		protocol TCP
		real_server 10.0.0.13 81 {
			HTTP_GET {
				url {
					path /
				}
				connect_timeout 2
				retry 2
				delay_before_retry 1
			}
		}
	}`))).Servers["rs3"].Dead)
	require.Zero(t, b.Servers["rs2"].Dead, "a server without a check is never found to be dead")
	require.Contains(t, b.Describe(l), "rs2   10.1.0.12 is not checked")
}
