package integration

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// Tests of --own host, where usvs follows what others, keepalived above all, do
// with the host's addresses. The client has fixed neighbour entries for the VIP,
// so that its frames come to a director whether that answers for it or not.

const vip6 = "2001:db8::107"

// ownSite is direct routing over both protocols, with a service of either or
// one for a mark.
func ownSite(t *testing.T, lab *netnstest.Lab) *site {
	t.Helper()
	s := newSite(t, lab, "lan0")
	s.client = s.machine("client", "lan0 10.10.100.2/24 2001:db8::2/64")
	s.director = s.machine("director", "lan0 10.10.100.1/24 2001:db8::1/64")
	s.servers = []*netnstest.Namespace{
		s.machine("rs1", "lan0 10.10.100.111/24 2001:db8::111/64"),
		s.machine("rs2", "lan0 10.10.100.112/24 2001:db8::112/64"),
	}
	s.realServersUp(vip4, "dr")
	s.realServersUp(vip6, "dr")
	for _, rs := range s.servers {
		startEcho(t, rs, ":7")
	}
	return s
}

// sendTo makes the client send what is for an address to a machine.
func (s *site) sendTo(addr string, to *netnstest.Namespace) {
	s.t.Helper()
	s.client.Run("ip", "neigh", "replace", addr, "lladdr", to.MAC("eth0").String(), "dev", "eth0", "nud", "permanent")
}

// carry puts an address on a machine, drop takes it away, and both wait until
// its director knows.
func (d *director) carry(addr string) {
	d.t.Helper()
	addAddr(d.ns, addr)
	d.awaitOwn(addr, true)
}

func (d *director) drop(addr string) {
	d.t.Helper()
	delAddr(d.ns, addr)
	d.awaitOwn(addr, false)
}

func addAddr(ns *netnstest.Namespace, addr string) {
	if strings.Contains(addr, ":") {
		ns.Run("ip", "addr", "add", addr+"/128", "dev", "eth0", "nodad")
		return
	}
	ns.Run("ip", "addr", "add", addr+"/32", "dev", "eth0")
}

func delAddr(ns *netnstest.Namespace, addr string) {
	length := "/32"
	if strings.Contains(addr, ":") {
		length = "/128"
	}
	ns.Run("ip", "addr", "del", addr+length, "dev", "eth0")
}

// awaitOwn waits until the director takes packets to an address for its own to
// handle, or no longer does.
func (d *director) awaitOwn(addr string, own bool) {
	d.t.Helper()
	client := "10.10.100.99:1024"
	if strings.Contains(addr, ":") {
		client = "[2001:db8::99]:1024"
	}
	packet := fmt.Sprintf("tcp %s > %s S", client, net.JoinHostPort(addr, "7"))
	eventually(d.t, fmt.Sprintf("%s is the director's: %t", addr, own), func() bool {
		out := d.ns.Run(program(), "explain", packet)
		return (strings.Contains(out, "a packet from a client") || strings.Contains(out, "is taken because a service has mark")) == own
	})
}

// assertForwardsNothing: neither what old connections say nor new ones are
// forwarded, and nobody answers. The frames are counted, so they have come.
func (d *director) assertForwardsNothing(client *netnstest.Namespace, addr string, old []*talk) {
	d.t.Helper()
	forwarded, passed := d.count("forwarded"), d.count("passed")
	for _, k := range old {
		k.say("anybody there?")
	}
	for range 2 {
		_, err := dialBriefly(client, net.JoinHostPort(addr, "7"))
		assert.ErrorIs(d.t, err, errNoAnswer)
	}
	eventually(d.t, "what was sent has come", func() bool { return d.count("passed") >= passed+uint64(len(old))+2 })
	assert.Equal(d.t, forwarded, d.count("forwarded"), "frames forwarded")
	for _, k := range old {
		k.assertSilent()
	}
}

