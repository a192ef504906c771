package netsim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/arp"
	"usvs/netsim/http"
)

// duo is a pair of directors with a client and two real servers at one switch.
type duo struct {
	*Net
	sw      *Switch
	client  *Host
	a, b    *Director
	servers []*Host
}

// tutorial is the configuration that every LVS tutorial has.
func tutorial(state, priority string) Keepalived {
	return Keepalived{Text: strings.NewReplacer("STATE", state, "PRIORITY", priority).Replace(`
global_defs {
    router_id LVS_DEVEL
}
vrrp_instance VI_1 {
    state STATE
    interface eth0
    virtual_router_id 51
    priority PRIORITY
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        10.0.0.100/24
    }
}
virtual_server 10.0.0.100 80 {
    delay_loop 6
    lb_algo rr
    lb_kind DR
    protocol TCP
    real_server 10.0.0.11 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
            retry 1
            delay_before_retry 1
        }
    }
    real_server 10.0.0.12 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
            retry 1
            delay_before_retry 1
        }
    }
}
`)}
}

func newDuo(t testing.TB, seed uint64) *duo {
	n := New(seed)
	d := &duo{Net: n, sw: n.Switch("sw"), client: n.Host("client"), a: n.Director("a"), b: n.Director("b")}
	cable := LinkOptions{Delay: 50 * time.Microsecond}
	n.Link(d.client.NIC("eth0", "10.0.0.9/24"), d.sw.NextPort(), cable)
	n.Link(d.a.NIC("eth0", "10.0.0.1/24"), d.sw.NextPort(), cable)
	n.Link(d.b.NIC("eth0", "10.0.0.2/24"), d.sw.NextPort(), cable)
	for _, name := range []string{"rs1", "rs2"} {
		h := n.Host(name)
		n.Link(h.NIC("eth0", "10.0.0.1"+name[2:]+"/24"), d.sw.NextPort(), cable)
		_, err := h.Serve(80, http.Serve(page(h)))
		require.NoError(t, err)
		h.MustExec("usvs realserver up --vip 10.0.0.100")
		d.servers = append(d.servers, h)
	}
	return d
}

func (d *duo) start(t testing.TB) {
	t.Helper()
	require.NoError(t, d.a.StartKeepalived(tutorial("MASTER", "150")))
	require.NoError(t, d.b.StartKeepalived(tutorial("BACKUP", "100")))
	d.Run(5 * time.Second)
}

func (d *duo) get(t testing.TB) string {
	t.Helper()
	return get(t, d.client, "10.0.0.100:80", time.Second)
}

func TestThePairFailsOver(t *testing.T) {
	d := newDuo(t, 1)
	d.start(t)
	t.Log(d.LogText())
	require.True(t, d.a.Port("eth0").has(addrPort("10.0.0.100:80").Addr()))
	require.False(t, d.b.Port("eth0").has(addrPort("10.0.0.100:80").Addr()))
	require.ElementsMatch(t, []string{"rs1/x", "rs2/x"}, []string{d.get(t), d.get(t)})
}

// master is which of the two has the VIP; "both" or "nobody".
func (d *duo) master() string {
	vip := addrPort("10.0.0.100:80").Addr()
	a, b := d.a.Port("eth0").has(vip), d.b.Port("eth0").has(vip)
	switch {
	case a && b:
		return "both"
	case a:
		return "a"
	case b:
		return "b"
	}
	return "nobody"
}

func TestCrashesAndRestartsOfThePair(t *testing.T) {
	d := newDuo(t, 2)
	d.start(t)
	require.Equal(t, "a", d.master())
	d.a.Crash()
	require.Nil(t, d.a.Node())
	require.Equal(t, "nobody", d.master(), "the address is gone with the machine")
	require.True(t, d.RunWhile(4*time.Second, func() bool { return d.master() != "b" }))
	require.Contains(t, d.get(t), "/x")
	d.a.Restart()
	require.NotNil(t, d.a.Node())
	require.Equal(t, "b", d.master())
	d.Run(5 * time.Second)
	require.Equal(t, "a", d.master(), "it has the higher priority")
	require.Contains(t, d.get(t), "/x")
}

