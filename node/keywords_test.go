package node

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/keepalived"
)

// everyBlock has every kind of block, each with a place for a keyword.
const everyBlock = `
global_defs {
	notification_email { root@localhost }
	smtp_server 127.0.0.1
	@global_defs@
}
static_ipaddress { 10.0.9.9/24 @keepalived.conf@ }
vrrp_script chk {
	script /bin/true
	@vrrp_script@
}
vrrp_track_process proc {
	process nginx
	@vrrp_track_process@
}
track_file file {
	file /tmp/file
	@track_file@
}
garp_group {
	garp_interval 1
	interface eth8
	@garp_group@
}
vrrp_instance V {
	interface eth0
	virtual_router_id 1
	authentication {
		auth_type PASS
		auth_pass 1111
		@authentication@
	}
	virtual_ipaddress { 10.0.0.100 }
	@vrrp_instance@
}
vrrp_instance W {
	interface eth1
	virtual_router_id 2
	virtual_ipaddress { 10.0.0.101 }
}
vrrp_sync_group G {
	group { V }
	@vrrp_sync_group@
}
SSL {
	@SSL@
}
virtual_server_group marks {
	10.0.5.1 80
}
virtual_server 10.0.0.100 80 {
	protocol TCP
	lvs_sched rr
	lvs_method NAT
	@virtual_server@
	real_server 10.0.0.11 80 {
		@real_server@
		TCP_CHECK {
			@TCP_CHECK@
		}
		HTTP_GET {
			@HTTP_GET@
			url {
				path /
				@url@
			}
		}
		SSL_GET {
			@SSL_GET@
			url { path / }
		}
		SMTP_CHECK {
			@SMTP_CHECK@
			host { @host@
			}
		}
		DNS_CHECK {
			@DNS_CHECK@
		}
		MISC_CHECK {
			misc_path /bin/true
			@MISC_CHECK@
		}
		UDP_CHECK {
			@UDP_CHECK@
		}
		PING_CHECK {
			@PING_CHECK@
		}
		FILE_CHECK {
			track_file file
			@FILE_CHECK@
		}
	}
	real_server 10.0.0.12 80 {
	}
}
`

