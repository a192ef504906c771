package director

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/marks"
	"usvs/wire"
)

// rules are the mark rules of iptables commands.
func rules(tb testing.TB, f marks.Family, lines ...string) *marks.Ruleset {
	rs := marks.New(f)
	for _, line := range lines {
		c, err := marks.Parser{Family: f}.Parse(strings.Fields(line))
		require.NoError(tb, err)
		rs, _, err = rs.Apply(c)
		require.NoError(tb, err)
	}
	return rs
}

// persistent changes the last service added.
func (b *testbed) edit(change func(*ipvs.ServiceSpec)) {
	change(&b.snap.Services[len(b.snap.Services)-1].Spec)
	b.publish()
}

func persist(s *ipvs.ServiceSpec) { s.Flags, s.Timeout = ipvs.FlagPersistent, 300 }

// opened is where a first packet went; the zero AddrPort: nowhere.
func (b *testbed) opened(frame []byte) netip.AddrPort {
	out := b.handle(0, frame)
	if b.w.seen != Forwarded {
		return netip.AddrPort{}
	}
	p := b.onePacket(out.Tx)
	return ap(p.Dst, p.DstPort)
}

func client(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(100 + i>>8), byte(i)}) }

func TestPersistence(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:8080", "10.2.0.12:8080")
	b.edit(func(s *ipvs.ServiceSpec) { persist(s); s.Netmask = netip.MustParseAddr("255.255.255.0") })
	first := b.opened(segment(ap(client(1), 1), ap(vip, 80), wire.FlagSYN, 0))
	for i := range 5 {
		require.Equal(t, first, b.opened(segment(ap(client(i), 2), ap(vip, 80), wire.FlagSYN, 0)), "the same subnet")
	}
	require.NotEqual(t, first, b.opened(segment(ap(client(300), 2), ap(vip, 80), wire.FlagSYN, 0)))

	rs := b.snap.Services[0].Servers
	for _, s := range rs {
		require.EqualValues(t, 1, s.Persistent())
		if s.ID.Addr == first.Addr() {
			s.SetSpec(ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 0})
		}
	}
	require.Equal(t, first, b.opened(segment(ap(client(1), 3), ap(vip, 80), wire.FlagSYN, 0)), "quiesced: still used")
	b.snap.Sysctls.ExpireQuiescentTemplate = 1
	b.publish()
	require.NotEqual(t, first, b.opened(segment(ap(client(1), 4), ap(vip, 80), wire.FlagSYN, 0)))

	for _, s := range rs {
		s.SetSpec(ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 0})
	}
	b.handle(0, segment(ap(client(600), 1), ap(vip, 80), wire.FlagSYN, 0))
	require.Equal(t, DropNoServer, b.w.seen)
}

func TestPersistenceByPort(t *testing.T) {
	all := ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: vip}
	b := newTestbed(t)
	b.service(all, ipvs.Masquerade, "10.2.0.11:0", "10.2.0.12:0")
	require.Zero(t, b.opened(syn(0)), "a service on every port has to be persistent")
	require.Equal(t, DropNoServer, b.w.seen)
	b.edit(persist)
	first := b.opened(syn(0))
	require.EqualValues(t, 80, first.Port())
	require.Equal(t, ap(first.Addr(), 99), b.opened(segment(ap(cip, 40001), ap(vip, 99), wire.FlagSYN, 0)))

	b.service(tcpID(vip, ftpPort), ipvs.Masquerade, "10.2.0.11:2121", "10.2.0.12:2121")
	require.Zero(t, b.opened(segment(ap(cip, 1), ap(vip, 4000), wire.FlagSYN, 0)), "FTP data comes before the service on every port")
	require.Equal(t, Answered, b.w.seen, "and is the host's affair without persistence")
	b.edit(persist)
	control := b.opened(segment(ap(client(9), 1), ap(vip, 21), wire.FlagSYN, 0))
	require.EqualValues(t, 2121, control.Port())
	require.Equal(t, ap(control.Addr(), 4000), b.opened(segment(ap(client(9), 1), ap(vip, 4000), wire.FlagSYN, 0)))
}

