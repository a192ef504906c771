package keepalived

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
)

// Bounds of keepalived's timers, which count microseconds in 32 bits.
const (
	microsecond  = time.Microsecond
	maxTimer     = math.MaxUint32 * time.Microsecond
	maxTimerSecs = math.MaxUint32 / 1_000_000
)

var globalTable = newTable("global_defs",
	[]*keyword{
		names("notification_email", "lines of addresses", func(p *parser) *[]Value[string] { return &p.config.Global.NotificationEmail }),
		word("notification_email_from", "ADDRESS", func(p *parser) *Value[string] { return &p.config.Global.NotificationEmailFrom }).lenient(),
		custom("smtp_server", 1, "ADDRESS or NAME [PORT]", smtpServer),
		wholeSeconds("smtp_connect_timeout", 1, maxTimerSecs, func(p *parser) *Value[time.Duration] { return &p.config.Global.SMTPConnectTimeout }),
		word("smtp_helo_name", "NAME", func(p *parser) *Value[string] { return &p.config.Global.SMTPHelo }).optional(),
		onoff("smtp_alert", func(p *parser) *Value[bool] { return &p.config.Global.SMTPAlert }),
		onoff("smtp_alert_vrrp", func(p *parser) *Value[bool] { return &p.config.Global.SMTPAlertVRRP }),
		onoff("smtp_alert_checker", func(p *parser) *Value[bool] { return &p.config.Global.SMTPAlertChecker }),
		present("no_email_faults", func(p *parser) *Value[bool] { return &p.config.Global.NoEmailFaults }),
		onoff("no_checker_emails", func(p *parser) *Value[bool] { return &p.config.Global.NoCheckerEmails }),
		word("router_id", "NAME", func(p *parser) *Value[string] { return &p.config.Global.RouterID }).lenient(),

		custom("script_user", 1, "USER [GROUP]", func(p *parser, s statement) { p.config.Global.ScriptUser.set(User{s.arg(1), s.arg(2)}, s.at) }).lenient(),
		present("enable_script_security", func(p *parser) *Value[bool] { return &p.config.Global.EnableScriptSecurity }),
		fifo("notify_fifo", func(p *parser) *Value[FIFO] { return &p.config.Global.NotifyFIFO }).lenient(),
		fifo("vrrp_notify_fifo", func(p *parser) *Value[FIFO] { return &p.config.Global.VRRPNotifyFIFO }).lenient(),
		fifo("lvs_notify_fifo", func(p *parser) *Value[FIFO] { return &p.config.Global.LVSNotifyFIFO }).lenient(),
		script("notify_fifo_script", func(p *parser) *Value[Script] { return &p.config.Global.NotifyFIFOScript }).lenient(),
		script("vrrp_notify_fifo_script", func(p *parser) *Value[Script] { return &p.config.Global.VRRPFIFOScript }).lenient(),
		script("lvs_notify_fifo_script", func(p *parser) *Value[Script] { return &p.config.Global.LVSFIFOScript }).lenient(),

		word("default_interface", "INTERFACE", func(p *parser) *Value[string] { return &p.config.Global.DefaultInterface }).lenient(),
		custom("dynamic_interfaces", 0, "[allow_if_changes]", func(p *parser, s statement) {
			if p.oneOf(s, "", "allow_if_changes") {
				p.config.Global.DynamicInterfaces.set(true, s.at)
			}
		}),

		present("vrrp_skip_check_adv_addr", func(p *parser) *Value[bool] { return &p.config.Global.SkipCheckAdvAddr }),
		present("vrrp_strict", func(p *parser) *Value[bool] { return &p.config.Global.Strict }),
		seconds("vrrp_garp_interval", microsecond, maxTimer, func(p *parser) *Value[time.Duration] { return &p.config.Global.GARPInterval }),
		seconds("vrrp_gna_interval", microsecond, maxTimer, func(p *parser) *Value[time.Duration] { return &p.config.Global.GNAInterval }),
		multicast("vrrp_mcast_group4", false, func(p *parser) *Value[netip.Addr] { return &p.config.Global.McastGroup4 }),
		multicast("vrrp_mcast_group6", true, func(p *parser) *Value[netip.Addr] { return &p.config.Global.McastGroup6 }),
		onoff("vrrp_min_garp", func(p *parser) *Value[bool] { return &p.config.Global.MinGARP }),
		onoff("vrrp_lower_prio_no_advert", func(p *parser) *Value[bool] { return &p.config.Global.LowerPrioNoAdvert }),
		onoff("vrrp_higher_prio_send_advert", func(p *parser) *Value[bool] { return &p.config.Global.HigherPrioSendAdvert }),
		number("vrrp_down_timer_adverts", 1, 100, func(p *parser) *Value[int] { return &p.config.Global.DownTimerAdverts }),
		number("vrrp_version", 2, 3, func(p *parser) *Value[int] { return &p.config.Global.Version }),
		present("vrrp_check_unicast_src", func(p *parser) *Value[bool] { return &p.config.Global.CheckUnicastSrc }),
		onoff("vrrp_notify_priority_changes", func(p *parser) *Value[bool] { return &p.config.Global.NotifyPriorityChanges }),
		seconds("vrrp_startup_delay", time.Millisecond, maxTimer, func(p *parser) *Value[time.Duration] { return &p.config.Global.StartupDelay }),

		present("log_unknown_vrids", func(p *parser) *Value[bool] { return &p.config.Global.LogUnknownVRIDs }),

		custom("lvs_sync_daemon", 1, "INTERFACE [[inst] INSTANCE] [id 0-255] [maxlen 1-65507] [port N] [ttl 1-255] [group ADDRESS]", syncDaemon).lenient(),
		custom("lvs_timeouts", 2, "[tcp SECONDS] [tcpfin SECONDS] [udp SECONDS]", lvsTimeouts).lenient(),
		present("lvs_flush", func(p *parser) *Value[bool] { return &p.config.Global.LVSFlush }),
		custom("lvs_flush_on_stop", 0, "[VS]", flushOnStop),
		custom("lvs_flush_onstop", 0, "[VS]", flushOnStop),
		onoff("checker_log_all_failures", func(p *parser) *Value[bool] { return &p.config.Global.CheckerLogAll }),
		checkPath(func(p *parser) *Value[string] { return &p.config.Global.CheckPath }),
		onoff("rs_init_notifies", func(p *parser) *Value[bool] { return &p.config.Global.RSInitNotifies }),
	},
	garpRows("vrrp_garp_", func(p *parser) *GARP { return &p.config.Global.GARP }),
	ignoredGlobals,
	[]*keyword{includeCheck()},
	[]*keyword{noIptables("vrrp_iptables")},
)

