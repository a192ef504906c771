package netsim

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

func TestNeighbourLife(t *testing.T) {
	s := newStar(t)
	a := s.hosts[0]
	state := func() NeighbourState { return a.Neighbours()[0].State }
	require.Equal(t, 1, s.ping(0, "10.0.0.2"))
	require.Equal(t, Reachable, state())
	s.Run(31 * time.Second)
	require.Equal(t, Stale, state())
	require.Equal(t, 1, s.ping(0, "10.0.0.2"))
	require.Equal(t, Delay, state())
	s.Run(4500 * time.Millisecond) // five seconds after its use it is probed
	require.Equal(t, Reachable, state())
	require.Contains(t, a.MustExec("ip neigh show"), "10.0.0.2 dev eth0 lladdr 02:00:00:00:03:00 REACHABLE")

	s.hosts[1].Port("eth0").SetUp(false)
	s.Run(31 * time.Second)
	require.Equal(t, 0, s.ping(0, "10.0.0.2"))
	s.Run(10 * time.Second)
	require.Equal(t, Failed, state())
	require.Contains(t, s.LogText(), "a: 10.0.0.2 does not answer ARP on eth0")
	require.True(t, a.DelNeighbour(a.Port("eth0"), netip.MustParseAddr("10.0.0.2")))
	require.Empty(t, a.Neighbours())
}

func TestUnansweredARP(t *testing.T) {
	s := newStar(t)
	u, err := s.hosts[0].UDP(addrPort("10.0.0.1:9"))
	require.NoError(t, err)
	var failed []string
	u.OnError = func(e ICMPError) { failed = append(failed, e.Error()) }
	for range 2 * maxQueued {
		require.NoError(t, u.Send(addrPort("10.0.0.99:9"), []byte("x")))
	}
	s.Run(5 * time.Second)
	require.Len(t, failed, maxQueued)
	require.Equal(t, "10.0.0.1: ICMP host unreachable", failed[0])
	require.Len(t, s.seenBy(1), 3, "asked three times")
}

func TestARPIgnore(t *testing.T) {
	for _, test := range []struct {
		ignore int
		target string // asked for on eth0
		answer bool
	}{
		{0, "10.0.0.2", true}, {0, "10.0.0.100", true}, {0, "10.0.1.2", true},
		{1, "10.0.0.2", true}, {1, "10.0.0.100", false}, {1, "10.0.1.2", false},
		{2, "10.0.0.2", true}, {2, "10.0.0.102", false}, {3, "10.0.0.100", false}, {3, "10.0.1.2", true},
		{8, "10.0.0.2", false},
	} {
		s := newStar(t)
		b := s.hosts[1]
		b.NIC("eth1", "10.0.1.2/24")
		b.MustExec("ip addr add 10.0.0.100/32 dev lo")
		b.MustExec("ip addr add 10.0.0.102/32 dev eth0") // not in the asker's subnet
		b.MustExec("sysctl -w net.ipv4.conf.eth0.arp_ignore=" + string(rune('0'+test.ignore)))
		a := s.hosts[0]
		a.MustExec("ip route add 10.0.1.2/32 dev eth0")
		require.NoError(t, a.Ping(netip.MustParseAddr(test.target), PingOptions{}, func(PingReply) {}))
		s.Run(500 * time.Millisecond)
		require.Equal(t, test.answer, a.Neighbours()[0].State == Reachable, test)
	}
}

func TestARPAnnounce(t *testing.T) {
	for announce, asker := range map[string]string{"0": "10.0.0.100", "1": "10.0.0.2", "2": "10.0.0.2"} {
		s := newStar(t)
		b := s.hosts[1]
		b.MustExec("ip addr add 10.0.0.100/32 dev lo")
		b.MustExec("sysctl -w net.ipv4.conf.all.arp_announce=" + announce)
		u, err := b.UDP(addrPort("10.0.0.100:9"))
		require.NoError(t, err)
		require.NoError(t, u.Send(addrPort("10.0.0.1:9"), nil))
		s.Run(time.Second)
		require.Contains(t, s.seenBy(0), "ARP who has 10.0.0.1? tell "+asker)
	}
}