// ownCases are a service for each way of finding one: commands, and its address.
var ownCases = []struct {
	name, addr string
	commands   []string
}{
	{"IPv4", vip4, []string{
		"ipvsadm -A -t 10.10.100.107:7 -s rr",
		"ipvsadm -a -t 10.10.100.107:7 -r 10.10.100.111 -g",
		"ipvsadm -a -t 10.10.100.107:7 -r 10.10.100.112 -g",
	}},
	{"IPv6", vip6, []string{
		"ipvsadm -A -t [2001:db8::107]:7 -s rr",
		"ipvsadm -a -t [2001:db8::107]:7 -r [2001:db8::111]:7 -g",
		"ipvsadm -a -t [2001:db8::107]:7 -r [2001:db8::112]:7 -g",
	}},
	{"Mark of the address", vip4, []string{
		"iptables -t mangle -A PREROUTING -d 10.10.100.107 -p tcp --dport 7 -j MARK --set-mark 1",
		"ipvsadm -A -f 1 -s rr",
		"ipvsadm -a -f 1 -r 10.10.100.111 -g",
		"ipvsadm -a -f 1 -r 10.10.100.112 -g",
	}},
	{"Mark of a port", vip6, []string{
		"ip6tables -t mangle -A PREROUTING -p tcp --dport 7 -j MARK --set-mark 1",
		"ipvsadm -A -f 1 -6 -s rr",
		"ipvsadm -a -f 1 -6 -r [2001:db8::111]:7 -g",
		"ipvsadm -a -f 1 -6 -r [2001:db8::112]:7 -g",
	}},
}

// A VIP comes to the host, goes and returns: the director forwards while it is
// there and not a frame while it is not, and forgets nothing in between.
func TestOwnHostComesAndGoes(t *testing.T) {
	t.Parallel()
	for _, tc := range ownCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				testComesAndGoes(t, ownSite(t, lab), tc.addr, tc.commands)
			})
		})
	}
}

func testComesAndGoes(t *testing.T, s *site, addr string, commands []string) {
	s.sendTo(addr, s.director)
	hostPort := net.JoinHostPort(addr, "7")
	d := startDirector(t, s.director, "-i eth0 --own host")
	for _, c := range commands {
		usvs(t, d.ns, c)
	}
	d.awaitOwn(addr, false)
	d.assertForwardsNothing(s.client, addr, nil)

	d.carry(addr)
	health := watchTCP(t, s.director)
	talks, servers := startTalks(t, s.client, hostPort, 4)
	require.Equal(t, map[string]int{"rs1": 2, "rs2": 2}, servers)
	for range 2 {
		for _, k := range talks {
			k.assertWorks()
		}
		entries := d.entries()
		d.drop(addr)
		d.assertForwardsNothing(s.client, addr, talks)
		assert.Equal(t, entries, d.entries(), "entries")
		d.carry(addr)
		for _, k := range talks {
			assert.Equal(t, "anybody there?", k.hear(), "TCP repeats what was not forwarded")
			k.assertWorks()
		}
	}
	fresh := startTalk(t, s.client, hostPort)
	fresh.assertWorks()
	health.assertUnchanged("TcpOutRsts")
	assert.Zero(t, d.status()["neighbours"]["announcements"], "the address is the host's to announce")
	assert.Zero(t, d.status()["neighbours"]["replies sent"], "and to answer for")
}

// The host takes an address over, or loses it, at moments when its director
// cannot hear of it: its own stack does not reset a connection.
func TestOwnHostLateDirector(t *testing.T) {
	t.Parallel()
	for _, tc := range ownCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				testLateDirector(t, ownSite(t, lab), tc.addr, tc.commands)
			})
		})
	}
}

func testLateDirector(t *testing.T, s *site, addr string, commands []string) {
	s.sendTo(addr, s.director)
	hostPort := net.JoinHostPort(addr, "7")
	d := startDirector(t, s.director, "-i eth0 --own host")
	for _, c := range commands {
		usvs(t, d.ns, c)
	}
	d.carry(addr)
	health := watchTCP(t, s.director)
	talk := startTalk(t, s.client, hostPort)
	for _, forward := range []string{"0", "1"} {
		s.director.Sysctl("net.ipv4.ip_forward", forward)
		d.pause()
		delAddr(d.ns, addr)
		talk.say("late")
		_, err := dialBriefly(s.client, hostPort)
		assert.ErrorIs(t, err, errNoAnswer)
		d.resume()
		d.awaitOwn(addr, false)

		d.pause()
		addAddr(d.ns, addr)
		talk.say("early")
		_, err = dialBriefly(s.client, hostPort)
		assert.ErrorIs(t, err, errNoAnswer)
		d.resume()
		assert.Equal(t, "late", talk.hear())
		assert.Equal(t, "early", talk.hear())
		talk.assertWorks()
		startTalk(t, s.client, hostPort).assertWorks()
	}
	health.assertUnchanged("TcpOutRsts")
}

