package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
	"usvs/vrrp"
	"usvs/wire"
)

// loud tells of everything, in every way there is.
const loud = `
global_defs {
	router_id lvs1
	notification_email { root@localhost }
	smtp_server 127.0.0.1
	smtp_alert
	vrrp_notify_fifo /run/vrrp
	lvs_notify_fifo /run/lvs
	notify_fifo /run/all
}
vrrp_sync_group G {
	group { V W }
	notify "/bin/any group"
}
vrrp_instance V {
	interface eth0
	virtual_router_id 1
	version 3
	advert_int 0.1
	virtual_ipaddress { 192.168.1.100 }
	notify_master "/bin/master now"
	notify_backup /bin/backup nobody
	notify_fault /bin/fault
	notify_stop /bin/stop
	notify /bin/any
}
vrrp_instance W {
	interface eth0
	virtual_router_id 2
	version 3
	advert_int 0.1
	virtual_ipaddress { 192.168.1.101 }
}
virtual_server 192.168.1.100 80 {
	delay_loop 1
	lb_algo rr
	lb_kind DR
	protocol TCP
	quorum_up /bin/quorum-up
	quorum_down /bin/quorum-down
	omega
	real_server 192.168.1.11 80 {
		notify_up /bin/up
		notify_down /bin/down
		TCP_CHECK {
			warmup 0
		}
	}
}
`

// TestEvents: what happens is told in keepalived's words and order.
func TestEvents(t *testing.T) {
	l := newLab(t)
	l.serve(true, "192.168.1.11:80")
	m := l.add("a", "192.168.1.1/24", loud)
	m.boot()
	l.run(2 * time.Second)
	tells := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, n := range m.takeNotified() {
			if strings.Contains(n, what) {
				got = append(got, n)
			}
		}
		require.Equal(t, want, got)
	}
	require.Contains(t, m.notified, "script /bin/any group GROUP G MASTER 0")
	require.Subset(t, m.notified, []string{
		"script /bin/backup", "script /bin/any INSTANCE V BACKUP 100", `/run/all: INSTANCE "V" BACKUP 100`, `/run/vrrp: INSTANCE "V" BACKUP 100`,
		"mail [lvs1] VRRP Instance V - Entering BACKUP state | => VRRP Instance is no longer owning VRRP VIPs <=",
		"script /bin/master now", "script /bin/any INSTANCE V MASTER 100", `/run/all: INSTANCE "V" MASTER 100`,
		"mail [lvs1] VRRP Instance V - Entering MASTER state | => VRRP Instance is now owning VRRP VIPs <=",
		"mail [lvs1] VRRP Group G - Entering MASTER state | => All VRRP group instances are now in MASTER state <=",
		`/run/all: GROUP "G" MASTER 0`, "script /bin/quorum-up",
	})
	m.takeNotified()

	l.serve(false, "192.168.1.11:80")
	l.run(4 * time.Second)
	tells("",
		"script /bin/down",
		"/run/all: RS [192.168.1.11]:tcp:80 [192.168.1.100]:tcp:80 DOWN", "/run/lvs: RS [192.168.1.11]:tcp:80 [192.168.1.100]:tcp:80 DOWN",
		"script /bin/quorum-down",
		"/run/all: VS [192.168.1.100]:tcp:80 DOWN", "/run/lvs: VS [192.168.1.100]:tcp:80 DOWN",
		"mail [lvs1] Virtualserver [192.168.1.100]:tcp:80 - DOWN | => Lost quorum 1+0=1 <= 0 <=",
		"mail [lvs1] Realserver [192.168.1.11]:tcp:80 of virtual server [192.168.1.100]:tcp:80 - DOWN | => TCP CHECK failed on service <=",
	)
	m.link(false)
	l.run(time.Second)
	tells("script", "script /bin/fault", "script /bin/any INSTANCE V FAULT 100", "script /bin/any group GROUP G FAULT 0")
	m.node.Stop(l.now)
	tells("script /bin/stop", "script /bin/stop")
}

