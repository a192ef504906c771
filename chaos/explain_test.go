package chaos

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/keepalived"
)

// checked is a service whose servers have a TCP_CHECK; more is for each server.
func checked(vip, kind, more string, rips ...string) string {
	s := "virtual_server " + vip + " 80 {\n delay_loop 2\n lb_algo rr\n lb_kind " + kind + "\n protocol TCP\n"
	for _, r := range rips {
		s += " real_server " + r + " 80 {\n " + more + "\nTCP_CHECK {\n connect_timeout 2\n retry 1\n delay_before_retry 1\n }\n }\n"
	}
	return s + "}\n"
}

// router is a vrrp_instance by the first letter of its interface's number.
func router(name, nic, id, vip, more string) string {
	return "vrrp_instance " + name + " {\n interface " + nic + "\n virtual_router_id " + id + "\n priority 150\n virtual_ipaddress {\n" + vip + "\n}\n" + more + "\n}\n"
}

// TestExplanations plays the faults that show what a configuration lacks. A
// pair is made of each.
func TestExplanations(t *testing.T) {
	dr := checked("10.0.0.100", "DR", "", "10.0.0.11", "10.0.0.12")
	outside := router("V", "eth0", "51", "10.0.0.100", "")
	for _, c := range []struct {
		name, conf, faults string
		rule               Rule // empty: all hold
		cause              string
	}{
		{"a failover", outside + dr, "at 10s for 30s crash a", "", ""},
		{"no sync group", outside + router("W", "eth1", "52", "10.1.0.254", "") + checked("10.0.0.100", "NAT", "", "10.1.0.11"),
			"at 10s for 30s down a:eth1", Reachable, "vrrp_sync_group"},
		{"a sync group", "vrrp_sync_group G {\n group {\n V\n W\n }\n}\n" + outside + router("W", "eth1", "52", "10.1.0.254", "") + checked("10.0.0.100", "NAT", "", "10.1.0.11"),
			"at 10s for 30s down a:eth1", "", ""},
		{"no virtual gateway", outside + checked("10.0.0.100", "NAT", "", "10.1.0.11"), "at 10s for 30s crash a", Reachable, "gateway"},
		{"an address that nobody carries", outside + dr + checked("10.0.0.200", "DR", "", "10.0.0.11"), "at 25s for 30s pause a", Reachable, "virtual_ipaddress"},
		{"quiescent and persistent", outside + strings.Replace(checked("10.0.0.100", "DR", "inhibit_on_failure", "10.0.0.11", "10.0.0.12"), "protocol", "persistence_timeout 50\nprotocol", 1),
			"at 10s for 30s server-dead rs1", DeadServer, "inhibit_on_failure"},
		{"persistent", outside + strings.Replace(dr, "protocol", "persistence_timeout 50\nprotocol", 1), "at 10s for 30s server-dead rs1", "", ""},
		{"AH", router("V", "eth0", "51", "10.0.0.100", "authentication {\nauth_type AH\nauth_pass x\n}") + dr, "at 12s for 12s cut-in a-peer:eth0", Bystander, "auth_type AH"},
		{"PASS", router("V", "eth0", "51", "10.0.0.100", "authentication {\nauth_type PASS\nauth_pass x\n}") + dr, "at 12s for 12s cut-in a-peer:eth0", "", ""},
		{"the way of the clients' packets", outside + strings.ReplaceAll(dr, "TCP_CHECK {", "TCP_CHECK {\n check_path vip"), "at 12s for 20s vip-missing rs1", "", ""},
		{"pages that nobody knows", outside + strings.ReplaceAll(dr, "TCP_CHECK {", "HTTP_GET {\n url {\n path /x\n status_code 301\n digest 00112233445566778899aabbccddeeff\n }"), "at 12s for 40s server-dead rs1", "", ""},
		{"scripts", outside + strings.ReplaceAll(dr, "TCP_CHECK {\n connect_timeout 2", "MISC_CHECK {\n misc_path /bin/true"), "at 12s for 40s server-dead rs1", "", ""},
		{"files", "vrrp_track_file f {\n file /run/f\n}\n" + outside + strings.ReplaceAll(dr, "TCP_CHECK {\n connect_timeout 2\n retry 1\n delay_before_retry 1\n", "FILE_CHECK {\n track_file f\n weight -3\n"), "at 12s for 40s server-stop rs1", "", ""},
		{"ping", outside + strings.ReplaceAll(dr, "TCP_CHECK", "PING_CHECK"), "at 12s for 40s server-stop rs1", DeadServer, "PING_CHECK"},
		{"the direct way", outside + dr, "at 12s for 20s vip-missing rs1", DeadServer, "VIP on lo"},
		{"connections are synchronised", "global_defs {\n lvs_sync_daemon eth0 V\n}\n" + router("V", "eth0", "51", "10.0.0.100", "preempt_delay 30") + dr, "at 15s for 30s crash a", "", ""},
		{"preemption after a restart", "global_defs {\n lvs_sync_daemon eth0 V\n}\n" + outside + dr, "at 15s for 100ms crash a", Kept, "preempt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, report := keepalived.Parse("a.conf", keepalived.Options{Files: everywhereThere{keepalived.Text{"a.conf": c.conf}}, Extensions: true})
			require.Empty(t, slices.DeleteFunc(report.Problems, func(p keepalived.Problem) bool { return !p.Class.Error() || p.Class == keepalived.Insecure }))
			in := Input{"a.conf", config}
			peer, err := Pair(in)
			require.NoError(t, err)
			s, err := ParseSchedule(c.faults)
			require.NoError(t, err)
			r := run(t, newLab(t, in, peer), Options{First: 1, Seeds: 1, Schedule: s})
			if c.rule == "" {
				require.True(t, r.Held(), text(t, r))
				return
			}
			f := finding(t, r, c.rule, c.cause)
			require.NotEmpty(t, f.Where, text(t, r))
		})
	}
}