func TestAStalledMasterComesBackLate(t *testing.T) {
	d := newDuo(t, 3)
	d.start(t)
	d.a.Pause(10 * time.Second)
	d.Run(5 * time.Second)
	require.Equal(t, "both", d.master(), "the stalled one cannot know")
	d.Run(7 * time.Second)
	require.Equal(t, "a", d.master())
	require.Contains(t, d.LogText(), "b: (VI_1) Master received advert from 10.0.0.1 with higher priority 150, ours 100")
}

func TestTheEndInOrder(t *testing.T) {
	d := newDuo(t, 4)
	d.start(t)
	d.a.StopKeepalived()
	d.a.StopKeepalived()
	d.Run(time.Second)
	require.Equal(t, "b", d.master(), "priority 0 is not waited for")
	require.NotContains(t, d.a.MustExec("ipvsadm -Ln"), "10.0.0.100")
	require.ErrorContains(t, d.a.Reload(tutorial("MASTER", "150")), "does not run")
	require.NoError(t, d.a.StartKeepalived(tutorial("MASTER", "150")))
	require.ErrorContains(t, d.a.StartKeepalived(tutorial("MASTER", "150")), "runs already")
	d.Run(5 * time.Second)
	require.Equal(t, "a", d.master())
}

// A change of masters is no conflict about the address, though each hears the
// other announce it; two masters that do not know of each other are.
func TestConflictsOfAPair(t *testing.T) {
	const warning = "another host answers for VIP vip=10.0.0.100"
	d := newDuo(t, 5)
	d.start(t)
	for _, end := range []struct{ end, back func() }{
		{d.a.Crash, d.a.Restart},
		{d.a.StopKeepalived, func() { require.NoError(t, d.a.StartKeepalived(tutorial("MASTER", "150"))) }},
		{func() { d.a.Pause(8 * time.Second) }, func() {}},
	} {
		end.end()
		require.True(t, d.RunWhile(5*time.Second, func() bool { return !d.b.Port("eth0").has(addrPort("10.0.0.100:80").Addr()) }))
		end.back()
		require.True(t, d.RunWhile(20*time.Second, func() bool { return d.master() != "a" }))
		d.Run(5 * time.Second)
	}
	require.Positive(t, conflicts(d.a)+conflicts(d.b), "they heard each other")
	require.NotContains(t, d.LogText(), warning)

	stranger := tutorial("MASTER", "150")
	stranger.Text = strings.Replace(stranger.Text, "virtual_router_id 51", "virtual_router_id 52", 1)
	require.NoError(t, d.b.Reload(stranger))
	d.Run(10 * time.Second)
	require.Equal(t, "both", d.master())
	require.Contains(t, d.LogText(), "a: WARN "+warning)
}

func conflicts(d *Director) uint64 { return d.dir.Neighbours.Count(arp.Conflicts) }

func TestALinkGoesDown(t *testing.T) {
	d := newDuo(t, 5)
	d.start(t)
	d.a.Port("eth0").Link().SetUp(false)
	require.True(t, d.RunWhile(5*time.Second, func() bool { return d.master() != "b" }))
	require.Contains(t, d.LogText(), "a: (VI_1) Entering FAULT STATE")
	d.a.Port("eth0").Link().SetUp(true)
	d.Run(5 * time.Second)
	require.Equal(t, "a", d.master())
}

func TestAnAddressThatSomebodyTakesAway(t *testing.T) {
	d := newDuo(t, 6)
	d.start(t)
	d.a.MustExec("ip addr del 10.0.0.100/24 dev eth0")
	require.True(t, d.RunWhile(10*time.Second, func() bool { return d.master() != "a" }))
}

func TestServersComeAndGo(t *testing.T) {
	d := newDuo(t, 7)
	d.start(t)
	d.Run(10 * time.Second) // each was checked once
	d.servers[0].Service(80).SetUp(false)
	d.Run(9 * time.Second) // the next check within 6 s, and again after 1 s
	for range 4 {
		require.Equal(t, "rs2/x", d.get(t))
	}
	require.Contains(t, d.LogText(), "a: TCP_CHECK on service [10.0.0.11]:tcp:80 failed after 1 retries.")
	d.servers[0].Service(80).SetUp(true)
	d.Run(7 * time.Second)
	require.ElementsMatch(t, []string{"rs1/x", "rs2/x"}, []string{d.get(t), d.get(t)})
}

