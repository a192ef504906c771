package netsim

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/route"
	"usvs/wire"
)

func TestNamesAndParts(t *testing.T) {
	l := newLab(9, LinkOptions{Name: "", Delay: time.Millisecond})
	require.EqualValues(t, 9, l.Seed())
	require.Equal(t, []Node{l.sw, l.client, l.lvs, l.servers[0], l.servers[1]}, l.Nodes())
	require.Same(t, l.Net, l.client.Net())
	link := l.LinkNamed("client:eth0-sw:1")
	require.Same(t, l.client.Port("eth0").Link(), link)
	require.Nil(t, l.LinkNamed("nowhere"))
	require.Nil(t, l.Node("nobody"))
	require.Nil(t, l.client.Port("eth9"))
	a, b := link.Ends()
	require.Equal(t, "client:eth0 sw:1 eth0", a.String()+" "+b.String()+" "+a.Name())
	require.Equal(t, 1500, a.MTU())
	require.True(t, a.Up() && link.Up())
	require.Equal(t, []*Port{a}, l.client.Ports())
	require.Equal(t, time.Millisecond, link.Options(a).Delay)
	link.SetFrom(a, LinkOptions{Delay: time.Second})
	require.Equal(t, time.Second, link.Options(a).Delay)
	require.Equal(t, time.Millisecond, link.Options(b).Delay)
	require.Panics(t, func() { l.Host("client") }, "a name is taken once")
	require.Panics(t, func() { l.Net.Link(a, b) }, "a port has one link")
	require.Panics(t, func() { l.client.MustExec("ip nonsense") })
	require.Same(t, l.lvs.dir, l.lvs.Core())
	require.Same(t, l.lvs.ctl, l.lvs.Control())
	l.sw.Port("2")
	require.Equal(t, "5", l.sw.NextPort().Name())
}

func TestAddressesAndRoutes(t *testing.T) {
	h := New(1).Host("h")
	p := h.NIC("eth0", "10.0.0.1/24")
	require.NoError(t, p.AddAddr("10.0.0.2/24"))
	require.Error(t, p.AddAddr("10.0.0.2/24"))
	require.Error(t, p.AddAddr("rubbish"))
	require.NoError(t, p.DelAddr("10.0.0.1/24"))
	require.Error(t, p.DelAddr("10.0.0.1/24"))
	require.Error(t, New(1).Switch("s").Port("1").AddAddr("10.0.0.1/24"))
	require.Equal(t, route.Local, h.Routes().Lookup(netip.MustParseAddr("10.0.0.2")).Kind)
	require.Equal(t, netip.MustParseAddr("10.0.0.2"), h.Source(netip.MustParseAddr("10.0.0.7")))
	require.NoError(t, h.Exec("ip addr flush dev eth0").Err())
	require.Empty(t, p.Addrs())
	require.Error(t, h.Exec("ip addr flush dev eth1").Err())
	require.False(t, h.Source(netip.MustParseAddr("10.0.0.7")).IsValid())
	require.True(t, New(1).Host("x").isBroadcast(limitedBroadcast))
}

func TestInjectAndDeliver(t *testing.T) {
	p := newPair(t, LinkOptions{})
	a, b := p.link.Ends()
	require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), []byte("x")))
	frame := p.rec.Records[0].Data
	a.Inject(frame)
	b.Deliver(frame)
	p.Run(time.Second)
	require.Len(t, p.got, 3)
	require.Equal(t, PortStats{RxFrames: 3, RxBytes: 129}, b.Stats())
	require.NoError(t, p.a.SendPacket(frame[wire.EthernetLen:]))
	require.Error(t, p.a.SendPacket(nil))
	require.Error(t, p.a.SendPacket([]byte{0x45}))
	p.Run(time.Second)
	require.Len(t, p.got, 4)
	b.SetUp(false)
	b.Deliver(frame)
	b.Inject(frame)
	p.Run(time.Second)
	require.Len(t, p.got, 4)
	require.EqualValues(t, 1, b.Stats().TxDropped)
	require.ErrorContains(t, p.a.SendIP(netip.Addr{}, netip.MustParseAddr("203.0.113.1"), 17, nil, PacketOptions{}), "no route")
}

func TestLogIsBoundedAndHeard(t *testing.T) {
	n := New(1)
	for range maxLog + 10 {
		n.logf("x", "something")
	}
	require.Len(t, n.Log(), maxLog)
	require.Contains(t, n.LogText(), "(10 more)")
	heard := ""
	n.OnLog(func(e Entry) { heard = e.String() })
	log := slog.New(&logHandler{net: n, who: "lvs"})
	log.With("a", 1).WithGroup("g").Error("failed", "b", "two")
	require.Equal(t, "   0.000000000 lvs: ERROR failed a=1 b=two", heard)
	heard = ""
	log.Debug("nothing")
	require.Empty(t, heard)
}

