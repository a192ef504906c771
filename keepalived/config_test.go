package keepalived

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// master is the first of the pair that tutorials build.
const master = `! Configuration File for keepalived
global_defs {
   notification_email {
     admin@example.com b@example.com
     c@example.com
   }
   notification_email_from lvs@example.com
   smtp_server 192.168.200.1
   router_id LVS_1
}
vrrp_instance VI_1 {
    state MASTER   # 主機
    interface eth0
    virtual_router_id 51
    priority 100
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.168.201.15
        192.168.201.16/24 dev eth1 label eth1:0
    }
}
virtual_server 192.168.201.15 80 {
    delay_loop 6
    lb_algo wlc
    lb_kind DR
    persistence_timeout 50
    protocol TCP
    real_server 192.168.201.11 80 {
        weight 3
        TCP_CHECK{
            connect_timeout 10　　　
            nb_get_retry 3
            delay_before_retry 3
            connect_port 8080
        }
    }
    real_server 192.168.201.12 {
        HTTP_GET {
            url {
                path /
            }
        }
    }
}
`

func at(line int) Pos { return Pos{testFile, line} }

func TestConfigGlobal(t *testing.T) {
	c, _ := parseText(master)
	g := c.Global
	require.Equal(t, []Value[string]{{"admin@example.com", at(4)}, {"b@example.com", at(4)}, {"c@example.com", at(5)}}, g.NotificationEmail)
	require.Equal(t, Value[SMTPServer]{SMTPServer{"192.168.200.1", 25}, at(8)}, g.SMTPServer)
	require.Equal(t, Value[string]{"LVS_1", at(9)}, g.RouterID)
	require.Equal(t, Value[time.Duration]{V: 30 * time.Second}, g.SMTPConnectTimeout, "a default has no place")
	require.False(t, g.SMTPConnectTimeout.Set())
	require.Equal(t, []string{testFile}, c.Files)
}

func TestConfigInstance(t *testing.T) {
	c, _ := parseText(master)
	require.Len(t, c.Instances, 1)
	i := c.Instances[0]
	require.Equal(t, "VI_1", i.Name)
	require.Equal(t, at(11), i.At)
	require.Equal(t, Value[int]{51, at(14)}, i.VirtualRouterID)
	require.Equal(t, Value[string]{"1111", at(19)}, i.AuthPass)
	require.Equal(t, time.Second, i.AdvertInterval.V)
	require.Equal(t, 2, i.Version.V)
	require.Equal(t, 5*time.Second, i.GARP.Delay.V)
	require.True(t, i.Accept.V)
	require.Equal(t, []Address{
		{Prefix: netip.MustParsePrefix("192.168.201.15/32"), At: at(22)},
		{Prefix: netip.MustParsePrefix("192.168.201.16/24"), Interface: "eth1", Label: "eth1:0", At: at(23), explicit: true},
	}, i.VirtualAddresses)
}

