package control

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/connsync"
	"usvs/conntrack"
	"usvs/director"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/localstack"
)

// wireTransport is a transport that notes what it was asked for.
type wireTransport struct {
	mtu  map[string]int
	open []string
	sent []connsync.Datagram
	fail error
}

func (w *wireTransport) Interface(name string) (int, error) {
	if mtu, ok := w.mtu[name]; ok {
		return mtu, nil
	}
	return 0, ipvs.ErrNoDevice
}

func (w *wireTransport) Open(d *ipvs.Daemon, o SyncOptions) error {
	if w.fail == nil {
		w.open = append(w.open, fmt.Sprintf("%s %s %v:%d+%d", roleName(d.State), d.Interface, d.Group, d.Port, o.Ports))
	}
	return w.fail
}

func (w *wireTransport) Close(s ipvs.DaemonState) { w.open = append(w.open, "close "+roleName(s)) }

func (w *wireTransport) Send(g *connsync.Datagram) {
	c := *g
	c.Payload = slices.Clone(g.Payload)
	w.sent = append(w.sent, c)
}

// node is a director with a control and a transport, in virtual time.
type node struct {
	*Control
	*wireTransport
	now clock.Instant
	dir *director.Director
}

func (n *node) Now() clock.Instant { return n.now }

func newNode(t *testing.T, sy ipvs.Sysctls) *node {
	n := &node{now: clock.Instant(time.Hour), wireTransport: &wireTransport{mtu: map[string]int{"eth0": 1500, "eth1": 9000}}}
	servers := new(ipvs.Registry)
	table := conntrack.New(conntrack.Config{Servers: servers})
	n.dir = director.New(director.Config{
		Table: table, Fragments: forward.NewReassembler(forward.Limits{}, 1), Answers: localstack.New(localstack.Options{}),
	})
	n.Control = New(Config{
		Clock: n, Rand: rand.New(rand.NewPCG(1, 2)), Servers: servers, Conns: table, Sysctls: sy,
		Director: n.dir, Sync: n.wireTransport, Publish: func(s *director.Snapshot) { n.dir.Publish(n.now, s) },
	})
	require.NoError(t, n.AddService(web, by("rr")))
	require.NoError(t, n.AddServer(web, ipvs.ServerID{Addr: netip.MustParseAddr("10.1.0.11"), Port: 80}, ipvs.ServerSpec{Weight: 1, Method: ipvs.DirectRoute}))
	return n
}

func master(iface string) ipvs.Daemon { return ipvs.Daemon{State: ipvs.DaemonMaster, Interface: iface} }
func backup(iface string) ipvs.Daemon { return ipvs.Daemon{State: ipvs.DaemonBackup, Interface: iface} }

func TestDaemonDefaults(t *testing.T) {
	v6 := netip.MustParseAddr("ff02::5")
	for _, tt := range []struct {
		name string
		ask  ipvs.Daemon
		want string
	}{
		{"master", master("eth1"), "1472 224.0.0.81 8848 1"},
		{"backup", backup("eth0"), "1472 224.0.0.81 8848 1"},
		{"backup takes the MTU", backup("eth1"), "8972 224.0.0.81 8848 1"},
		{"IPv6", ipvs.Daemon{State: ipvs.DaemonMaster, Interface: "eth0", Group: v6, TTL: 3, Port: 7}, "1452 ff02::5 7 3"},
		{"small", ipvs.Daemon{State: ipvs.DaemonMaster, Interface: "eth0", MaxLen: 1}, "1 224.0.0.81 8848 1"},
		{"small backup", ipvs.Daemon{State: ipvs.DaemonBackup, Interface: "eth0", MaxLen: 1}, "1024 224.0.0.81 8848 1"},
		{"large", ipvs.Daemon{State: ipvs.DaemonBackup, Interface: "eth0", MaxLen: 1 << 20}, "65507 224.0.0.81 8848 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, ipvs.DefaultSysctls())
			require.NoError(t, n.StartDaemon(tt.ask))
			list, err := n.Daemons()
			require.NoError(t, err)
			require.Len(t, list, 1)
			d := list[0]
			require.Equal(t, tt.want, fmt.Sprint(d.MaxLen, " ", d.Group, " ", d.Port, " ", d.TTL))
		})
	}
}

func TestDaemonLife(t *testing.T) {
	sy := ipvs.DefaultSysctls()
	sy.SyncPorts = 4
	n := newNode(t, sy)
	require.ErrorIs(t, n.StopDaemon(ipvs.DaemonMaster), ipvs.ErrNotFound)
	require.ErrorIs(t, n.StopDaemon(7), ipvs.ErrInvalid)
	require.ErrorIs(t, n.StartDaemon(master("nosuch0")), ipvs.ErrNoDevice)
	require.NoError(t, n.StartDaemon(master("eth0")))
	require.ErrorIs(t, n.StartDaemon(master("eth1")), ipvs.ErrExists)
	sy.SyncPorts = 8
	n.SetSysctls(sy) // the number of ports is settled
	require.NoError(t, n.StartDaemon(backup("eth1")))
	list, err := n.Daemons()
	require.NoError(t, err)
	require.Equal(t, []string{"eth0", "eth1"}, []string{list[0].Interface, list[1].Interface})
	require.NoError(t, n.StopDaemon(ipvs.DaemonMaster))
	require.Equal(t, clock.Never, n.SyncDeadline())
	require.Equal(t, clock.Never, n.SyncTick(n.now))
	require.NoError(t, n.StopDaemon(ipvs.DaemonBackup))
	require.NoError(t, n.StartDaemon(backup("eth0")))
	require.Equal(t, []string{
		"master eth0 224.0.0.81:8848+4", "backup eth1 224.0.0.81:8848+4", "close master", "close backup", "backup eth0 224.0.0.81:8848+8",
	}, n.open)
	n.fail = ipvs.ErrPermission
	require.ErrorIs(t, n.StartDaemon(master("eth0")), ipvs.ErrPermission)
	require.Equal(t, clock.Never, n.SyncDeadline())
}