// used is how each keyword is used so that it must matter, by its name or by its
// block and its name. What stands before a bar is there without it, too.
var used = map[string]string{
	// any block
	"notify_master": "notify_master /bin/m", "notify_backup": "notify_backup /bin/b", "notify_fault": "notify_fault /bin/f",
	"notify_stop": "notify_stop /bin/s", "notify": "notify /bin/n", "notify_deleted": "notify_deleted /bin/d",
	"notify_master_rx_lower_pri": "notify_master_rx_lower_pri /bin/l", "notify_up": "notify_up /bin/u", "notify_down": "notify_down /bin/d",
	"track_interface": "track_interface { eth5 }", "track_script": "track_script { chk }", "track_file": "track_file { file weight 2 }",
	"track_process": "track_process { proc }", "smtp_alert": "smtp_alert on", "real_server/smtp_alert": "smtp_alert off",
	"notify_priority_changes": "notify_priority_changes on",
	"delay_loop":              "delay_loop 7", "retry": "retry 7", "delay_before_retry": "delay_before_retry 7", "warmup": "warmup 7", "connect_timeout": "connect_timeout 7",
	"check_path": "check_path vip", "alpha": "alpha", "log_all_failures": "log_all_failures on", "nb_get_retry": "nb_get_retry 7",
	"connect_ip": "connect_ip 10.0.0.77", "connect_port": "connect_port 77", "bindto": "bindto 10.0.0.78", "bind_port": "bind_port 78",
	"bind_if": "bind_if eth3", "fwmark": "fwmark 9", "virtualhost": "virtualhost www", "inhibit_on_failure": "inhibit_on_failure",
	"weight": "weight 5",
	// global_defs
	"notification_email": "notification_email { me@localhost }", "notification_email_from": "notification_email_from me@localhost",
	"smtp_server": "smtp_server 127.0.0.9 26", "global_defs/smtp_connect_timeout": "smtp_connect_timeout 9", "smtp_helo_name": "smtp_helo_name me",
	"smtp_alert_vrrp": "smtp_alert_vrrp on", "smtp_alert_checker": "smtp_alert_checker on", "no_email_faults": "no_email_faults",
	"no_checker_emails": "no_checker_emails", "router_id": "router_id me", "script_user": "script_user nobody nogroup",
	"enable_script_security": "enable_script_security", "notify_fifo": "notify_fifo /run/f", "vrrp_notify_fifo": "vrrp_notify_fifo /run/f",
	"lvs_notify_fifo": "lvs_notify_fifo /run/f", "notify_fifo_script": "notify_fifo /run/f|notify_fifo_script /bin/f",
	"vrrp_notify_fifo_script": "vrrp_notify_fifo /run/f|vrrp_notify_fifo_script /bin/f",
	"lvs_notify_fifo_script":  "lvs_notify_fifo /run/f|lvs_notify_fifo_script /bin/f",
	"default_interface":       "default_interface eth7", "vrrp_skip_check_adv_addr": "vrrp_skip_check_adv_addr",
	"vrrp_strict": "vrrp_strict", "vrrp_garp_interval": "vrrp_garp_interval 3", "vrrp_gna_interval": "vrrp_gna_interval 3",
	"vrrp_mcast_group4": "vrrp_mcast_group4 224.0.0.19", "vrrp_mcast_group6": "=native_ipv6|vrrp_mcast_group6 ff02::13",
	"vrrp_min_garp": "vrrp_min_garp on", "vrrp_lower_prio_no_advert": "vrrp_lower_prio_no_advert on",
	"vrrp_higher_prio_send_advert": "vrrp_higher_prio_send_advert on", "vrrp_down_timer_adverts": "vrrp_down_timer_adverts 5",
	"vrrp_version": "vrrp_version 3", "vrrp_check_unicast_src": "vrrp_check_unicast_src", "vrrp_notify_priority_changes": "vrrp_notify_priority_changes on",
	"vrrp_startup_delay": "vrrp_startup_delay 3", "lvs_sync_daemon": "lvs_sync_daemon eth0 V", "lvs_sync_daemon_interface": "lvs_sync_daemon_interface eth0", "lvs_timeouts": "lvs_timeouts tcp 7", "log_unknown_vrids": "log_unknown_vrids",
	"lvs_flush": "lvs_flush", "lvs_flush_on_stop": "lvs_flush_on_stop VS", "lvs_flush_onstop": "lvs_flush_onstop",
	"checker_log_all_failures": "checker_log_all_failures on", "rs_init_notifies": "rs_init_notifies on",
	"vrrp_garp_master_delay": "vrrp_garp_master_delay 9", "vrrp_garp_master_repeat": "vrrp_garp_master_repeat 9",
	"vrrp_garp_master_refresh": "vrrp_garp_master_refresh 9", "vrrp_garp_master_refresh_repeat": "vrrp_garp_master_refresh_repeat 9",
	"vrrp_garp_lower_prio_delay": "vrrp_garp_lower_prio_delay 9", "vrrp_garp_lower_prio_repeat": "vrrp_garp_lower_prio_repeat 9",
	// vrrp_instance
	"state": "state MASTER", "vrrp_instance/interface": "interface eth4", "virtual_router_id": "virtual_router_id 9", "priority": "priority 9",
	"advert_int": "advert_int 9", "version": "version 3", "native_ipv6": "|",
	"virtual_ipaddress_excluded": "virtual_ipaddress_excluded { 10.0.0.102 }", "nopreempt": "nopreempt", "preempt": "nopreempt|preempt",
	"preempt_delay": "preempt_delay 9", "unicast_src_ip": "unicast_peer { 10.0.0.2 }|unicast_src_ip 10.0.0.1", "mcast_src_ip": "mcast_src_ip 10.0.0.1",
	"unicast_peer": "unicast_peer { 10.0.0.2 }", "use_vmac": "use_vmac", "vmac_xmit_base": "use_vmac|vmac_xmit_base",
	"dont_track_primary": "dont_track_primary", "track_src_ip": "track_src_ip", "virtual_routes": "virtual_routes { 10.5.0.0/16 dev eth0 }", "no_accept": "no_accept", "accept": "strict_mode on\nversion 3|accept", "mcast_dst_ip": "mcast_dst_ip 224.0.0.20",
	"unicast_ttl": "unicast_peer { 10.0.0.2 }|unicast_ttl 9", "check_unicast_src": "check_unicast_src", "unicast_fault_no_peer": "unicast_fault_no_peer",
	"skip_check_adv_addr": "skip_check_adv_addr on", "strict_mode": "strict_mode on", "lower_prio_no_advert": "lower_prio_no_advert on",
	"higher_prio_send_advert": "higher_prio_send_advert on", "down_timer_adverts": "down_timer_adverts 9",
	"garp_master_delay": "garp_master_delay 9", "garp_master_repeat": "garp_master_repeat 9", "garp_master_refresh": "garp_master_refresh 9",
	"garp_master_refresh_repeat": "garp_master_refresh_repeat 9", "garp_lower_prio_delay": "garp_lower_prio_delay 9",
	"garp_lower_prio_repeat": "garp_lower_prio_repeat 9", "auth_type": "auth_type AH", "auth_pass": "auth_pass 2222",
	"vrrp_sync_group/group": "|", "sync_group_tracking_weight": "sync_group_tracking_weight", "global_tracking": "global_tracking",
	// what is tracked
	"script": "|", "interval": "interval 9", "timeout": "timeout 9", "rise": "rise 9", "fall": "fall 9", "vrrp_script/user": "user nobody", "init_fail": "init_fail",
	"process": "process apache", "param_match": "param_match initial", "vrrp_track_process/quorum": "quorum 9", "quorum_max": "quorum_max 9",
	"delay": "delay 9", "fork_delay": "fork_delay 9", "terminate_delay": "terminate_delay 9", "full_command": "full_command",
	"file": "|", "init_file": "init_file 9", "garp_interval": "garp_interval 9", "gna_interval": "gna_interval 9",
	"garp_group/interface": "|", "interfaces": "interfaces { eth9 }",
	// SSL
	"password": "password x", "ca": "ca x", "certificate": "certificate x", "key": "key x",
	// virtual_server
	"lb_algo": "lb_algo wrr", "lvs_sched": "lvs_sched wrr", "lb_kind": "lb_kind DR", "virtual_server/lvs_method": "lvs_method DR", "real_server/lvs_method": "lvs_method DR",
	"persistence_timeout": "persistence_timeout 9", "persistence_engine": "persistence_engine sip",
	"persistence_granularity": "persistence_timeout 9|persistence_granularity 255.255.255.0", "protocol": "protocol SCTP",
	"real_server": "real_server 10.0.0.13 80 { }", "sorry_server": "sorry_server 10.0.0.99 80",
	"sorry_server_inhibit":    "sorry_server 10.0.0.99 80|sorry_server_inhibit",
	"sorry_server_lvs_method": "sorry_server 10.0.0.99 80|sorry_server_lvs_method DR", "ha_suspend": "ha_suspend",
	"virtual_server/quorum": "quorum 2", "hysteresis": "quorum 2|hysteresis 1", "quorum_up": "quorum_up /bin/u", "quorum_down": "quorum_down /bin/d",
	"omega": "omega", "ops": "protocol UDP|ops", "ip_family": "|",
	"sh-port": "lvs_sched sh|sh-port", "sh-fallback": "lvs_sched sh|sh-fallback", "mh-port": "lvs_sched mh|mh-port", "mh-fallback": "lvs_sched mh|mh-fallback",
	"flag-1": "flag-1", "flag-2": "flag-2", "flag-3": "flag-3",
	"uthreshold": "uthreshold 9", "lthreshold": "lthreshold 9",
	// checks
	"path": "|", "digest": "digest 00112233445566778899aabbccddeeff", "status_code": "status_code 404", "regex": "regex x",
	"regex_no_match": "regex x|regex_no_match", "http_protocol": "http_protocol 1.1", "enable_sni": "enable_sni on", "fast_recovery": "fast_recovery on",
	"url": "|", "helo_name": "helo_name me", "type": "type A", "name": "name example.org", "misc_path": "misc_path /bin/false",
	"misc_timeout": "misc_timeout 9", "misc_dynamic": "misc_dynamic", "MISC_CHECK/user": "user nobody", "payload": "payload 00ff",
	"require_reply": "require_reply 0xff", "min_reply_length": "min_reply_length 9", "max_reply_length": "max_reply_length 9",
	"FILE_CHECK/track_file": "|",
}

