package keepalived

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// kind is what keywords of which nothing is kept have in common: their value.
type kind struct {
	args    int    // words that must follow
	missing Class  // what a missing word is
	valid   string // what may follow
	free    bool   // the value is any text
	raw     bool   // the value has quotes of its own
	counts  bool   // every word on the line counts
	once    bool   // a second statement is an error
	instead string // the keyword is deprecated, and what to write

	// good tells of a value that is wrong; nil takes any.
	good func(p *parser, s statement) bool
}

// ignored are keywords of which nothing is kept. Their values are checked.
func ignored(of kind, names ...string) (rows []*keyword) {
	for _, name := range names {
		k := &keyword{name: name, args: of.args, missing: of.missing, valid: of.valid, free: of.free, raw: of.raw, counts: of.counts}
		k.support = Ignored
		k.note = "known and ignored: usvs has no use for it"
		k.do = of.check
		if of.instead != "" {
			k.deprecated(of.instead)
		}
		rows = append(rows, k)
	}
	return rows
}

// check holds a statement against its kind.
func (of kind) check(p *parser, s statement) {
	name := s.words[0]
	first, again := p.met[name]
	if of.once && again {
		p.invalid(name+" again; the first counts", fmt.Sprintf("it was set in line %d", first.Line))
		return
	}
	if of.good == nil || of.good(p, s) {
		p.met[name] = s.at
	}
}

// fatal makes a missing value one at which keepalived ends.
func (of kind) fatal() kind { of.args, of.missing = 1, Fatal; return of }

// needed makes a missing value an error that keepalived survives.
func (of kind) needed() kind { of.args, of.missing = 1, Invalid; return of }

// single makes a second word an error.
func (of kind) single() kind {
	good := of.good
	of.counts = true
	of.good = func(p *parser, s statement) bool {
		if len(s.words) > 2 {
			p.invalid(fmt.Sprintf("%s has %d words after it", s.words[0], len(s.words)-1), "valid is one")
			return false
		}
		return good == nil || good(p, s)
	}
	return of
}

// unique makes a second statement an error.
func (of kind) unique() kind { of.once = true; return of }

// deprecated makes every statement an error.
func (of kind) deprecated(instead string) kind { of.instead = instead; return of }

// anything is a value that keepalived does not look at.
var anything = kind{free: true}

// text is a word of a length.
func text(most int, valid string) kind {
	return kind{free: true, valid: valid, good: func(p *parser, s statement) bool {
		if len(s.arg(1)) > most {
			p.invalid(fmt.Sprintf("%s %s is too long", s.words[0], shown(s.arg(1))), fmt.Sprintf("%d bytes at most", most))
			return false
		}
		return true
	}}
}

// between is a number of a range.
func between(least, most int) kind {
	return kind{valid: fmt.Sprintf("%d to %d", least, most), good: func(p *parser, s statement) bool {
		if len(s.words) < 2 { // where a number is optional
			return true
		}
		_, ok := p.integer(s.arg(1), least, most, s.words[0])
		return ok
	}}
}

// switched is on or off, or on by being there.
var switched = kind{counts: true, valid: "[on|off|true|false|yes|no]", good: func(p *parser, s statement) bool {
	_, ok := p.boolean(s, true)
	return ok
}}

// announced is how often interfaces that have changed are announced. The last
// number counts.
func announced(least int) kind {
	const most = 86400
	return kind{counts: true, valid: fmt.Sprintf("[all] %d to %d seconds", least, most), good: func(p *parser, s statement) bool {
		numbers := slices.DeleteFunc(slices.Clone(s.words[1:]), func(w string) bool { return w == "all" })
		for _, w := range numbers {
			if _, ok := p.integer(w, least, most, s.words[0]); !ok {
				return false
			}
		}
		if len(numbers) == 0 {
			p.invalid(s.words[0]+" all without a number of seconds", fmt.Sprintf("valid is [all] %d to %d", least, most))
		}
		return len(numbers) > 0
	}}
}

