package director

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/connsync"
	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// master makes the testbed a master and returns it.
func (b *testbed) master() *connsync.Master {
	m := connsync.NewMaster(b.now, connsync.MasterConfig{Table: b.d.Table, SyncID: 1, MaxLen: 1472, QueueMax: 100})
	b.d.SetMaster(m)
	return m
}

// told is what a master says by now and three seconds later.
func (b *testbed) told(m *connsync.Master) (entries []connsync.Entry) {
	for at := b.now; at < b.now.Add(4*time.Second); at = at.Add(time.Second) {
		m.Tick(at, func(_ int, message []byte) {
			connsync.Decode(message, 0, func(e *connsync.Entry) { entries = append(entries, *e) }, func(p connsync.Problem) {
				b.tb.Errorf("problem %v", p)
			})
		})
	}
	return entries
}

func TestMasterHearsOfPackets(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:8080")
	m := b.master()
	client, server := ap(cip, 40000), netip.MustParseAddrPort("10.2.0.11:8080")
	for _, flags := range []uint8{wire.FlagSYN, wire.FlagACK, wire.FlagACK} {
		b.handle(0, segment(client, ap(vip, 80), flags, 0))
		b.handle(1, segment(server, client, wire.FlagACK, 0)) // answers are not asked about
	}
	entries := b.told(m)
	require.Len(t, entries, 1)
	require.Equal(t, server, entries[0].Real)
	require.Equal(t, ipvs.Masquerade, entries[0].Method)
	require.EqualValues(t, conntrack.TCPEstablished, entries[0].State)

	b.d.SetMaster(nil)
	b.handle(0, segment(client, ap(vip, 80), wire.FlagFIN|wire.FlagACK, 0))
	require.Empty(t, b.told(m))
}

// TestTemplateThatOutlivesItsTime is told of again by whoever finds out.
func TestTemplateThatOutlivesItsTime(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
	b.snap.Services[0].Spec = ipvs.ServiceSpec{Flags: ipvs.FlagPersistent, Timeout: 30, Netmask: netip.MustParseAddr("255.255.255.255")}
	b.publish()
	m := b.master()
	for _, flags := range []uint8{wire.FlagSYN, wire.FlagACK} {
		b.handle(0, segment(ap(cip, 40000), ap(vip, 80), flags, 0))
	}
	require.NotEmpty(t, b.told(m))
	b.now = b.now.Add(40 * time.Second)
	b.w.Tick(b.now, &b.out)
	entries := b.told(m)
	require.Len(t, entries, 1)
	require.True(t, entries[0].Template())
	require.EqualValues(t, 60, entries[0].Timeout)
}

// TestUnboundEntry: a connection that another director told of, with a server
// that nobody knows here, is forwarded by what it says itself.
func TestUnboundEntry(t *testing.T) {
	for _, tt := range []struct {
		method ipvs.ForwardMethod
		want   Reason
	}{
		{ipvs.DirectRoute, Forwarded}, {ipvs.Masquerade, Forwarded}, {ipvs.Tunnel, DropServerGone},
		{ipvs.LocalNode, DropLocalNode}, {ipvs.Bypass, Forwarded},
	} {
		b := newTestbed(t)
		b.service(tcpID(vip, 81), ipvs.DirectRoute, "10.2.0.12:81")
		spec := conntrack.Spec{
			Protocol: ipvs.TCP, Client: ap(cip, 1), Virtual: ap(vip, 80), Real: netip.MustParseAddrPort("10.2.0.11:80"),
			Method: tt.method, State: conntrack.TCPEstablished, Flags: conntrack.FlagSync | conntrack.FlagActive,
		}
		var c conntrack.Conn
		require.Equal(t, conntrack.Inserted, b.d.Table.Insert(b.now, &spec, &c))
		b.handle(0, segment(ap(cip, 1), ap(vip, 80), wire.FlagACK, 10))
		if tt.method != ipvs.Bypass {
			require.Equal(t, tt.want, b.w.seen, tt.method)
		}
	}
}