// TestNDAnswersForTheInterface: an IPv6 VIP on lo is not answered for.
func TestNDAnswersForTheInterface(t *testing.T) {
	s := newStar(t)
	s.hosts[0].NIC("eth0", "2001:db8::1/64")
	s.hosts[1].NIC("eth0", "2001:db8::2/64")
	s.hosts[1].MustExec("ip addr add 2001:db8::100/128 dev lo")
	require.Equal(t, 1, s.ping(0, "2001:db8::2"))
	require.Equal(t, 0, s.ping(0, "2001:db8::100"))
	s.Run(5 * time.Second)
	require.Contains(t, s.LogText(), "a: 2001:db8::100 does not answer neighbour discovery on eth0")
	for _, n := range s.hosts[0].Neighbours() {
		if n.Addr == netip.MustParseAddr("2001:db8::2") {
			require.Equal(t, s.hosts[1].Port("eth0").MAC(), n.MAC)
		}
	}
	// News of an address that moved.
	s.hosts[2].NIC("eth0", "2001:db8::2/64")
	s.hosts[2].Port("eth0").Announce(netip.MustParseAddr("2001:db8::2"))
	s.Run(time.Second)
	require.Contains(t, s.LogText(), "a: 2001:db8::2 is now at 02:00:00:00:04:00, was at 02:00:00:00:03:00")
}

func TestLoopback(t *testing.T) {
	s := newStar(t)
	require.Equal(t, 1, s.ping(0, "10.0.0.1"))
	require.Equal(t, 1, s.ping(0, "127.0.0.1"))
	require.Equal(t, 1, s.ping(0, "::1"))
	require.Empty(t, s.rec.Records)
	echo(t, s.hosts[0], "127.0.0.1:7")
	u, err := s.hosts[0].UDP(netip.AddrPort{})
	require.NoError(t, err)
	got := ""
	u.OnReceive = func(d Datagram) { got = string(d.Payload) }
	require.NoError(t, u.Send(addrPort("127.0.0.1:7"), []byte("x")))
	s.Run(time.Millisecond)
	require.Equal(t, "a x", got)
}

func TestSockets(t *testing.T) {
	s := newStar(t)
	h := s.hosts[0]
	u, err := h.UDP(addrPort("10.0.0.1:53"))
	require.NoError(t, err)
	_, err = h.UDP(addrPort("10.0.0.1:53"))
	require.ErrorIs(t, err, ErrPortInUse)
	any4, err := h.UDP(addrPort("0.0.0.0:53"))
	require.NoError(t, err)
	all, err := h.UDP(addrPort("[::]:53"))
	require.NoError(t, err)
	find := func(a string) *UDPSocket { return h.udp.find(addrPort(a)) }
	require.Same(t, u, find("10.0.0.1:53"))
	require.Same(t, any4, find("127.0.0.1:53"))
	require.Same(t, all, find("[::1]:53"))
	u.Close()
	require.Same(t, any4, find("10.0.0.1:53"))
	any4.Close()
	all.Close()
	require.Nil(t, find("10.0.0.1:53"))
	require.ErrorContains(t, u.Send(addrPort("203.0.113.1:9"), nil), "no route")
}