// processors are numbers of CPUs, of which the host has as many as it has.
var processors = kind{counts: true, valid: "CPU...", good: func(p *parser, s statement) bool {
	for _, w := range s.words[1:] {
		n, ok := p.integer(w, 0, math.MaxInt32, s.words[0])
		if !ok {
			return false
		}
		if n > 0 {
			p.unchecked(fmt.Sprintf("%s %d: whether there is such a CPU is not checked", s.words[0], n))
		}
	}
	return true
}}

// bufferPolicy is a size or what sizes come from. The first word has to be a
// number unless all are policies.
var bufferPolicy = kind{counts: true, valid: "MTU, ADVERT, or 0 to 4294967295", good: func(p *parser, s statement) bool {
	const valid = "valid is one of MTU, ADVERT and a number of bytes"
	var policies []string
	for _, w := range s.words[1:] {
		if w = strings.ToUpper(w); w == "MTU" || w == "ADVERT" {
			policies = append(policies, w)
		}
	}
	if len(policies) < len(s.words)-1 {
		if _, ok := p.integer(s.arg(1), 0, math.MaxUint32, s.words[0]); !ok {
			return false
		}
		if len(policies) > 0 {
			p.invalid(s.words[0]+" with a number and "+policies[0], valid)
		}
		return len(policies) == 0
	}
	if slices.Contains(policies, "MTU") && slices.Contains(policies, "ADVERT") {
		p.invalid(s.words[0]+" with both MTU and ADVERT", valid)
		return false
	}
	return true
}}

// fileMode is a mask of permissions: a number as in C, or names.
var fileMode = kind{counts: true, valid: "0 to 0777, or IRUSR | IWGRP ...", good: func(p *parser, s statement) bool {
	const valid = "valid is 0 to 0777, or names as in IWGRP | IWOTH"
	if w := s.arg(1); w != "" && isDigit(w[0]) {
		digits, base := baseOf(w)
		if n, err := strconv.ParseUint(digits, base, 64); err != nil || n > 0o777 || len(s.words) > 2 {
			p.invalid(fmt.Sprintf("%s %s: not a mask of permissions", s.words[0], shown(strings.Join(s.words[1:], " "))), valid)
			return false
		}
		return true
	}
	for bit := range strings.SplitSeq(strings.Join(s.words[1:], " "), "|") {
		if bit = trim(bit); !slices.Contains(modeBits, bit) {
			p.invalid(fmt.Sprintf("%s %s: not a permission", s.words[0], shown(bit)), suggestion(bit, modeBits))
			return false
		}
	}
	return true
}}

var modeBits = []string{"IRUSR", "IWUSR", "IXUSR", "IRGRP", "IWGRP", "IXGRP", "IROTH", "IWOTH", "IXOTH"}

// baseOf splits a number as C writes it into its digits and their base.
func baseOf(word string) (digits string, base int) {
	if hex, ok := strings.CutPrefix(strings.ToLower(word), "0x"); ok {
		return hex, 16
	}
	if word[0] == '0' {
		return word, 8
	}
	return word, 10
}

// command is a script that keepalived runs once. Unlike others it has to have
// a command and a user that is not empty.
var command = kind{free: true, raw: true, valid: "COMMAND [USER [GROUP]]", good: func(p *parser, s statement) bool {
	all, ok := argv(s.rest())
	if !ok || len(all) == 0 || trim(all[0]) == "" || slices.Contains(all[1:min(3, len(all))], "") {
		p.invalid(s.words[0]+" "+shown(trim(s.rest()))+": not a command with its user", "valid is COMMAND [USER [GROUP]]")
		return false
	}
	_, ok = p.script(s)
	if len(all) > 1 {
		p.unchecked(s.words[0] + ": whether its user is there is not checked")
	}
	return ok
}}