func TestConfigVirtualServer(t *testing.T) {
	c, report := parseText(master)
	require.Len(t, c.VirtualServers, 1)
	vs := c.VirtualServers[0]
	require.Equal(t, "192.168.201.15:80", vs.String())
	require.Equal(t, Value[string]{"wlc", at(28)}, vs.Scheduler)
	require.Equal(t, Forwarding{Method: "DR"}, vs.Forwarding.V)
	require.Equal(t, 50*time.Second, vs.Persistence.V)
	require.Equal(t, "TCP", vs.Protocol.V)
	require.Len(t, vs.RealServers, 2)

	first := vs.RealServers[0]
	require.Equal(t, 3, first.Weight.V)
	require.True(t, first.SMTPAlert.V, "real servers mail unless told not to")
	check := first.Checkers[0]
	require.Equal(t, "TCP_CHECK", check.Type)
	require.Equal(t, Value[time.Duration]{10 * time.Second, at(35)}, check.ConnectTimeout, "full-width blanks are blanks")
	require.Equal(t, Value[int]{3, at(36)}, check.Retry, "nb_get_retry is retry")
	require.Equal(t, 3*time.Second, check.DelayBeforeRetry.V)
	require.Equal(t, uint16(8080), check.ConnectPort.V)
	require.Equal(t, first.RIP, check.ConnectIP.V)
	require.Equal(t, Value[time.Duration]{6 * time.Second, at(27)}, check.DelayLoop, "inherited with its place")
	require.Equal(t, 5, report.Status())
	errors, _ := report.Count()
	require.Equal(t, 2, errors, explainReport(report))

	second := vs.RealServers[1]
	require.Equal(t, uint16(80), second.Port, "the virtual server's")
	require.Equal(t, 1, second.Weight.V)
	get := second.Checkers[0]
	require.Equal(t, 1, get.Retry.V)
	require.Equal(t, 3*time.Second, get.DelayBeforeRetry.V)
	require.Equal(t, 5*time.Second, get.ConnectTimeout.V)
	require.Equal(t, "1.0", get.HTTP.Protocol.V)
	require.Equal(t, []StatusRange{{200, 299}}, get.HTTP.URLs[0].StatusCodes.V)
}

func TestConfigPriority(t *testing.T) {
	tests := []struct {
		lines    string
		priority int
		state    string
	}{
		{"", 100, "BACKUP"},
		{"state MASTER\n", 255, "MASTER"},
		{"state MASTER\npriority 100\n", 100, "MASTER"},
		{"priority 255\n", 255, "MASTER"},
		{"state BACKUP\n", 100, "BACKUP"},
	}
	for _, tt := range tests {
		c, _ := parseText("vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n1.2.3.4\n}\n" + tt.lines + "}\n")
		require.Equal(t, tt.priority, c.Instances[0].Priority.V, tt.lines)
		require.Equal(t, tt.state, c.Instances[0].State.V, tt.lines)
	}
}

// TestConfigMissingBrace: what follows a missing brace is not lost.
func TestConfigMissingBrace(t *testing.T) {
	c, report := parseText(`virtual_server 1.2.3.4 80 {
protocol TCP
lb_algo rr
lb_kind DR
real_server 10.0.0.1 80 {
TCP_CHECK {
connect_timeout 3
real_server 10.0.0.2 80 {
weight 7
}
virtual_server 1.2.3.5 80 {
protocol TCP
lb_algo rr
lb_kind DR
real_server 10.0.0.3 80 {
}
}
`)
	require.Equal(t, 5, report.Status())
	require.True(t, report.Recovered)
	require.Len(t, c.VirtualServers, 2)
	require.Len(t, c.VirtualServers[0].RealServers, 2)
	require.Equal(t, 7, c.VirtualServers[0].RealServers[1].Weight.V)
	require.Len(t, c.VirtualServers[0].RealServers[0].Checkers, 1)
	early, _ := reportLines(report)
	require.Equal(t, []int{8, 8, 11}, early, explainReport(report))
}

// What keepalived 2.2.7 makes rules of the firewall for.
func TestAccept(t *testing.T) {
	for lines, want := range map[string]bool{
		"": true, "no_accept": false, "no_accept\npriority 255": true, "strict_mode on": false, "strict_mode on\npriority 255": true,
		"strict_mode on\nversion 3\naccept": true, "strict_mode on\nversion 2\naccept": false, "version 3\nno_accept": false,
	} {
		c, _ := parseText("vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n1.2.3.4\n}\n" + lines + "\n}\n")
		require.Equal(t, want, c.Instances[0].Accept.V, lines)
	}
}

