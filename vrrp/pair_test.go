package vrrp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

func TestTakesOverAfterTheMasterDownTimer(t *testing.T) {
	l := newLAN(t)
	a := l.add(one(basic(100)))
	l.run(3609 * time.Millisecond)
	require.Equal(t, Backup, a.state())
	l.run(time.Millisecond)
	require.Equal(t, Master, a.state(), "3.609375 s with priority 100")
}

// keepalived 2.2.7 without -D says no more.
func TestLogWithoutDetail(t *testing.T) {
	l := newLAN(t)
	a := l.add(one(basic(100)))
	l.run(4 * time.Second)
	require.Equal(t, []string{"(VI_1) Entering BACKUP STATE (init)", "(VI_1) Entering MASTER STATE"}, a.plain)
}

func TestOrderOfTakingOver(t *testing.T) {
	l := newLAN(t)
	a := l.add(one(basic(100)))
	require.Equal(t, []string{
		"log (VI_1) removing VIPs.", "remove 10.9.0.100", "remove 10.9.0.101",
		"log (VI_1) Entering BACKUP STATE (init)", `notify INSTANCE "VI_1" BACKUP 100`,
	}, a.took())
	l.run(4 * time.Second)
	require.Equal(t, []string{
		"log (VI_1) Receive advertisement timeout",
		"send 100 to 224.0.0.18",
		"log (VI_1) Entering MASTER STATE",
		"log (VI_1) setting VIPs.", "add 10.9.0.100", "add 10.9.0.101",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		"announce 10.9.0.100 on eth0", "announce 10.9.0.101 on eth0",
		`notify INSTANCE "VI_1" MASTER 100`,
	}, a.took("log (VI_1) Sending", "log Sending"))
	a.Stop(l.now)
	require.Equal(t, []string{
		"send 0 to 224.0.0.18", "log (VI_1) sent 0 priority",
		"log (VI_1) removing VIPs.", "remove 10.9.0.100", "remove 10.9.0.101",
		`notify INSTANCE "VI_1" STOP 100`,
	}, a.took())
}

func TestPairFailsOverAndBack(t *testing.T) {
	l := newLAN(t)
	a, b := l.add(one(basic(150))), l.add(one(basic(100)))
	l.run(10 * time.Second)
	require.Equal(t, []State{Master, Backup}, []State{a.state(), b.state()})
	a.Stop(l.now)
	l.run(620 * time.Millisecond)
	require.Equal(t, Master, b.state(), "after skew: priority 0 was heard")
	a.dead = true
	c := l.add(one(basic(200)))
	l.run(4 * time.Second)
	require.Equal(t, []State{Master, Backup}, []State{c.state(), b.state()})
	c.dead = true
	l.run(4 * time.Second)
	require.Equal(t, Master, b.state())
}

func peersOf(i *Instance, n int, prefix string) {
	i.Source = netip.MustParseAddr(prefix + string(rune('0'+n)))
	i.Peers = []Peer{{Addr: netip.MustParseAddr(prefix + string(rune('0'+3-n)))}}
}

// pairs are the kinds there are; mac is what a's adverts come from.
var pairs = []struct {
	name string
	set  func(i *Instance, n int)
	mac  wire.MAC
}{
	{name: "plain", set: func(*Instance, int) {}},
	{name: "PASS", set: func(i *Instance, _ int) { i.Auth, i.Password = Pass, "a password too long" }},
	{name: "AH", set: func(i *Instance, _ int) { i.Auth, i.Password = AH, "secret" }},
	{name: "version 3", set: func(i *Instance, _ int) { i.Version = 3 }},
	{name: "IPv6", set: func(i *Instance, _ int) { i.IPv6, i.Addresses = true, prefixes("fe80::1", "2001:db8::1") }},
	{name: "version 2 over IPv6", set: func(i *Instance, _ int) { i.IPv6, i.Version, i.Addresses = true, 2, prefixes("fe80::1") }},
	{name: "unicast", set: func(i *Instance, n int) { peersOf(i, n, "10.9.0.") }},
	{name: "unicast AH", set: func(i *Instance, n int) { peersOf(i, n, "10.9.0."); i.Auth, i.Password = AH, "secret" }},
	{name: "unicast IPv6", set: func(i *Instance, n int) {
		peersOf(i, n, "fe80::10")
		i.IPv6, i.Addresses, i.CheckUnicastSrc = true, prefixes("fe80::1"), true
	}},
	{name: "virtual MAC", set: func(i *Instance, _ int) { i.VMAC = &VMAC{} }, mac: wire.MAC{0, 0, 0x5e, 0, 1, 51}},
	{name: "a MAC of its own", set: func(i *Instance, _ int) { i.VMAC = &VMAC{MAC: wire.MAC{2, 9}} }, mac: wire.MAC{2, 9}},
	{name: "no address", set: func(i *Instance, _ int) { i.Addresses = nil }},
	{name: "another group", set: func(i *Instance, _ int) { i.Multicast = netip.MustParseAddr("224.0.0.99") }},
}

// pairLAN has a master and a backup, of an instance changed by set.
func pairLAN(t *testing.T, set func(i *Instance, n int)) (l *lan, master, backup *node) {
	l = newLAN(t)
	for n, prio := range []int{150, 100} {
		i := basic(prio)
		set(&i, n+1)
		l.add(one(i))
	}
	return l, l.nodes[0], l.nodes[1]
}

func TestPairsOfEveryKind(t *testing.T) {
	for _, c := range pairs {
		t.Run(c.name, func(t *testing.T) {
			l, a, b := pairLAN(t, c.set)
			l.run(5 * time.Second)
			require.Equal(t, []State{Master, Backup}, []State{a.state(), b.state()})
			require.Equal(t, c.mac, a.sent[0].mac)
			a.Stop(l.now)
			a.dead = true
			l.run(time.Second)
			require.Equal(t, Master, b.state())
			l.restart(0)
			l.watch(5 * time.Second)
			require.Equal(t, []State{Master, Backup}, []State{a.state(), b.state()})
			require.Zero(t, b.Status().Instances[0].Stats.Checksum)
		})
	}
}