// noIptables is a keyword that Debian's keepalived, built without iptables,
// refuses.
func noIptables(name string) *keyword {
	k := custom(name, 0, "", func(p *parser, s statement) {
		p.invalid(name+": keepalived has no iptables", "valid is nftables")
	})
	k.support = Ignored
	return k
}

// garpRows are the keywords about announcements, with a prefix.
func garpRows(prefix string, of func(*parser) *GARP) []*keyword {
	return []*keyword{
		wholeSeconds(prefix+"master_delay", 0, maxTimerSecs, func(p *parser) *Value[time.Duration] { return &of(p).Delay }),
		number(prefix+"master_repeat", 1, math.MaxUint32, func(p *parser) *Value[int] { return &of(p).Repeat }),
		wholeSeconds(prefix+"master_refresh", 0, math.MaxUint32, func(p *parser) *Value[time.Duration] { return &of(p).Refresh }),
		number(prefix+"master_refresh_repeat", 1, math.MaxUint32, func(p *parser) *Value[int] { return &of(p).RefreshRepeat }),
		wholeSeconds(prefix+"lower_prio_delay", 0, maxTimerSecs, func(p *parser) *Value[time.Duration] { return &of(p).LowerPrioDelay }),
		number(prefix+"lower_prio_repeat", 0, math.MaxInt32, func(p *parser) *Value[int] { return &of(p).LowerPrioRepeat }),
	}
}