func TestRoutes(t *testing.T) {
	c, report := parseText("static_routes {\n10.1.0.0/16 dev eth0 track_group g\n10.2.0.0/16 dev eth0 realms 1/2\n}\n" +
		"vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n1.2.3.4\n}\nvirtual_routes {\nblackhole 10.3.0.0/16 no_track\n10.4.0.0/16 via x\n10.5.0.0/16 via\n}\n}\n")
	require.Equal(t, 2, report.Status())
	require.Len(t, c.StaticRoutes, 1)
	require.Equal(t, "g", c.StaticRoutes[0].TrackGroup)
	require.Len(t, c.Instances[0].VirtualRoutes, 1)
	require.Equal(t, "blackhole 10.3.0.0/16", c.Instances[0].VirtualRoutes[0].String())
	require.Contains(t, explainReport(report), "realms: usvs cannot make")
}

func TestConfigGroup(t *testing.T) {
	c, _ := parseText("virtual_server_group g {\n1.2.3.4-9 80\n10.0.0.0/24\n2001:db8::1-ff 443\nfwmark 7 inet6\n}\n")
	a := netip.MustParseAddr
	require.Equal(t, []GroupEntry{
		{First: a("1.2.3.4"), Last: a("1.2.3.9"), Port: 80, At: at(2)},
		{First: a("10.0.0.0"), Last: a("10.0.0.255"), At: at(3)},
		{First: a("2001:db8::1"), Last: a("2001:db8::ff"), Port: 443, At: at(4)},
		{Mark: 7, Family: "inet6", At: at(5)},
	}, c.ServerGroups[0].Entries)
}

func TestConfigScripts(t *testing.T) {
	c, report := parseText("global_defs {\nenable_script_security\nscript_user root\n}\n" +
		"vrrp_script chk {\nscript \"/usr/bin/check 'a b' \\x41\" nobody nogroup\nweight -20 reverse\nfall 3\n}\n" +
		"vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n1.2.3.4\n}\ntrack_script {\nchk weight 5\n}\n}\n")
	s := c.VRRPScripts[0]
	require.Equal(t, Script{[]string{"/usr/bin/check", "a b", "A"}, "nobody", "nogroup"}, s.Script.V)
	require.Equal(t, Weight{-20, true}, s.Weight.V)
	require.Equal(t, time.Second, s.Interval.V)
	require.Equal(t, 3, s.Fall.V)
	require.Equal(t, 1, s.Rise.V)
	require.Equal(t, []Track{{Name: "chk", Weight: 5, Weighted: true, At: at(17)}}, c.Instances[0].Tracks.Scripts)
	require.Zero(t, report.Status(), explainReport(report))
}

func TestSyncGroup(t *testing.T) {
	instance := func(name, id string) string {
		return "vrrp_instance " + name + " {\ninterface eth0\nvirtual_router_id " + id + "\nvirtual_ipaddress {\n1.2.3." + id + "\n}\n}\n"
	}
	c, report := parseText("vrrp_sync_group G {\ngroup {\nA\nB\n}\n}\n" + instance("A", "1") + instance("B", "2"))
	require.Zero(t, report.Status(), explainReport(report))
	require.Equal(t, []*Instance{c.Instances[0], c.Instances[1]}, c.SyncGroups[0].Instances)
	require.Equal(t, c.SyncGroups[0], c.Instances[1].SyncGroup)
}

// The old way to name the synchronisation daemon's interface holds unless
// global_defs name one, wherever they stand.
func TestSyncDaemonOfInstance(t *testing.T) {
	const instance = "vrrp_instance V { interface eth0\n virtual_router_id 1\n lvs_sync_daemon_interface eth1\n }\n"
	const global = "global_defs { lvs_sync_daemon eth2 id 3\n }\n"
	old := SyncDaemon{Interface: "eth1", Instance: "V"}
	for text, want := range map[string]SyncDaemon{
		instance:          old,
		global + instance: {Interface: "eth2", ID: 3},
		instance + global: {Interface: "eth2", ID: 3},
		instance + "vrrp_instance W { interface eth0\n virtual_router_id 2\n lvs_sync_daemon_interface eth4\n }\n": old,
	} {
		conf, report := parseText(text)
		require.Equal(t, want, conf.Global.LVSSyncDaemon.V, text)
		require.NotEmpty(t, report.Problems, text)
	}
}