// Two directors, between which a VIP moves: each forwards what comes while the
// VIP is its host's, wherever the client sends it, and what they know lasts.
func TestOwnHostPair(t *testing.T) {
	t.Parallel()
	for _, tc := range ownCases[:3] {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				testOwnPair(t, ownSite(t, lab), tc.addr, tc.commands)
			})
		})
	}
}

func testOwnPair(t *testing.T, s *site, addr string, commands []string) {
	hostPort := net.JoinHostPort(addr, "7")
	// An acknowledgement that comes to the other director, which knows nothing
	// of the connection, is refused by its host, as with the kernel's IPVS.
	s.client.Run("ip", "route", "replace", "10.10.100.0/24", "dev", "eth0", "quickack", "1")
	s.client.Run("ip", "-6", "route", "replace", "2001:db8::/64", "dev", "eth0", "proto", "kernel", "metric", "256", "quickack", "1")
	var directors []*director
	for _, ns := range []*netnstest.Namespace{s.director, s.machine("backup", "lan0 10.10.100.3/24 2001:db8::3/64")} {
		d := startDirector(t, ns, "-i eth0 --own host")
		for _, c := range commands {
			usvs(t, ns, c)
		}
		directors = append(directors, d)
	}
	talks := make([][]*talk, 2)
	for round := range 4 {
		at, other := round%2, 1-round%2
		d := directors[at]
		d.carry(addr)
		s.sendTo(addr, d.ns)
		for _, k := range talks[at] {
			k.assertWorks()
		}
		talks[at] = append(talks[at], startTalk(t, s.client, hostPort))
		assert.EqualValues(t, len(talks[at]), d.entries())

		s.sendTo(addr, directors[other].ns) // who is not to care
		directors[other].assertForwardsNothing(s.client, addr, talks[at])
		s.sendTo(addr, d.ns)
		for _, k := range talks[at] {
			assert.Equal(t, "anybody there?", k.hear())
		}
		d.drop(addr)
	}
}

// An address that still has to be checked for duplicates, or that is one, is
// not the host's.
func TestOwnHostDuplicateAddress(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := ownSite(t, lab)
		thief := s.machine("thief", "lan0 2001:db8::66/64")
		addAddr(thief, vip6)
		d := startDirector(t, s.director, "-i eth0 --own host")
		for _, c := range ownCases[1].commands {
			usvs(t, d.ns, c)
		}
		d.ns.Sysctl("net.ipv6.conf.eth0.accept_dad", "1")
		d.ns.Sysctl("net.ipv6.conf.eth0.dad_transmits", "1")
		d.ns.Run("ip", "addr", "add", vip6+"/128", "dev", "eth0")
		eventually(t, "the duplicate is found", func() bool {
			return strings.Contains(d.ns.Run("ip", "addr", "show", "dev", "eth0"), "dadfailed")
		})
		s.sendTo(vip6, s.director)
		d.awaitOwn(vip6, false)
		d.assertForwardsNothing(s.client, vip6, nil)
		delAddr(d.ns, vip6)
		thief.Delete("eth0")
		d.ns.Run("ip", "addr", "add", vip6+"/128", "dev", "eth0")
		d.awaitOwn(vip6, true)
		startTalk(t, s.client, net.JoinHostPort(vip6, "7")).assertWorks()
		assert.Zero(t, d.status()["neighbours"]["announcements"])
	})
}

// errNoAnswer says that a connection was neither accepted nor refused.
var errNoAnswer = fmt.Errorf("no answer")

// dialBriefly sends the first packet of a connection, waits a moment for what
// may come of it, and closes the connection.
func dialBriefly(ns *netnstest.Namespace, addr string) (answered bool, err error) {
	var conn net.Conn
	ns.Do(func() { conn, err = (&net.Dialer{Timeout: 200 * time.Millisecond}).Dial("tcp", addr) })
	if err == nil {
		conn.Close()
		return true, nil
	}
	if e, ok := err.(net.Error); ok && e.Timeout() {
		return false, errNoAnswer
	}
	return false, err
}