func TestPersistenceOfIPv6(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip6, 80), ipvs.DirectRoute, "[fd00:2::11]:80")
	b.edit(func(s *ipvs.ServiceSpec) { persist(s); s.PrefixLen = 64 })
	b.opened(segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 0))
	b.opened(segment(ap(cip6.Next(), 1), ap(vip6, 80), wire.FlagSYN, 0))
	require.EqualValues(t, 1, b.snap.Services[0].Servers[0].Persistent())
	require.Equal(t, 3, b.d.Table.Len())
	b.edit(func(s *ipvs.ServiceSpec) { s.PrefixLen = 128 })
	b.opened(segment(ap(cip6.Next(), 2), ap(vip6, 80), wire.FlagSYN, 0))
	require.EqualValues(t, 2, b.snap.Services[0].Servers[0].Persistent())
}

func TestMarks(t *testing.T) {
	b := newTestbed(t)
	b.service(ipvs.ServiceID{Family: ipvs.IPv4, Mark: 7}, ipvs.Masquerade, "10.2.0.11:8080", "10.2.0.12:8080")
	other := netip.MustParseAddr("10.9.5.5")
	in := func(a netip.Addr, port, cport uint16) []byte {
		return segment(ap(cip, cport), ap(a, port), wire.FlagSYN, 0)
	}

	b.snap.Marks4 = rules(t, marks.IPv4, "-t mangle -A PREROUTING -i eth0 -d 10.9.0.0/16 -p tcp --dport 80 -j MARK --set-mark 7")
	b.publish()
	require.EqualValues(t, 8080, b.opened(in(vip, 80, 1)).Port(), "owned")
	require.Zero(t, b.opened(in(vip, 81, 1)), "owned, but not marked")
	require.Zero(t, b.opened(in(other, 80, 1)), "marked, but neither owned nor the host's")
	require.Equal(t, Passed, b.w.seen)

	b.snap.Hidden = &Hidden{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}
	b.publish()
	require.EqualValues(t, 8080, b.opened(in(other, 80, 1)).Port(), "named by a rule")
	require.Zero(t, b.opened(in(other, 81, 1)))
	require.Equal(t, Handed, b.w.seen, "named by a rule, but not marked: the host did not see it")

	b.snap.Hidden = nil
	b.carry(other)
	require.EqualValues(t, 8080, b.opened(in(other, 80, 2)).Port(), "the host's")

	b.edit(persist)
	require.EqualValues(t, 80, b.opened(in(vip, 80, 3)).Port(), "the port is the client's under persistence")
	require.Equal(t, b.opened(in(vip, 80, 4)).Addr(), b.opened(in(other, 80, 4)).Addr(), "one template for the mark")
}

func TestMarksOfIPv6(t *testing.T) {
	b := newTestbed(t)
	b.service(ipvs.ServiceID{Family: ipvs.IPv6, Mark: 7}, ipvs.DirectRoute, "[fd00:2::11]:80")
	b.edit(persist)
	b.snap.Marks6 = rules(t, marks.IPv6, "-t mangle -A PREROUTING -d fd00:9::1 -j MARK --set-mark 7")
	b.publish()
	require.NotZero(t, b.opened(segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 0)))
	b.handle(0, syn(0))
	require.Equal(t, Answered, b.w.seen, "IPv4 has no rules")
}

func TestOnePacketScheduling(t *testing.T) {
	b := newTestbed(t)
	id := ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: vip, Port: 53}
	rs := b.service(id, ipvs.Masquerade, "10.2.0.11:53", "10.2.0.12:53")
	b.edit(func(s *ipvs.ServiceSpec) { s.Flags = ipvs.FlagOnePacket })
	a := b.opened(udp(ap(cip, 1), ap(vip, 53), 4))
	require.NotEqual(t, a, b.opened(udp(ap(cip, 1), ap(vip, 53), 4)), "every packet is scheduled")
	require.Zero(t, b.d.Table.Len())
	require.EqualValues(t, 1, rs[0].Counters.Conns.Load())
	require.Zero(t, rs[0].Inactive())
	b.handle(1, udp(ap(rip1, 53), ap(cip, 1), 4))
	require.Equal(t, Passed, b.w.seen, "answers are not translated")

	rs[0].SetSpec(ipvs.ServerSpec{Weight: 1, UpperThreshold: 1})
	rs[1].SetSpec(ipvs.ServerSpec{Weight: 0})
	for range 3 {
		require.Equal(t, rs[0].ID.Addr, b.opened(udp(ap(cip, 1), ap(vip, 53), 4)).Addr(), "a threshold of one holds one at a time")
	}
}