// TestSyncDaemon: the daemon is what its instance is.
func TestSyncDaemon(t *testing.T) {
	const conf = `
global_defs {
	lvs_sync_daemon eth0 VI_1 maxlen 1000
	lvs_timeouts tcp 77 udp 5
}
`
	l := newLab(t)
	a, b := l.add("a", "192.168.1.1/24", conf+tutorial), l.add("b2", "192.168.1.2/24", conf+tutorialBackup)
	a.boot()
	daemons := func(m *machine) (list []ipvs.Daemon) {
		list, err := m.ctl.Daemons()
		require.NoError(t, err)
		return list
	}
	require.Len(t, daemons(a), 1)
	require.Equal(t, ipvs.DaemonBackup, daemons(a)[0].State)
	b.boot()
	l.run(5 * time.Second)
	require.Len(t, daemons(a), 1)
	require.Equal(t, ipvs.DaemonMaster, daemons(a)[0].State)
	require.Equal(t, 51, daemons(a)[0].SyncID, "the instance's virtual_router_id")
	require.Equal(t, 1000, daemons(a)[0].MaxLen)
	require.Equal(t, ipvs.DaemonBackup, daemons(b)[0].State)
	was, err := a.ctl.Timeouts()
	require.NoError(t, err)
	require.Equal(t, uint32(77), was.TCP)
	require.Equal(t, ipvs.DefaultTimeouts.TCPFin, was.TCPFin)

	a.reload(strings.Replace(conf, "maxlen 1000", "maxlen 1400", 1) + tutorial)
	require.Equal(t, ipvs.DaemonMaster, daemons(a)[0].State, "the role is kept")
	require.Equal(t, 1400, daemons(a)[0].MaxLen)
	a.reload(tutorial)
	require.Empty(t, daemons(a))
	now, err := a.ctl.Timeouts()
	require.NoError(t, err)
	require.Equal(t, ipvs.DefaultTimeouts, now)
	b.node.Stop(l.now)
	require.Empty(t, daemons(b))
}

// TestVirtualMAC: with use_vmac the director has the addresses, not the host.
func TestVirtualMAC(t *testing.T) {
	mac := wire.MAC{0, 0, 0x5e, 0, 1, 51}
	conf := strings.Replace(tutorial, "interface eth0", "interface eth0\nuse_vmac", 1)
	conf = strings.Replace(conf, "protocol TCP", "protocol TCP\nha_suspend", 1)
	l := newLab(t)
	m := l.add("a", "192.168.1.1/24", conf)
	m.boot()
	l.run(5 * time.Second)
	vip := netip.MustParseAddr("192.168.1.100")
	require.False(t, m.has("192.168.1.100"))
	snap := m.ctl.Snapshot()
	require.True(t, snap.Owned.Has(vip))
	require.True(t, snap.Stations.Has("eth0", mac))
	require.False(t, m.node.Status(l.now).Health.Services[0].Suspended)
	require.Contains(t, m.announced, "eth0 192.168.1.100 "+mac.String())
	m.link(false)
	l.run(time.Second)
	snap = m.ctl.Snapshot()
	require.False(t, snap.Owned.Has(vip))
	require.Empty(t, snap.Stations.Virtual())
	require.True(t, m.node.Status(l.now).Health.Services[0].Suspended)
}

// TestAddressLost: an address that somebody took away comes back by an election.
func TestAddressLost(t *testing.T) {
	l, a, _ := tutorialPair(t)
	a.boot()
	l.run(5 * time.Second)
	a.addrs = a.addrs[:1]
	a.told(0, func(now clock.Instant) { a.node.AddressLost(now, "eth0", netip.MustParseAddr("192.168.1.100")) })
	l.run(10 * time.Millisecond)
	require.Equal(t, vrrp.Backup, a.node.Status(l.now).VRRP.Instances[0].State)
	l.run(5 * time.Second)
	require.True(t, a.has("192.168.1.100"))
}
