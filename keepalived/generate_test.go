package keepalived

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator writes configurations: valid ones by the grammar, and with
// mistakes by mutation. Everything comes from its seed.
type generator struct {
	*rand.Rand
	b      strings.Builder
	indent int
	vips   int
}

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 0x5eed))}
}

// valid is a configuration that keepalived takes.
func valid(seed uint64) string {
	g := newGenerator(seed)
	g.line("! configuration %d", seed)
	g.global()
	if g.IntN(3) > 0 {
		g.vrrp()
	}
	for range 1 + g.IntN(3) {
		g.virtualServer()
	}
	return g.b.String()
}

func (g *generator) line(format string, args ...any) {
	g.b.WriteString(strings.Repeat(g.pick("  ", "    ", "\t"), g.indent))
	fmt.Fprintf(&g.b, format, args...)
	g.b.WriteString(g.pick("", "", "", " ", " # comment", "! comment"))
	g.b.WriteString("\n")
}

func (g *generator) pick(words ...string) string { return words[g.IntN(len(words))] }

// sometimes writes a line with a value from a range.
func (g *generator) sometimes(keyword string, least, most int) {
	if g.IntN(3) == 0 {
		g.line("%s %d", keyword, least+g.IntN(most-least+1))
	}
}

func (g *generator) maybe(lines ...string) {
	for _, l := range lines {
		if g.IntN(4) == 0 {
			g.line("%s", l)
		}
	}
}

// block writes a block; its brace may stand anywhere.
func (g *generator) block(head string, body func()) {
	switch g.IntN(4) {
	case 0:
		g.line("%s{", head)
	case 1:
		g.line("%s", head)
		g.line("{")
	default:
		g.line("%s {", head)
	}
	g.indent++
	body()
	g.indent--
	g.line("}")
}

func (g *generator) global() {
	g.block("global_defs", func() {
		g.maybe("router_id LVS_DEVEL", "vrrp_skip_check_adv_addr", "smtp_alert off", "lvs_flush", "vrrp_min_garp on", "enable_script_security",
			"notification_email_from \"a b@example.com\"", "smtp_server 127.0.0.1 25", "lvs_sync_daemon eth0 id 5", "lvs_timeouts tcp 900 udp 300",
			"vrrp_mcast_group4 224.0.0.18", "default_interface eth0", "lvs_flush_on_stop VS", "checker_log_all_failures")
		g.sometimes("smtp_connect_timeout", 1, 100)
		g.sometimes("vrrp_garp_interval", 1, 10)
		g.sometimes("vrrp_garp_master_refresh", 0, 60)
		if g.IntN(3) == 0 {
			g.block("notification_email", func() { g.line("admin@example.com"); g.maybe("b@example.com c@example.com") })
		}
	})
}

func (g *generator) vrrp() {
	n := 1 + g.IntN(3)
	for i := range n {
		g.block(fmt.Sprintf("vrrp_instance VI_%d", i), func() { g.instance(i) })
	}
	if n > 1 && g.IntN(2) == 0 {
		g.block("vrrp_sync_group G", func() {
			g.block("group", func() {
				for i := range n {
					g.line("VI_%d", i)
				}
			})
			g.maybe("smtp_alert", "sync_group_tracking_weight")
		})
	}
}

func (g *generator) instance(i int) {
	state := g.pick("MASTER", "BACKUP")
	g.line("state %s", state)
	g.line("interface %s", g.pick("eth0", "eth1", "ens33"))
	g.line("virtual_router_id %d", 51+i)
	g.line("priority %d", 50+g.IntN(200))
	g.line("advert_int %d", 1+g.IntN(3))
	if g.IntN(2) == 0 {
		g.block("authentication", func() { g.line("auth_type PASS"); g.line("auth_pass %d", 1000+g.IntN(9000)) })
	}
	if state == "BACKUP" {
		g.maybe(g.pick("nopreempt", "preempt_delay 5"))
	}
	g.maybe("garp_master_delay 10", "dont_track_primary", "smtp_alert", "debug 1", "accept", "skip_check_adv_addr on", "lower_prio_no_advert", "mcast_src_ip 192.168.201.2")
	g.block("virtual_ipaddress", func() {
		for range 1 + g.IntN(3) {
			g.vips++
			g.line("192.168.201.%d%s", g.vips, g.pick("", "/24", "/32", " dev eth0", "/24 dev eth0 label eth0:1", " brd 192.168.201.255", " scope link", " no_track"))
		}
	})
	if g.IntN(3) == 0 {
		g.block("virtual_ipaddress_excluded", func() { g.line("2001:db8::%x/64", 1+g.IntN(99)) })
	}
}