func TestThresholds(t *testing.T) {
	b := newTestbed(t)
	rs := b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")[0]
	rs.SetSpec(ipvs.ServerSpec{Weight: 1, UpperThreshold: 2, LowerThreshold: 1})
	for i := range 4 {
		ok := b.opened(segment(ap(cip, uint16(i+1)), ap(vip, 80), wire.FlagSYN, 0)).IsValid()
		require.Equal(t, i < 2, ok, "connection %d", i)
	}
	require.True(t, b.opened(segment(ap(cip, 1), ap(vip, 80), wire.FlagACK, 0)).IsValid(), "what is open goes on")
}

func TestPortReuse(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80", "10.2.0.12:80")
	reset := func() {
		for _, flags := range []uint8{wire.FlagACK, wire.FlagRST} {
			b.handle(0, segment(ap(cip, 40000), ap(vip, 80), flags, 0))
		}
	}
	first := b.opened(syn(0))
	reset()
	require.NotEqual(t, first, b.opened(syn(0)), "a closed connection makes way")
	reset()
	b.snap.Sysctls.ConnReuseMode = 0
	b.publish()
	second := b.opened(syn(0))
	require.Equal(t, second, b.opened(syn(0)))

	b.snap.Sysctls.ExpireNodestConn = 1
	b.publish()
	for _, rs := range b.snap.Services[0].Servers {
		if rs.ID.Addr == second.Addr() {
			rs.SetSpec(ipvs.ServerSpec{Weight: 0})
		}
	}
	require.NotEqual(t, second, b.opened(syn(0)), "expire_nodest_conn: from a quiesced server, too")
}

func TestSCTP(t *testing.T) {
	b := newTestbed(t)
	id := ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.SCTP, Addr: vip, Port: 9}
	b.service(id, ipvs.Masquerade, "10.2.0.11:9")
	require.Zero(t, b.opened(sctp(ap(cip, 1), ap(vip, 9), 0, 0, 0, 4)), "DATA opens nothing")
	require.NotZero(t, b.opened(sctp(ap(cip, 1), ap(vip, 9), sctpInit, 0, 0, 4)))
	require.NotZero(t, b.opened(sctp(ap(cip, 1), ap(vip, 9), sctpInit, 0, 0, 4)), "INIT of an open association")
	b.snap.Sysctls.SloppySCTP, b.snap.Sysctls.NATICMPSend = 1, 1
	b.publish()
	require.NotZero(t, b.opened(sctp(ap(cip, 2), ap(vip, 9), 0, 0, 0, 4)))
	require.Zero(t, b.opened(sctp(ap(cip, 3), ap(vip, 9), sctpAbort, 0, 0, 4)))
	b.handle(1, sctp(ap(rip1, 9), ap(cip, 77), sctpAbort, 0, 0, 4))
	require.Equal(t, Passed, b.w.seen)
	b.handle(1, sctp(ap(rip1, 9), ap(cip, 77), 0, 0, 0, 4))
	require.Equal(t, DropNoConnection, b.w.seen)
}

func TestTableFull(t *testing.T) {
	b := newTestbed(t)
	b.d.Table = conntrack.New(conntrack.Config{Servers: b.servers, MaxEntries: 2, Shards: 1})
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")
	full := func() bool {
		for i := range 100 {
			if !b.opened(segment(ap(client(i), 1), ap(vip, 80), wire.FlagSYN, 0)).IsValid() {
				return true
			}
		}
		return false
	}
	require.True(t, full())
	require.Equal(t, DropTableFull, b.w.seen)
	b.edit(persist)
	b.handle(0, segment(ap(client(200), 1), ap(vip, 80), wire.FlagSYN, 0))
	require.Equal(t, DropTableFull, b.w.seen)
}

func TestConnectionsExpire(t *testing.T) {
	b := newTestbed(t)
	rs := b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")[0]
	b.handle(0, syn(0))
	require.EqualValues(t, 1, rs.References())
	for range 100 {
		b.now = b.w.Tick(b.now, &b.out).Min(b.now.Add(time.Hour))
	}
	require.Zero(t, rs.References())
	require.Zero(t, b.d.Table.Len())
}

// TestWorkersNumbers: what a worker inserts has its number, so that workers keep
// out of each other's way in the table.
func TestWorkersNumbers(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:8080")
	require.Zero(t, b.w.number)
	for n := 1; n <= 3; n++ {
		b.w = b.d.NewWorker()
		require.Equal(t, n, b.w.number)
		require.NotZero(t, b.opened(segment(ap(client(n), 1), ap(vip, 80), wire.FlagSYN, 0)))
		require.EqualValues(t, n, b.w.fresh.Worker)
	}
}
