package oracle

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/oracle/shell"
	"usvs/sysctl"
)

// recordedRelease is the kernel the recordings were made on.
const recordedRelease = "6.1.176"

// programs are the commands of the recorded machine, besides the shell's own
// and the usual filters.
func (w *world) programs() map[string]shell.Program {
	p := map[string]shell.Program{
		"ip":       w.ip,
		"modprobe": w.modprobe,
		"sleep":    w.sleep,
		"sysctl":   w.sysctl,
		"uname":    uname,
	}
	for name, run := range map[string]func([]string, ipvsadm.Backend, ipvsadm.Resolver, io.Reader, io.Writer, io.Writer) int{
		"ipvsadm": ipvsadm.Run, "ipvsadm-save": ipvsadm.RunSave, "ipvsadm-restore": ipvsadm.RunRestore,
	} {
		p[name] = func(args []string, in io.Reader, out, errs io.Writer) int {
			w.settle(w.now) // the kernel is done with the command before
			status := run(args, w.ctl, w.names, in, out, errs)
			w.autoload()
			return status
		}
	}
	for _, name := range []string{"iptables", "iptables-legacy", "ip6tables", "ip6tables-legacy"} {
		p[name] = w.iptables
	}
	for name, run := range p {
		p["/sbin/"+name], p["/usr/sbin/"+name] = run, run
	}
	return p
}

func (w *world) iptables(args []string, _ io.Reader, out, errs io.Writer) int {
	text, err := w.ctl.Iptables(strings.Contains(args[0], "ip6"), args[1:])
	io.WriteString(out, text)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, strings.TrimRight(err.Error(), "\n"))
	if told, ok := err.(interface{ ExitStatus() int }); ok {
		return told.ExitStatus()
	}
	return 1
}

// sleep lets time pass.
func (w *world) sleep(args []string, _ io.Reader, _, errs io.Writer) int {
	if len(args) < 2 {
		fmt.Fprintln(errs, "sleep: missing operand\nTry 'sleep --help' for more information.")
		return 1
	}
	secs, err := strconv.ParseFloat(strings.TrimSuffix(args[1], "s"), 64)
	if err != nil || secs < 0 || secs > maxPause {
		fmt.Fprintf(errs, "sleep: invalid time interval '%s'\nTry 'sleep --help' for more information.\n", args[1])
		return 1
	}
	w.settle(w.now.Add(seconds(secs)))
	return 0
}

// maxPause bounds a pause, in seconds.
const maxPause = 30 * 24 * 3600

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func uname(args []string, _ io.Reader, out, errs io.Writer) int {
	fields := map[byte]string{'s': "Linux", 'n': "director", 'r': recordedRelease, 'm': "x86_64"}
	letters := ""
	for _, a := range args[1:] {
		letters += strings.TrimPrefix(a, "-")
	}
	if letters == "" {
		letters = "s"
	}
	var shown []string
	for _, c := range []byte("snrm") {
		if strings.IndexByte(letters, c) >= 0 {
			shown = append(shown, fields[c])
		}
	}
	if strings.Trim(letters, "snrm") != "" {
		fmt.Fprintf(errs, "uname: invalid option -- '%s'\nTry 'uname --help' for more information.\n", strings.Trim(letters, "snrm")[:1])
		return 1
	}
	fmt.Fprintln(out, strings.Join(shown, " "))
	return 0
}

// moduleNames are the modules that can be asked for.
var moduleNames = []string{"ip_vs", "ip_vs_ftp", "ip_vs_pe_sip", "ip_tables", "ip6_tables", "iptable_mangle", "ip6table_mangle",
	"xt_mark", "dummy", "ipip", "ip6_tunnel", "ip_gre", "fou", "fou6", "sctp", "nf_conntrack", "nf_nat", "veth", "tun", "bridge"}

// modprobe loads modules. Nearly everything is there as if built in: what can
// be seen of a module is its settings, and ip_vs_ftp's helper.
func (w *world) modprobe(args []string, _ io.Reader, _, errs io.Writer) int {
	quiet, several, remove := false, false, false
	ports := "21"
	var wanted []string
	for _, a := range args[1:] {
		switch {
		case a == "-q":
			quiet = true
		case a == "-a":
			several = true
		case a == "-r":
			remove = true
		case strings.HasPrefix(a, "ports="):
			ports = a[len("ports="):]
		case !strings.HasPrefix(a, "-") && !strings.Contains(a, "="):
			wanted = append(wanted, a)
		}
	}
	if !several {
		wanted = wanted[:min(1, len(wanted))]
	}
	for _, m := range wanted {
		if !knownModule(m) {
			if !quiet {
				fmt.Fprintf(errs, "modprobe: FATAL: Module %s not found in directory /run/ml/lib/modules/%s\n", m, recordedRelease)
			}
			return 1
		}
		w.load(m, !remove)
		if strings.ReplaceAll(m, "-", "_") == "ip_vs_ftp" {
			w.helpFTP(!remove, ports)
		}
	}
	return 0
}