func (g *generator) virtualServer() {
	kind, port := g.pick("NAT", "DR", "TUN"), 80+g.IntN(3)
	v6 := g.IntN(4) == 0
	g.vips++
	head := fmt.Sprintf("virtual_server 192.168.201.%d %d", g.vips, port)
	if v6 {
		head = fmt.Sprintf("virtual_server 2001:db8::%x %d", g.vips, port)
	}
	g.block(head, func() {
		g.line("delay_loop %d", 1+g.IntN(20))
		g.line("%s %s", g.pick("lb_algo", "lvs_sched"), g.pick(schedulers...))
		g.line("%s %s", g.pick("lb_kind", "lvs_method"), kind)
		g.line("protocol %s", g.pick("TCP", "UDP", "tcp"))
		g.sometimes("persistence_timeout", 1, 500)
		g.sometimes("connect_timeout", 1, 10)
		g.sometimes("retry", 1, 5)
		g.maybe("ha_suspend", "alpha", "omega", "inhibit_on_failure", "virtualhost www.example.com", "delay_before_retry 0.5", "warmup 3")
		for i := range 1 + g.IntN(3) {
			g.realServer(v6, i, port)
		}
	})
}

func (g *generator) realServer(v6 bool, i, port int) {
	head := fmt.Sprintf("real_server 10.1.0.%d %d", 11+i, port)
	if v6 {
		head = fmt.Sprintf("real_server 2001:db8:1::%d %d", 11+i, port)
	}
	g.block(head, func() {
		g.line("weight %d", 1+g.IntN(10))
		g.sometimes("uthreshold", 10, 100)
		g.maybe("alpha on", "smtp_alert off", "delay_loop 3", "notify_down /usr/local/bin/absent")
		g.checker()
	})
}

func (g *generator) checker() {
	kind := g.pick("", "TCP_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "DNS_CHECK", "MISC_CHECK", "UDP_CHECK", "PING_CHECK")
	if kind == "" {
		return
	}
	g.block(kind, func() {
		switch kind {
		case "HTTP_GET", "SSL_GET":
			g.block("url", func() {
				g.line("path /%d", g.IntN(10))
				g.maybe("status_code 200", "status_code 200-299 301", "digest 640205b7b0fc66c1ea91c463fac6334d", "virtualhost x")
			})
			g.maybe("http_protocol 1.1", "fast_recovery", "enable_sni")
		case "DNS_CHECK":
			g.maybe("type MX", "name example.com")
		case "MISC_CHECK":
			g.line("misc_path %s", g.pick("/usr/local/bin/absent", `"/usr/local/bin/absent 1 2"`, "'/usr/local/bin/absent x'"))
			g.maybe("misc_timeout 5", "misc_dynamic")
		case "UDP_CHECK":
			g.maybe("payload 0102", "require_reply", "min_reply_length 3")
		}
		if kind != "MISC_CHECK" {
			g.sometimes("connect_timeout", 1, 10)
			g.sometimes("connect_port", 1, 9000)
		}
		g.sometimes("retry", 0, 5)
		g.sometimes("delay_before_retry", 0, 5)
		g.maybe("warmup 0", "log_all_failures")
	})
}

// mutated is a valid configuration with mistakes.
func mutated(seed uint64) string {
	g := newGenerator(seed)
	lines := strings.SplitAfter(valid(seed), "\n")
	lines = lines[:len(lines)-1]
	for range 1 + g.IntN(3) {
		i := g.IntN(len(lines))
		lines[i] = g.mistake(lines[i], lines[g.IntN(len(lines))])
	}
	return strings.Join(lines, "")
}

// mistake is a line with something wrong, or something odd but right.
func (g *generator) mistake(line, other string) string {
	text := strings.TrimRight(line, "\n")
	words := strings.Fields(text)
	switch g.IntN(12) {
	case 0: // a line is lost
		return "\n"
	case 1: // a line is there twice
		return line + line
	case 2: // a keyword is misspelt
		if len(words) > 0 && len(words[0]) > 3 {
			return strings.Replace(line, words[0][1:3], words[0][2:3]+words[0][1:2], 1)
		}
	case 3: // a number has a tail
		return text + "x\n"
	case 4: // a value is lost
		if len(words) > 1 && !strings.HasSuffix(text, "{") {
			return words[0] + "\n"
		}
	case 5: // a value is odd
		if len(words) > 1 && !strings.HasSuffix(text, "{") {
			return words[0] + " " + g.pick("0", "-1", "99999", "x", "1.5", `""`, "on", "4294967296", "eth0") + "\n"
		}
	case 6: // a line is somewhere else
		if !strings.ContainsAny(other, "{}") {
			return line + other
		}
	case 7: // full-width blanks
		return text + "\u3000\u3000\n"
	case 8: // a quote
		return text + "\"\n"
	case 9: // a comment without a blank
		return text + "#x\n"
	case 10: // two statements on a line
		return text + " " + strings.TrimSpace(other) + "\n"
	case 11: // a brace too many or too few
		return g.pick(line+"}\n", strings.NewReplacer("{", "", "}", "").Replace(line))
	}
	return line
}