func TestServerOf(t *testing.T) {
	b := newTestbed(t)
	any := b.service(tcpID(vip, 0), ipvs.DirectRoute, "10.2.0.13:0")[0]
	web := b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")[0]
	marked := b.service(ipvs.ServiceID{Family: ipvs.IPv4, Mark: 7}, ipvs.DirectRoute, "10.2.0.12:0", "10.2.0.12:80")
	zero, eighty := marked[1], marked[0]
	entry := func(rip string, vport uint16, mark uint32, m ipvs.ForwardMethod) *connsync.Entry {
		return &connsync.Entry{
			Protocol: ipvs.TCP, Client: ap(cip, 5), Virtual: ap(vip, vport), Real: netip.MustParseAddrPort(rip), Mark: mark, Method: m,
		}
	}
	for _, tt := range []struct {
		name string
		e    *connsync.Entry
		want *ipvs.RealServer
	}{
		{"exact", entry("10.2.0.11:80", 80, 0, ipvs.DirectRoute), web},
		{"another port", entry("10.2.0.11:81", 80, 0, ipvs.DirectRoute), nil},
		{"another server", entry("10.2.0.99:80", 80, 0, ipvs.DirectRoute), nil},
		{"any port", entry("10.2.0.13:443", 443, 0, ipvs.DirectRoute), any},
		{"mark, not by NAT", entry("10.2.0.12:80", 80, 7, ipvs.DirectRoute), zero},
		{"mark, by NAT", entry("10.2.0.12:80", 80, 7, ipvs.Masquerade), eighty},
		{"mark, by NAT, other port", entry("10.2.0.12:90", 80, 7, ipvs.Masquerade), zero},
		{"unknown mark is no mark", entry("10.2.0.11:80", 80, 8, ipvs.DirectRoute), web},
	} {
		require.Equal(t, tt.want, b.d.Snapshot().ServerOf(tt.e), tt.name)
	}
}

// TestMasterAllocatesNothing on the established path, though every packet is told of.
func TestMasterAllocatesNothing(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.DirectRoute, "10.2.0.11:80")
	b.snap.Sysctls.SyncThreshold, b.snap.Sysctls.SyncPeriod = 0, 1
	b.publish()
	m := b.master()
	b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagSYN, 0))
	data := segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 100)
	f := wire.NewFrame(2000)
	batch := []*link.Frame{f}
	n := 0
	yield := func(int, []byte) { n++ }
	round := func() {
		for range 50 {
			f.Reset()
			f.SetBytes(data)
			b.out.Reset()
			b.w.Handle(b.now, batch, &b.out)
		}
		b.now = b.now.Add(connsync.FlushDelay)
		m.Tick(b.now, yield)
	}
	round()
	require.Zero(t, testing.AllocsPerRun(100, round))
	require.Positive(t, n)
}

// TestTwoDirectors lets one director's messages reach another, in the middle of
// a connection, and expects the second to go on where the first was.
func TestTwoDirectors(t *testing.T) {
	a, b := newTestbed(t), newTestbed(t)
	for _, x := range []*testbed{a, b} {
		x.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80", "10.2.0.12:80")
	}
	m := a.master()
	backup := connsync.Backup{Table: b.d.Table, Find: func(e *connsync.Entry) *ipvs.RealServer { return b.d.Snapshot().ServerOf(e) }}
	var real netip.Addr
	for i := range 20 {
		flags := uint8(wire.FlagACK)
		if i == 0 {
			flags = wire.FlagSYN
		}
		_, p := a.parsed(a.handle(0, segment(ap(cip, 40000), ap(vip, 80), flags, 10)))
		real = p.Dst
	}
	for at := a.now; at < a.now.Add(5*time.Second); at = at.Add(time.Second) {
		m.Tick(at, func(_ int, message []byte) { backup.Receive(clock.Instant(at), slices.Clone(message), 3) })
	}
	_, p := b.parsed(b.handle(0, segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 10)))
	require.Equal(t, real, p.Dst, "the same server, without a SYN")
	_, p = b.parsed(b.handle(1, segment(ap(real, 80), ap(cip, 40000), wire.FlagACK, 10)))
	require.Equal(t, vip, p.Src, "and its answers in the service's name")
}

// TestSyncFramesAreTheHosts: daemons' messages are never taken for a service's,
// nor answered, whatever their group.
func TestSyncFramesAreTheHosts(t *testing.T) {
	for _, group := range []string{"224.0.0.81:8848", "[ff02::81]:8848"} {
		b := newTestbed(t)
		to := netip.MustParseAddrPort(group)
		from := netip.MustParseAddrPort("10.1.0.99:40000")
		id := ipvs.ServiceID{Family: ipvs.FamilyOf(to.Addr()), Protocol: ipvs.UDP, Addr: vip}
		if to.Addr().Is6() {
			from, id.Addr = netip.MustParseAddrPort("[fe80::99]:40000"), vip6
		}
		b.service(id, ipvs.DirectRoute, "10.2.0.11:0")
		g := connsync.Datagram{Group: to, TTL: 1, Payload: make([]byte, 44)}
		out := b.handle(0, g.Frame(gwMAC, from, 0))
		require.Len(t, out.Pass, 1)
		require.Empty(t, out.Tx)
		require.Empty(t, out.Host)
		require.Equal(t, NotForUs, b.w.seen)
	}
}