func TestRulesFile(t *testing.T) {
	l := newLab(1, LinkOptions{})
	require.NoError(t, l.lvs.Load("rules", "VIP=10.0.0.100\nipvsadm -A -u $VIP:53 -s rr\nipvsadm -a -u $VIP:53 -r 10.0.0.11 -g\n"))
	require.Contains(t, l.LogText(), "lvs: service added service=UDP 10.0.0.100:53")
	require.ErrorContains(t, l.lvs.Load("rules", "rm -rf /\n"), "rules:1:")
	require.Equal(t, "", l.client.ExecInput("ip link set eth0 up", "").Stdout)
}

// TestObservationLater: observers may come at any time, before or after the
// directors, and see their reasons.
func TestObservationLater(t *testing.T) {
	for _, before := range []bool{true, false} {
		n := New(1)
		if before {
			n.Observe(func(*Record) {})
		}
		c, d := n.Host("c"), n.Director("d")
		n.Link(c.NIC("eth0", "10.0.0.9/24"), d.NIC("eth0", "10.0.0.1/24"))
		rec := n.Record()
		n.Observe(func(*Record) {})
		answered := 0
		d.MustExec("ipvsadm -A -t 10.0.0.100:80")
		require.NoError(t, c.Ping(netip.MustParseAddr("10.0.0.100"), PingOptions{}, func(PingReply) { answered++ }))
		n.Run(time.Second)
		require.Equal(t, 1, answered)
		var reasons []director.Reason
		for _, r := range rec.Records {
			if r.Verdict != nil {
				reasons = append(reasons, r.Verdict.Reason)
			}
		}
		require.Contains(t, reasons, director.Answered)
	}
}

// TestTheHostSeesWhatIsNotHidden: a service on an address that the host has
// too; the other ports stay the host's.
func TestTheHostSeesWhatIsNotHidden(t *testing.T) {
	l := newLab(1, LinkOptions{})
	echo(t, l.lvs.Host, "10.0.0.1:99")
	for _, h := range l.servers {
		h.MustExec("usvs realserver up --vip 10.0.0.1")
		echo(t, h, "0.0.0.0:53")
	}
	l.service("10.0.0.1:53", "-g", "10.0.0.11", "10.0.0.12")
	require.Equal(t, []string{"rs2 x"}, l.ask(t, l.client, "10.0.0.1:53", "x"))
	require.Equal(t, []string{"lvs x"}, l.ask(t, l.client, "10.0.0.1:99", "x"))
	require.Equal(t, []string{"10.0.0.1: ICMP port unreachable"}, l.ask(t, l.client, "10.0.0.1:98", "x"))
}

func TestTunnelHeaders(t *testing.T) {
	for _, test := range []struct {
		b  []byte
		n  int
		ok bool
	}{
		{[]byte{0, 0, 8, 0}, 4, true}, {[]byte{0xb0, 0, 0x86, 0xdd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 16, true},
		{[]byte{0x80, 0, 8, 0}, 8, false}, {[]byte{0, 1, 8, 0}, 4, false}, {[]byte{0, 0, 8, 6}, 4, false}, {[]byte{0, 0}, 0, false},
	} {
		n, ok := greHeader(test.b)
		require.Equal(t, test.ok, ok, test.b)
		require.Equal(t, test.n, n)
	}
	for _, test := range []struct {
		b  []byte
		n  int
		ok bool
	}{
		{[]byte{0, 4, 0, 0}, 4, true}, {[]byte{1, 41, 0, 0, 1, 2, 3, 4}, 8, true}, {[]byte{0x45, 0, 0, 0}, 0, true},
		{[]byte{0x20, 4, 0, 0}, 4, false}, {[]byte{1, 4, 0, 0}, 8, false}, {[]byte{0, 6, 0, 0}, 4, false}, {[]byte{0}, 0, false},
	} {
		n, ok := gueHeader(test.b)
		require.Equal(t, test.ok, ok, test.b)
		require.Equal(t, test.n, n)
	}
}

func TestTimeThatStands(t *testing.T) {
	n := New(1)
	var timer *Timer
	timer = n.NewTimer(func() { timer.Set(n.Now()) })
	timer.Set(n.Now())
	require.PanicsWithValue(t, "netsim: 8388609 events at 0s: something answers itself without delay", func() { n.Run(1) })
}