func knownModule(name string) bool {
	name = strings.ReplaceAll(name, "-", "_")
	s, ok := strings.CutPrefix(name, "ip_vs_")
	return ok && s != "twos" && slices.Contains(schedulerNames, s) || slices.Contains(moduleNames, name)
}

var schedulerNames = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos"}

func (w *world) load(module string, on bool) {
	w.modules[strings.ReplaceAll(module, "-", "_")] = on
}

// helpFTP makes the helper attend to ports, or to none.
func (w *world) helpFTP(on bool, list string) {
	var ports []uint16
	for _, text := range strings.Split(list, ",") {
		if n, err := strconv.ParseUint(text, 10, 16); err == nil && n != 0 && on {
			ports = append(ports, uint16(n))
		}
	}
	w.dir.Table.SetFTPPorts(ports)
}

// autoload loads the modules of the schedulers in use, as the kernel does when
// a service is made.
func (w *world) autoload() {
	all, err := w.ctl.Services()
	if err != nil {
		return
	}
	for i := range all {
		w.load("ip_vs_"+all[i].Spec.Scheduler, true)
	}
}

// moduleSettings are the settings that are there only with their module.
var moduleSettings = map[string]string{"lblc_expiration": "ip_vs_lblc", "lblcr_expiration": "ip_vs_lblcr"}

// Sysctl returns a setting's value; those of modules that are not loaded are
// not there.
func (w *world) Sysctl(name string) (string, error) {
	if m, ok := moduleSettings[name]; ok && !w.modules[m] {
		return "", fmt.Errorf("%s: %w", name, ipvs.ErrNoEntry)
	}
	return w.ctl.Sysctl(name)
}

// SetSysctl changes a setting.
func (w *world) SetSysctl(name, value string) error {
	if _, err := w.Sysctl(name); err != nil {
		return err
	}
	return w.ctl.SetSysctl(name, value)
}

// sysctl is sysctl(8): usvs's own for net.ipv4.vs, and the host's settings
// that the recordings touch.
func (w *world) sysctl(args []string, _ io.Reader, out, errs io.Writer) int {
	var ours, others, flags []string
	for _, a := range args[1:] {
		switch {
		case len(others) == 0 && len(ours) == 0 && strings.HasPrefix(a, "-"), sysctl.Ours(a):
			ours = append(ours, a)
			if strings.HasPrefix(a, "-") {
				flags = append(flags, a)
			}
		case strings.HasPrefix(a, "net.") || strings.HasPrefix(a, "net/") || strings.HasPrefix(a, "kernel."):
			others = append(others, a)
		default:
			ours = append(ours, a)
		}
	}
	status := 0
	if len(others) == 0 || len(ours) > len(flags) {
		status = sysctl.Run(ours, w, out, errs)
	}
	for _, word := range others {
		if !w.hostSetting(word, strings.Join(flags, ""), out) {
			fmt.Fprintf(errs, "sysctl: cannot stat /proc/sys/%s: No such file or directory\n", settingPath(word))
			status = 1
		}
	}
	return status
}

// hostSetting reads or writes a setting outside net.ipv4.vs.
func (w *world) hostSetting(word, flags string, out io.Writer) bool {
	key, value, set := strings.Cut(strings.ReplaceAll(word, "/", "."), "=")
	if set {
		w.settings[key] = value
	}
	value, ok := w.settings[key]
	if !ok {
		value, ok = hostDefaults[key]
	}
	switch {
	case !ok, set && strings.Contains(flags, "q"):
	case strings.Contains(flags, "n"):
		fmt.Fprintln(out, value)
	default:
		fmt.Fprintf(out, "%s = %s\n", key, value)
	}
	return ok
}

func settingPath(word string) string {
	key, _, _ := strings.Cut(word, "=")
	return strings.ReplaceAll(key, ".", "/")
}

// hostDefaults are the recorded machine's settings that matter here.
var hostDefaults = map[string]string{
	"net.ipv4.ip_forward":                 "1",
	"net.ipv6.conf.all.forwarding":        "1",
	"net.ipv4.conf.all.rp_filter":         "0",
	"net.ipv4.icmp_ratelimit":             "0",
	"net.ipv4.icmp_msgs_per_sec":          "100000",
	"net.ipv4.icmp_msgs_burst":            "100000",
	"net.ipv4.ip_unprivileged_port_start": "1024",
}

// forwards reports whether the host is a router for the IP version.
func (w *world) forwards(version uint8) bool {
	key := "net.ipv4.ip_forward"
	if version == 6 {
		key = "net.ipv6.conf.all.forwarding"
	}
	return w.settings[key] != "0"
}