// elsewhere are keywords that need another form of proof, or none.
var elsewhere = map[string]string{
	"nat_mask":           "does nothing in keepalived 2 either",
	"dynamic_interfaces": "interfaces may always be missing",
	"include_check":      "it decides which missing files are errors",
	"hashed":             "every service is, in keepalived too",
	"host/":              "its keywords are those of SMTP_CHECK, which is tried",
}

// TestEveryKeywordIsUsed: a keyword that is said to work makes a difference to
// what the node does.
func TestEveryKeywordIsUsed(t *testing.T) {
	for _, k := range keepalived.Keywords() {
		if k.Support != keepalived.Typed || k.Block == "keepalived.conf" || elsewhere[k.Name] != "" || elsewhere[k.Block+"/"] != "" {
			continue
		}
		if strings.Contains(everyBlock, k.Name+" {") && used[k.Name] == "" && used[k.Block+"/"+k.Name] == "" {
			continue // everyBlock has the block, whose keywords are tried
		}
		name := k.Block + "/" + k.Name
		how, ok := used[name]
		if !ok {
			how, ok = used[k.Name]
		}
		if !ok {
			t.Errorf("%s is not tried", name)
			continue
		}
		if how == "|" {
			continue // everyBlock cannot be without it
		}
		before, with, two := strings.Cut(how, "|")
		if !two {
			before, with = "", before
		}
		without := planOf(t, k.Block, before, strings.Repeat(" ", len(with)))
		if reflect.DeepEqual(without, planOf(t, k.Block, before, with)) {
			t.Errorf("%s: %q makes no difference", name, how)
		}
	}
}

// planOf is the plan with two statements in a block. A first one that begins
// with = is an instance's.
func planOf(t *testing.T, block, first, second string) *plan {
	t.Helper()
	text := everyBlock
	if rest, ok := strings.CutPrefix(first, "="); ok {
		text = strings.Replace(text, "@vrrp_instance@", rest, 1)
		text = strings.Replace(text, "virtual_ipaddress { 10.0.0.100 }", "virtual_ipaddress { fe80::1 }", 1)
		first = ""
	}
	text = strings.Replace(text, "@"+block+"@", first+"\n"+second, 1)
	for _, k := range keepalived.Keywords() {
		text = strings.ReplaceAll(text, "@"+k.Block+"@", "")
	}
	conf, _ := keepalived.Parse("test.conf", keepalived.Options{Files: keepalived.Text{"test.conf": text}, Extensions: true})
	p, err := newPlan(conf, "host", nil)
	require.NoError(t, err, "%s %s", first, second)
	p.conf = nil
	return p
}