func TestCommands(t *testing.T) {
	s := newStar(t)
	h := s.hosts[0]
	for _, test := range []struct {
		command string
		status  int
		output  string // part of
	}{
		{"ip addr add 10.9.0.1/24 dev eth0", 0, ""},
		{"ip a", 0, "inet 10.9.0.1/24"},
		{"sudo ip addr add 10.9.0.1/24 dev eth0", 2, "eth0 has 10.9.0.1/24 already"},
		{"ip addr add 10.9.0.1/24 dev eth7", 2, `cannot find device "eth7"`},
		{"ip addr del 10.9.0.1 dev eth0", 0, ""},
		{"ip addr del 10.9.0.1/24 dev eth0", 2, "eth0 does not have"},
		{"ip address add 10.9.0.300/24 dev eth0", 2, "is no address"},
		{"ip route add default via 10.0.0.254", 0, ""},
		{"ip route add default via 10.0.0.253", 2, "already"},
		{"ip route replace default via 10.0.0.253", 0, ""},
		{"ip route", 0, "0.0.0.0/0 via 10.0.0.253 dev eth0\nfe80::/64 dev eth0 src fe80::ff:fe00:200\n10.0.0.0/24 dev eth0 src 10.0.0.1"},
		{"ip route add 10.7.0.0/16 via 203.0.114.1 dev eth0", 0, ""},
		{"ip route add 10.8.0.0/16", 2, "not understood"},
		{"ip route add local 10.6.0.0/16 dev lo", 0, ""},
		{"ip route del default", 0, ""},
		{"ip route del default", 2, "there is no route"},
		{"ip route add 10.8.0.0/16 via 10.66.0.1", 2, "not a neighbour"},
		{"ip link set dev eth0 mtu 1400", 0, ""},
		{"ip link set eth0 mtu 1", 2, "mtu"},
		{"ip link set eth0 address 02:00:00:00:00:99", 0, ""},
		{"ip addr show", 0, "link/ether 02:00:00:00:00:99"},
		{"ip link set tunl0 up", 0, ""},
		{"ip link add ipip1 type ipip", 0, ""},
		{"ip link add x type vxlan", 2, "not understood"},
		{"ip link set eth0 down", 0, ""},
		{"ip link set eth0 up", 0, ""},
		{"ip neigh add 10.0.0.5 lladdr 02:00:00:00:00:55 dev eth0", 0, ""},
		{"ip neigh", 0, "10.0.0.5 dev eth0 lladdr 02:00:00:00:00:55 PERMANENT"},
		{"ip neigh del 10.0.0.5 dev eth0", 0, ""},
		{"ip neigh del 10.0.0.5 dev eth0", 2, "not known"},
		{"ip -6 route add default via fe80::1 dev eth0", 0, ""},
		{"ip wireless", 2, "not understood"},
		{"sysctl net.ipv4.ip_forward", 0, "net.ipv4.ip_forward = 0"},
		{"sysctl -w net.ipv4.ip_forward=1", 0, "net.ipv4.ip_forward = 1"},
		{"sysctl net.ipv4.conf.eth0.arp_ignore=x", 255, "is no number"},
		{"sysctl net.ipv4.conf.eth9.arp_ignore=1", 255, "no such setting"},
		{"sysctl net/ipv4/conf/all/arp_announce=2", 0, "= 2"},
		{"sysctl kernel.panic=1", 255, "no such setting"},
		{"usvs realserver up", 1, "no virtual address given"},
		{"usvs realserver up --vip 10.0.0.100 --mode nat", 1, "want dr or tun"},
		{"usvs realserver up --vip 10.0.0.100/32", 1, "without prefix length"},
		{"usvs realserver status", 0, "no VIP is set up"},
		{"usvs realserver up --vip=10.0.0.100 --mode=tun --gre", 0, ""},
		{"usvs realserver status", 0, "ok       10.0.0.100 on lo"},
		{"ip addr del 10.0.0.100/32 dev lo", 0, ""},
		{"usvs realserver status", 1, "MISSING  10.0.0.100 on lo"},
		{"usvs realserver down", 0, ""},
		{"arping -U -I eth0 10.0.0.1", 0, ""},
		{"arping -U -I eth9 10.0.0.1", 2, "cannot find device"},
		{"ipvsadm -Ln", 127, "command not found"},
		{`ip 'addr`, 2, "unterminated quote"},
		{"", 0, ""},
	} {
		r := h.Exec(test.command)
		require.Equal(t, test.status, r.Status, "%s\n%s%s", test.command, r.Stdout, r.Stderr)
		require.Contains(t, r.Stdout+r.Stderr, test.output, test.command)
	}
}