// Messages cannot tell of servers of another family than their service's.
func TestDaemonAndMixedFamilies(t *testing.T) {
	n := newNode(t, ipvs.DefaultSysctls())
	rs := ipvs.ServerID{Addr: netip.MustParseAddr("fd00:1::11")}
	tun := ipvs.ServerSpec{Weight: 1, Method: ipvs.Tunnel}
	require.NoError(t, n.AddServer(web, rs, tun))
	require.ErrorIs(t, n.StartDaemon(master("eth0")), ipvs.ErrInvalid)
	require.NoError(t, n.DeleteServer(web, rs))
	require.NoError(t, n.StartDaemon(master("eth0")))
	require.ErrorIs(t, n.AddServer(web, rs, tun), ipvs.ErrInvalid)
	require.NoError(t, n.StopDaemon(ipvs.DaemonMaster))
	require.NoError(t, n.AddServer(web, rs, tun))
}

// TestSyncBetweenTwo sends one director's connection to another.
func TestSyncBetweenTwo(t *testing.T) {
	a, b := newNode(t, ipvs.DefaultSysctls()), newNode(t, ipvs.DefaultSysctls())
	m, s := master("eth0"), backup("eth1")
	m.SyncID, s.SyncID = 5, 5
	require.NoError(t, a.StartDaemon(m))
	require.NoError(t, b.StartDaemon(s))
	rs := a.dir.Snapshot().Services[0].Servers[0]
	spec := conntrack.Spec{
		Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("198.51.100.7:1000"), Virtual: netip.AddrPortFrom(web.Addr, 80),
		Real: netip.MustParseAddrPort("10.1.0.11:80"), Method: ipvs.DirectRoute, Server: rs,
	}
	var c, scratch conntrack.Conn
	require.Equal(t, conntrack.Inserted, a.dir.Table.Insert(a.now, &spec, &c))
	sy := a.Sysctls()
	live := a.daemons[0].Load().master
	for range 3 {
		a.dir.Table.Packet(a.now, &c, conntrack.DirIn, conntrack.TCPEvent(0x10))
		live.Packet(a.now, &sy, &c, &scratch)
	}
	require.Empty(t, a.sent)
	for next := a.SyncDeadline(); next < clock.Never; next = a.SyncTick(a.now) {
		a.now = next
	}
	require.Len(t, a.sent, 1)
	g := a.sent[0]
	require.Equal(t, "eth0 224.0.0.81:8848 1", fmt.Sprint(g.Interface, " ", g.Group, " ", g.TTL))

	require.False(t, b.ReceiveSync(b.now, "eth0", g.Group, g.Payload), "another interface")
	require.False(t, b.ReceiveSync(b.now, "eth1", netip.MustParseAddrPort("224.0.0.81:8849"), g.Payload), "another port")
	require.False(t, b.ReceiveSync(b.now, "eth1", netip.MustParseAddrPort("224.0.0.82:8848"), g.Payload), "another group")
	require.Equal(t, 0, b.dir.Table.Len())
	require.True(t, b.ReceiveSync(b.now, "eth1", g.Group, g.Payload))
	require.Equal(t, 1, b.dir.Table.Len())
	require.True(t, b.dir.Table.LookupIn(b.now, ipvs.TCP, spec.Client, spec.Virtual, &c))
	require.Equal(t, conntrack.TCPEstablished, c.State)
	require.NotNil(t, c.Server)
	require.EqualValues(t, 1, c.Server.Active())
	require.EqualValues(t, 1, a.SyncCounters()["master"]["entries"])
	require.EqualValues(t, 1, b.SyncCounters()["backup"]["entries"])
}

// TestRulesStartDaemons loads rules files that name daemons, and one that does not.
func TestRulesStartDaemons(t *testing.T) {
	n := newNode(t, ipvs.DefaultSysctls())
	load := func(rules string) error { return n.Load("rules", strings.NewReader(rules)) }
	require.NoError(t, load("ipvsadm --start-daemon master --mcast-interface eth0 --syncid 3\n--start-daemon backup --mcast-interface eth1\n"))
	require.NoError(t, load("-A -t 10.9.0.7:80 -s rr"))
	require.NoError(t, load("ipvsadm --start-daemon master --mcast-interface eth0 --syncid 3"))
	require.Len(t, n.open, 2, "what is as it should be goes on")
	require.NoError(t, load("ipvsadm --start-daemon master --mcast-interface eth0 --syncid 4"))
	require.Len(t, n.open, 4)
	list, err := n.Daemons()
	require.NoError(t, err)
	require.Equal(t, 4, list[0].SyncID)
	require.ErrorIs(t, load("ipvsadm --start-daemon backup --mcast-interface nosuch0"), ipvs.ErrNoDevice)
}