// folder is a directory, which keepalived makes if it can.
var folder = kind{free: true, valid: "DIRECTORY", good: func(p *parser, s statement) bool {
	if s.arg(1) == "" {
		p.invalid(s.words[0]+" without a name", "valid is a directory")
		return false
	}
	p.unchecked(fmt.Sprintf("%s %s: whether it is a directory is not checked", s.words[0], shown(s.arg(1))))
	return true
}}

// processRows are the keywords of global_defs about one of keepalived's
// processes.
func processRows(name string) []*keyword {
	return slices.Concat(
		ignored(anything, name+"_no_swap"),
		ignored(between(-20, 19).needed(), name+"_priority"),
		ignored(between(1, 99).needed(), name+"_rt_priority"),
		ignored(between(1, math.MaxUint32).fatal(), name+"_rlimit_rtime", name+"_rlimit_rttime"),
		ignored(processors.needed(), name+"_cpu_affinity"),
	)
}

// ignoredGlobals are the keywords of global_defs about keepalived itself.
var ignoredGlobals = slices.Concat(
	processRows("bfd"), processRows("checker"), processRows("vrrp"),
	ignored(text(15, "NAME").fatal(), "process_name", "vrrp_process_name", "lvs_process_name", "checker_process_name", "bfd_process_name"),
	ignored(anything, "disable_local_igmp", "enable_dbus", "enable_snmp_checker", "enable_snmp_keepalived", "enable_snmp_rfc",
		"enable_snmp_rfcv2", "enable_snmp_rfcv3", "enable_snmp_vrrp", "enable_traps", "fifo_write_vrrp_states_on_reload", "process_names",
		"reload_check_config", "reload_file", "reload_repeat"),
	ignored(switched, "data_use_instance", "lvs_netlink_cmd_rcv_bufs_force", "lvs_netlink_monitor_rcv_bufs_force",
		"process_monitor_rcv_bufs_force", "vrrp_netlink_cmd_rcv_bufs_force", "vrrp_netlink_monitor_rcv_bufs_force"),
	ignored(between(0, math.MaxUint32).needed(), "lvs_netlink_cmd_rcv_bufs", "lvs_netlink_monitor_rcv_bufs", "process_monitor_rcv_bufs",
		"vrrp_netlink_cmd_rcv_bufs", "vrrp_netlink_monitor_rcv_bufs"),
	ignored(bufferPolicy.needed(), "vrrp_rx_bufs_policy"),
	ignored(between(1, math.MaxUint32).needed().single(), "vrrp_rx_bufs_multiplier"),
	ignored(text(255, "[NAME]").unique(), "nftables", "nftables_ipvs"),
	ignored(anything, "nftables_counters", "nftables_ifindex"),
	ignored(between(math.MinInt32, math.MaxInt32).fatal(), "nftables_priority", "nftables_ipvs_priority"),
	ignored(between(1, math.MaxUint32).fatal(), "nftables_ipvs_start_fwmark"),
	ignored(between(-1, 99), "max_auto_priority"),
	ignored(between(1, 10_000_000).needed(), "min_auto_priority_delay"),
	ignored(between(0, math.MaxUint32).fatal(), "random_seed"),
	ignored(fileMode.fatal(), "umask"),
	ignored(anything.fatal().unique(), "vmac_prefix", "vmac_addr_prefix"),
	ignored(anything.needed(), "dbus_service_name"),
	ignored(anything.needed().single(), "reload_time_file"),
	ignored(anything.needed().single().unique(), "snmp_socket"),
	ignored(anything.needed().unique(), "tmp_config_directory"),
	ignored(folder.fatal(), "config_save_dir"),
	ignored(command.needed().unique(), "startup_script", "shutdown_script"),
	ignored(between(1, 1000).needed(), "startup_script_timeout", "shutdown_script_timeout"),
	ignored(announced(1).needed(), "vrrp_garp_extra_if"),
	ignored(announced(1).needed().deprecated("write vrrp_garp_extra_if"), "vrrp_vmac_garp_intvl"),
)