func TestWordsOfACommand(t *testing.T) {
	w, err := words(`a 'b c' "d \"e" f\ g  ''`)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b c", `d "e`, "f g", ""}, w)
}

// FuzzHostInput throws bytes at a host with everything switched on, and at a
// director.
func FuzzHostInput(f *testing.F) {
	p := newPath(f, 1400)
	_ = p.client.Ping(netip.MustParseAddr("10.0.0.2"), PingOptions{Size: 1450}, func(PingReply) {})
	p.Run(time.Second)
	for _, r := range p.rec.Records {
		f.Add(r.Data)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > wire.MaxFrame {
			return
		}
		l := newLab(1, LinkOptions{})
		l.service("10.0.0.100:53", "-m", "10.0.0.11", "10.0.0.12")
		for _, h := range []*Host{l.client, l.servers[0], l.lvs.Host} {
			h.MustExec("sysctl -w net.ipv4.ip_forward=1")
			h.SetTunnels(true, true, 6080)
			if len(frame) >= wire.EthernetLen {
				copy(frame, h.ports[0].mac[:])
			}
			h.ports[0].Deliver(frame)
			l.lvs.ports[0].Deliver(frame)
			l.Run(time.Second)
		}
	})
}

// TestInterfaceDown: as on Linux, routes by it and IPv6 addresses do not come
// back with it.
func TestInterfaceDown(t *testing.T) {
	h := New(1).Host("h")
	p := h.NIC("eth0", "10.0.0.1/24", "2001:db8::1/64")
	h.MustExec("ip route add default via 10.0.0.254")
	h.MustExec("ip link set eth0 down")
	require.False(t, h.Source(netip.MustParseAddr("10.0.0.2")).IsValid())
	h.MustExec("ip link set eth0 up")
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.PrefixFrom(linkLocal(p.mac), 64)}, p.Addrs())
	require.True(t, h.Source(netip.MustParseAddr("10.0.0.2")).IsValid())
	require.False(t, h.Source(netip.MustParseAddr("203.0.113.1")).IsValid())
}

func TestLostCarrier(t *testing.T) {
	s := newStar(t)
	require.Equal(t, 1, s.ping(0, "10.0.0.2"))
	a := s.hosts[0].Port("eth0")
	a.Link().SetUp(false)
	require.Empty(t, s.hosts[0].Neighbours())
	a.Link().SetUp(true)
	require.Equal(t, 1, s.ping(0, "10.0.0.2"))
}

// TestTimeJumps: a day costs few events, and connections expire in it.
func TestTimeJumps(t *testing.T) {
	l := newLab(1, LinkOptions{})
	l.service("10.0.0.100:53", "-g", "10.0.0.11")
	l.ask(t, l.client, "10.0.0.100:53", "x")
	require.Equal(t, 1, l.lvs.Core().Table.Len())
	before := l.Stats().Events
	l.Run(24 * time.Hour)
	require.Zero(t, l.lvs.Core().Table.Len())
	require.Less(t, l.Stats().Events-before, uint64(24*3600))
	require.Equal(t, 24*time.Hour+2*time.Second, l.Elapsed())
}

// TestHostileTables: what strangers can fill is bounded.
func TestHostileTables(t *testing.T) {
	s := newStar(t)
	c := s.hosts[2].Port("eth0")
	target := netip.MustParseAddr("10.0.0.1")
	for i := range 2 * maxStations {
		c.mac = wire.MAC{2, 9, byte(i >> 16), byte(i >> 8), byte(i), 1}
		s.hosts[2].sendARP(c, arpRequest, wire.Broadcast, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), wire.MAC{}, target)
		s.Run(time.Microsecond)
	}
	require.Len(t, s.sw.Stations(), maxStations)
	require.Len(t, s.hosts[0].Neighbours(), maxNeighbours)
	s.Run(DefaultAgeing + time.Second)
	require.Equal(t, 1, s.ping(1, "10.0.0.1"), "there is room again")
	require.NotEmpty(t, s.sw.Stations())

	h := s.hosts[0]
	for range 2 * (lastEphemeral - firstEphemeral) {
		if _, err := h.UDP(netip.AddrPort{}); err != nil {
			require.ErrorIs(t, err, ErrPortInUse)
			return
		}
	}
	t.Fatal("more sockets than ports")
}

func TestRealServerDownRestores(t *testing.T) {
	h := newStar(t).hosts[0]
	h.MustExec("sysctl -w net.ipv4.conf.all.arp_announce=1 net.ipv4.conf.default.arp_ignore=1")
	h.MustExec("usvs realserver up --vip 10.0.0.100 --mode tun")
	h.MustExec("usvs realserver up --vip 10.0.0.101")
	h.MustExec("usvs realserver down --vip 10.0.0.100")
	require.True(t, h.tunnels.ipip)
	h.MustExec("usvs realserver down")
	require.False(t, h.tunnels.ipip)
	require.Equal(t, "net.ipv4.conf.all.arp_ignore = 0\nnet.ipv4.conf.all.arp_announce = 1\n",
		h.MustExec("sysctl net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce"))
	require.Equal(t, 1, h.NIC("eth5").sysctl.arpIgnore)
}