// TestASkewedClock: a backup whose clock is four times too fast does not wait for
// the master.
func TestASkewedClock(t *testing.T) {
	d := newDuo(t, 8)
	d.start(t)
	d.b.SetSkew(4)
	d.Run(time.Minute)
	require.Contains(t, d.LogText(), "b: has a clock that runs at 4 of its speed")
	require.Contains(t, d.LogText(), "b: (VI_1) Entering MASTER STATE")
	d.b.SetSkew(1)
	before := len(d.Log())
	d.Run(5 * time.Second)
	before = max(before, len(d.Log()))
	d.Run(time.Minute)
	for _, e := range d.Log()[before:] {
		require.NotContains(t, e.Text, "STATE")
	}
	require.Equal(t, "a", d.master())
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	d := newDuo(t, 9)
	require.ErrorContains(t, d.a.StartKeepalived(Keepalived{Text: "vrrp_instance VI_1 {\n  priority nine\n}\n"}), "keepalived.conf:")
	require.Nil(t, d.a.Node())
	d.start(t)
	require.Error(t, d.a.Reload(Keepalived{Text: "vrrp_instance {\n"}))
	with := Keepalived{Text: "include more.conf\n", Files: map[string]string{"more.conf": tutorial("MASTER", "150").Text}}
	require.NoError(t, d.a.Reload(with))
	d.Run(time.Second)
	require.Equal(t, "a", d.master())
}

// TestVirtualMACs: with use_vmac the director itself answers for the address, at a
// MAC that moves with it.
func TestVirtualMACs(t *testing.T) {
	d := newDuo(t, 10)
	vmac := func(k Keepalived) Keepalived {
		k.Text = strings.Replace(k.Text, "interface eth0\n", "interface eth0\nuse_vmac\n", 1)
		return k
	}
	require.NoError(t, d.a.StartKeepalived(vmac(tutorial("MASTER", "150"))))
	require.NoError(t, d.b.StartKeepalived(vmac(tutorial("BACKUP", "100"))))
	d.Run(5 * time.Second)
	require.Equal(t, "nobody", d.master(), "no interface has it")
	require.Contains(t, d.get(t), "/x")
	at := func() string {
		for _, n := range d.client.Neighbours() {
			if n.Addr == addrPort("10.0.0.100:80").Addr() {
				return n.MAC.String()
			}
		}
		return ""
	}
	require.Equal(t, "00:00:5e:00:01:33", at())
	d.a.Crash()
	d.Run(4 * time.Second)
	require.Contains(t, d.get(t), "/x")
	require.Equal(t, "00:00:5e:00:01:33", at())
}

func TestIPv6Instances(t *testing.T) {
	n := New(11)
	a, b, c := n.Director("a"), n.Director("b"), n.Host("c")
	sw := n.Switch("sw")
	for i, h := range []*Host{a.Host, b.Host, c} {
		n.Link(h.NIC("eth0", fmt.Sprintf("2001:db8::%d/64", i+1)), sw.NextPort(), LinkOptions{Delay: time.Millisecond})
	}
	text := "vrrp_instance V {\ninterface eth0\nvirtual_router_id 7\npriority PRIO\nversion 3\nadvert_int 0.1\nvirtual_ipaddress {\nfe80::100/64\n2001:db8::100/64\n}\n}\n"
	require.NoError(t, a.StartKeepalived(Keepalived{Text: strings.Replace(text, "PRIO", "150", 1)}))
	require.NoError(t, b.StartKeepalived(Keepalived{Text: strings.Replace(text, "PRIO", "100", 1)}))
	n.Run(time.Second)
	answered := func() string {
		n.Run(time.Second) // announcements have come
		from := ""
		require.NoError(t, c.Ping(addrPort("[2001:db8::100]:0").Addr(), PingOptions{}, func(r PingReply) { from = r.From.String() }))
		n.Run(2 * time.Second)
		return from
	}
	vip := addrPort("[2001:db8::100]:0").Addr()
	require.True(t, a.Port("eth0").has(vip) && !b.Port("eth0").has(vip), n.LogText())
	require.Equal(t, "2001:db8::100", answered())
	a.Crash()
	n.Run(time.Second)
	require.True(t, b.Port("eth0").has(vip))
	require.Equal(t, "2001:db8::100", answered())
}