// oneOf reports whether the first word after the keyword is among those
// listed; "" is for no word.
func (p *parser) oneOf(s statement, valid ...string) bool {
	for _, v := range valid {
		if s.arg(1) == v {
			return true
		}
	}
	p.invalid(fmt.Sprintf("%s %s", s.words[0], shown(s.arg(1))), suggestion(s.arg(1), valid))
	return false
}

// suggestion lists what is valid, and what may have been meant.
func suggestion(found string, valid []string) string {
	hint := "valid is " + strings.TrimPrefix(strings.Join(valid, ", "), ", ")
	if near := nearest(found, valid); near != "" {
		hint += "; did you mean " + near + "?"
	}
	return hint
}

func smtpServer(p *parser, s statement) {
	server := SMTPServer{Host: s.arg(1), Port: 25}
	if s.arg(2) != "" {
		v, ok := p.integer(s.arg(2), 1, math.MaxUint16, "smtp_server port")
		if !ok {
			return
		}
		server.Port = uint16(v)
	}
	if _, err := netip.ParseAddr(server.Host); err != nil {
		p.unchecked(fmt.Sprintf("smtp_server %s: a name, which is not looked up here; keepalived rejects one that cannot be resolved", shown(server.Host)))
	}
	p.config.Global.SMTPServer.set(server, s.at)
}

func flushOnStop(p *parser, s statement) {
	if p.oneOf(s, "", "VS") {
		what := s.arg(1)
		if what == "" {
			what = "all"
		}
		p.config.Global.LVSFlushOnStop.set(what, s.at)
	}
}

func lvsTimeouts(p *parser, s statement) {
	v := Timeouts{-1, -1, -1}
	for i := 1; i+1 < len(s.words); i += 2 {
		field := map[string]*time.Duration{"tcp": &v.TCP, "tcpfin": &v.TCPFin, "udp": &v.UDP}[s.words[i]]
		if field == nil {
			p.invalid("lvs_timeouts "+shown(s.words[i]), suggestion(s.words[i], []string{"tcp", "tcpfin", "udp"}))
			continue
		}
		if n, ok := p.integer(s.words[i+1], 0, 31*86400, "lvs_timeouts "+s.words[i]); ok {
			*field = time.Duration(n) * time.Second
		}
	}
	p.config.Global.LVSTimeouts.set(v, s.at)
}

func syncDaemon(p *parser, s statement) {
	d := SyncDaemon{Interface: s.arg(1)}
	p.onInterface(d.Interface)
	for i := 2; i < len(s.words); i++ {
		option := s.words[i]
		if option != "inst" && !isSyncOption(option) {
			d.Instance = option
			continue
		}
		i++
		if i == len(s.words) {
			p.invalid("lvs_sync_daemon "+option+" without its value", "")
			break
		}
		p.syncOption(&d, option, s.words[i])
	}
	p.config.Global.LVSSyncDaemon.set(d, s.at)
}

// syncDaemonOfInstance is the old way to say it, in an instance. What
// global_defs say comes first, wherever they stand.
func syncDaemonOfInstance(p *parser, s statement) {
	p.onInterface(s.arg(1))
	if !p.config.Global.LVSSyncDaemon.Set() {
		p.config.Global.LVSSyncDaemon.set(SyncDaemon{Interface: s.arg(1), Instance: p.instance.Name}, s.at)
	}
}

func isSyncOption(word string) bool {
	switch word {
	case "id", "maxlen", "port", "ttl", "group":
		return true
	}
	return false
}

func (p *parser) syncOption(d *SyncDaemon, option, value string) {
	what := "lvs_sync_daemon " + option
	switch option {
	case "inst":
		d.Instance = value
	case "id":
		d.ID, _ = p.integer(value, 0, 255, what)
	case "maxlen":
		d.MaxLen, _ = p.integer(value, 1, 65507, what)
	case "port":
		n, _ := p.integer(value, 1, math.MaxUint16, what)
		d.Port = uint16(n)
	case "ttl":
		d.TTL, _ = p.integer(value, 1, 255, what)
	case "group":
		a, ok := p.address(value, what)
		if ok && !a.IsMulticast() {
			p.invalid(fmt.Sprintf("%s %v: not a multicast address", what, a), "")
			return
		}
		d.Group = a
	}
}