// TestNoAccept: the services work, the director's host does not answer by the VIP.
func TestNoAccept(t *testing.T) {
	d := newDuo(t, 13)
	more := "no_accept\nvirtual_routes {\n10.5.0.0/16 via 10.0.0.9 no_track\n}\nvirtual_ipaddress"
	for dir, k := range map[*Director]Keepalived{d.a: tutorial("MASTER", "150"), d.b: tutorial("BACKUP", "100")} {
		k.Text = strings.Replace(k.Text, "virtual_ipaddress", more, 1)
		require.NoError(t, dir.StartKeepalived(k))
	}
	d.Run(5 * time.Second)
	require.Equal(t, "rs", d.get(t)[:2])
	require.Contains(t, d.LogText(), "adds route 10.5.0.0/16 via 10.0.0.9")
	for _, addr := range []string{"10.0.0.100", "10.0.0.1"} {
		answered := false
		require.NoError(t, d.client.Ping(addrPort(addr+":0").Addr(), PingOptions{}, func(PingReply) { answered = true }))
		d.Run(2 * time.Second)
		require.Equal(t, addr != "10.0.0.100", answered, addr)
	}
	d.a.StopKeepalived()
	require.Contains(t, d.LogText(), "removes route 10.5.0.0/16 via 10.0.0.9")
}

// TestWhatIsTold: scripts, FIFOs and mail are lines of the log; what is tracked
// is what the test says.
func TestWhatIsTold(t *testing.T) {
	n := New(12)
	d := n.Director("d")
	n.Link(d.NIC("eth0", "10.0.0.1/24"), n.Switch("sw").NextPort())
	require.NoError(t, d.StartKeepalived(Keepalived{Text: `
global_defs {
    notification_email {
        ops@example.org
    }
    notification_email_from lvs@example.org
    smtp_server 10.0.0.9
    notify_fifo /run/fifo
}
track_file f {
    file /run/number
    weight 1
    init_file 3
}
vrrp_track_process p {
    process haproxy
}
vrrp_instance V {
    interface eth0
    virtual_router_id 7
    priority 100
    smtp_alert
    notify /bin/tell
    track_file {
        f
    }
    track_process {
        p
    }
    virtual_ipaddress {
        10.0.0.100/24
    }
}
`}))
	n.Run(5 * time.Second)
	for _, line := range []string{
		"d: runs /bin/tell INSTANCE V MASTER 10", "d: writes to /run/fifo: INSTANCE \"V\" MASTER 10", "d: mails \"[d] VRRP Instance V - Entering MASTER state\"",
	} {
		require.Contains(t, n.LogText(), line)
	}
	priority := func() int { n.Run(time.Second); return d.Node().Status(n.Now()).VRRP.Instances[0].Priority }
	require.Equal(t, 103, priority(), "of init_file")
	d.SetFile("f", 20)
	require.Equal(t, 120, priority())
	d.SetProcess("p", 0)
	n.Run(time.Second)
	require.Contains(t, n.LogText(), "Entering FAULT STATE")
	d.Restart()
	n.Run(5 * time.Second)
	require.Equal(t, "FAULT", d.Node().Status(n.Now()).VRRP.Instances[0].State.String(), "what is tracked outlives a crash")
	d.SetProcess("p", 1)
	n.Run(5 * time.Second)
	require.Equal(t, "MASTER", d.Node().Status(n.Now()).VRRP.Instances[0].State.String())
	require.Equal(t, 120, priority())
}

// TestNodesRepeat: the same seed gives the same log and frames, faults and all.
func TestNodesRepeat(t *testing.T) {
	play := func(seed uint64) string {
		d := newDuo(t, seed)
		rec := d.Record()
		d.start(t)
		d.servers[0].Service(80).SetUp(false)
		d.After(time.Second, func() { d.a.Pause(7 * time.Second) })
		d.After(20*time.Second, func() { d.b.Crash() })
		d.After(30*time.Second, func() { d.b.Restart(); d.servers[0].Service(80).SetUp(true) })
		d.Run(time.Minute)
		return d.LogText() + textOf(rec.Records)
	}
	first, again := play(1), play(1)
	require.True(t, first == again)
	require.True(t, first != play(2), "the first checks come at random")
}
