package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/control"
	"usvs/host"
	"usvs/ipvs"
	"usvs/keepalived"
)

// runFlags are what `usvs run` was told.
type runFlags struct {
	interfaces []string
	io         string
	method     ioMethod // what io means
	napi       string
	receiving  napiMode // what napi means
	workers    int
	cpus       string
	plan       workers // what workers and cpus mean
	pprof      string
	pprofAll   bool
	profiles   net.Listener // what pprof means
	conf       *confFile    // what keepalived names
	tun        string
	tunAddrs   []string
	tunRoutes  []string
	rules      string
	keepalived string
	configID   string
	detail     bool
	own        string
	vips       []string
	pcap       string
	maxConns   int
	sysctls    []string
	settings   ipvs.Sysctls // what sysctls make of the defaults
	ftpPorts   []string
	logFormat  string
	logLevel   string
}

func newRunCmd() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run -i INTERFACE [-i INTERFACE]... | run --keepalived FILE",
		Short: "Run the director on network interfaces",
		Long: `Run the director in the foreground. It answers ARP and ND for the virtual
services' addresses, forwards their packets, and keeps the host's own stack from
doing the same. SIGTERM ends it, SIGHUP reads --rules or --keepalived again as
one transaction.

With --keepalived it is the whole node: the virtual services and servers of a
keepalived.conf, their health checks, VRRP with its addresses, notifications and
mail (docs/high-availability.md). Without -i it runs on the interfaces that the
configuration needs, and says which. What keepalived -t reports does not keep it
from starting, unless keepalived would not start either; a reload that has
errors changes nothing. See usvs vrrp and usvs health.

It needs CAP_NET_RAW and CAP_NET_ADMIN in its network namespace, nothing else,
and root to run scripts as somebody else.`,
		Args: noWords("; interfaces are named with -i"),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDirector(cmd.Context(), f) },
	}
	fl := cmd.Flags()
	fl.StringArrayVarP(&f.interfaces, "interface", "i", nil, "network interface to run on; repeat for several")
	fl.StringVar(&f.io, "io", "auto", "the `METHOD` by which frames of interfaces are received: auto, mmsg (calls for 64 frames), ring (shared memory) or xdp (AF_XDP)")
	fl.StringVar(&f.napi, "napi", "keep", "`WHO` receives for the interfaces: threads of the kernel's, which leave usvs its share of the processor in a flood (threads), the same where it is possible (auto), or as it is (keep)")
	fl.IntVar(&f.workers, "workers", 0, "receive on each interface with `N` threads; 0: with as many as help, which may change meanwhile")
	fl.StringVar(&f.cpus, "cpus", "", "pin the workers, in turn, to the CPUs of this `list`, like 0,2-3")
	fl.StringVar(&f.tun, "tun", "", "also run on a TUN device of this name, made for the purpose")
	fl.StringArrayVar(&f.tunAddrs, "tun-addr", nil, "address with prefix length for the TUN device")
	fl.StringArrayVar(&f.tunRoutes, "tun-route", nil, "prefix to route into the TUN device")
	fl.StringVar(&f.rules, "rules", "", "file of ipvsadm-save lines, or ipvsadm and iptables commands; - reads standard input")
	fl.StringVarP(&f.keepalived, "keepalived", "f", "", "`file` in keepalived's language to run by, as the whole node")
	fl.StringVar(&f.configID, "config-id", shortHostname(), "the id that lines with @ in a keepalived.conf are for")
	fl.BoolVarP(&f.detail, "log-detail", "D", false, "log what keepalived logs with the same option")
	fl.StringVar(&f.own, "own", "services", "`WHICH` virtual addresses are ours: services (all that services and mark rules name) or host (those an interface carries)")
	fl.StringArrayVar(&f.vips, "vip", nil, "a further address to own; repeat for several")
	fl.StringVar(&f.pcap, "pcap", "", "write every frame received and sent to this pcapng file")
	fl.StringArrayVar(&f.sysctls, "sysctl", nil, "initial `KEY=VALUE` of a setting of net.ipv4.vs; repeat for several")
	fl.IntVar(&f.maxConns, "max-conns", 1<<22, "most connections and templates the table holds")
	fl.StringSliceVar(&f.ftpPorts, "ftp-ports", []string{"21"}, "virtual `ports` of masqueraded services that speak FTP, whose data connections usvs then follows; \"\" for none")
	fl.StringVar(&f.pprof, "pprof", "", "serve Go's profiles over HTTP at this `address:port` of the loopback interface")
	fl.BoolVar(&f.pprofAll, "pprof-public", false, "let --pprof have any address")
	fl.StringVar(&f.logFormat, "log-format", "text", "text or json")
	fl.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func runDirector(ctx context.Context, f runFlags) error {
	log, queue, err := newLogger(f, os.Stderr)
	if err != nil {
		return err
	}
	flush := func() { queue.flush(logPatience) }
	defer flush()        // at the end, and before what a panic says
	slog.SetDefault(log) // which package host writes to
	if err := direct(ctx, f, log, flush); err != nil {
		fmt.Fprintln(queue, "usvs:", err) // main would wait for who reads it
		return exitStatus(1)
	}
	return nil
}

// direct runs a director until it is to stop or cannot go on.
func direct(ctx context.Context, f runFlags, log *slog.Logger, flush func()) error {
	own, err := parseOwn(f.own)
	if err != nil {
		return err
	}
	if f.method, err = parseIO(f.io); err != nil {
		return err
	}
	if f.receiving, err = parseNAPI(f.napi); err != nil {
		return err
	}
	allowed, err := host.CPUs()
	if err != nil {
		return err
	}
	if f.plan, err = planWorkers(f.workers, f.cpus, allowed); err != nil {
		return err
	}
	vips, err := parseAddrs(f.vips)
	if err != nil {
		return err
	}
	if err := f.together(); err != nil {
		return err
	}
	ftpPorts, err := parsePorts("--ftp-ports", f.ftpPorts)
	if err != nil {
		return err
	}
	if f.settings, err = initialSysctls(f.sysctls); err != nil {
		return err
	}
	if err := host.CheckCapabilities(); err != nil {
		return err
	}
	conf, err := f.configure(log)
	if err != nil {
		return err
	}
	if f.pprof != "" {
		if f.profiles, err = listenProfiles(f.pprof, f.pprofAll); err != nil {
			return err
		}
		defer f.profiles.Close()
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	signals := catchSignals()
	defer signal.Stop(signals)
	ln, err := api.Listen(controlAddress) // before a second director touches anything
	if err != nil {
		return err
	}
	defer ln.Close()
	n, err := openNode(f, own, vips, ftpPorts, log)
	if err != nil {
		return err
	}
	defer n.close()
	n.flushLog = flush
	n.reload = func() error { return n.reloadRules(f.rules) }
	if f.rules != "" {
		if err := n.loadRules(f.rules); err != nil {
			return err
		}
	}
	if conf != nil {
		if err := n.openMachine(conf, f); err != nil {
			return err
		}
	}
	return n.run(ctx, ln, signals, func() {
		_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
		log.Info("director is running", "interfaces", n.names, "own", f.own, "control", controlAddress)
	})
}

// together refuses options that have no meaning beside, or without, each other.
func (f *runFlags) together() error {
	switch {
	case f.rules != "" && f.keepalived != "":
		return errors.New("--rules and --keepalived: want one of them; both say what the whole table is")
	case f.tun == "" && len(f.tunAddrs)+len(f.tunRoutes) > 0:
		return errors.New("--tun-addr and --tun-route are of the device that --tun NAME makes")
	case f.maxConns < 1:
		return fmt.Errorf("--max-conns %d: want at least 1", f.maxConns)
	case controlAddress == "":
		return errors.New("--control \"\": want @NAME or a path")
	}
	return nil
}

// configure reads the keepalived.conf, if there is one, and completes the
// interfaces from it.
func (f *runFlags) configure(log *slog.Logger) (conf *keepalived.Config, err error) {
	if f.keepalived != "" {
		f.conf = newConfFile(f.keepalived, f.configID, log)
		if conf, _, err = f.conf.read(); err != nil {
			return nil, err
		}
	}
	switch {
	case len(f.interfaces) > 0 || f.tun != "":
		return conf, nil
	case conf == nil:
		return nil, errors.New("no interface given: use -i INTERFACE (and --tun NAME where AF_PACKET is not allowed), or --keepalived FILE")
	}
	list, err := impliedInterfaces(conf, hostNetwork{host.InterfaceTo, host.InterfaceWith})
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if _, err := net.InterfaceByName(i.name); err != nil {
			log.Warn("an interface that the configuration needs is missing; restart when it is there", "interface", i.name, "for", i.why)
			continue
		}
		log.Info("the director runs on an interface that the configuration needs", "interface", i.name, "for", i.why)
		f.interfaces = append(f.interfaces, i.name)
	}
	if len(f.interfaces) == 0 {
		return nil, errors.New("none of the interfaces that the configuration needs is there: see ip link, or use -i INTERFACE")
	}
	return conf, nil
}

// newLogger makes the log of a director. It writes to stderr whenever stderr
// takes it.
func newLogger(f runFlags, stderr io.Writer) (*slog.Logger, *logQueue, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", f.logLevel)
	}
	handler, known := logFormats[f.logFormat]
	if !known {
		return nil, nil, fmt.Errorf("--log-format %q: want text or json", f.logFormat)
	}
	queue := newLogQueue(stderr, func(lost int) []byte {
		var line bytes.Buffer
		slog.New(handler(&line, level)).Warn("lines of the log are lost here: it was not read", "lines", lost)
		return line.Bytes()
	})
	return slog.New(handler(queue, level)), queue, nil
}

// logFormats are the words of --log-format.
var logFormats = map[string]func(io.Writer, slog.Leveler) slog.Handler{
	"text": func(w io.Writer, l slog.Leveler) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})
	},
	"json": func(w io.Writer, l slog.Leveler) slog.Handler {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})
	},
}

func parseOwn(s string) (control.Own, error) {
	switch s {
	case "services":
		return control.OwnServices, nil
	case "host":
		return control.OwnHost, nil
	}
	return 0, fmt.Errorf("--own %q: want services or host", s)
}

func parseAddrs(words []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, w := range words {
		a, err := netip.ParseAddr(w)
		if err != nil || a.Zone() != "" {
			return nil, fmt.Errorf("--vip %q: want an IPv4 or IPv6 address without prefix length", w)
		}
		addrs = append(addrs, a.Unmap())
	}
	return addrs, nil
}

// maxHelperPorts is how many the kernel's helper takes (ipvs.md 5.8).
const maxHelperPorts = 8

func parsePorts(flag string, words []string) ([]uint16, error) {
	if len(words) > maxHelperPorts {
		return nil, fmt.Errorf("%s: %d ports: at most %d", flag, len(words), maxHelperPorts)
	}
	var ports []uint16
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%s %q: want port numbers between 1 and 65535, separated by commas", flag, w)
		}
		ports = append(ports, uint16(n))
	}
	return ports, nil
}

func parsePrefixes(flag string, words []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, w := range words {
		p, err := netip.ParsePrefix(w)
		if err != nil {
			return nil, fmt.Errorf("%s %q: want an address with prefix length, like 10.0.0.1/24", flag, w)
		}
		list = append(list, p)
	}
	return list, nil
}

// loadRules makes the rules file the whole table, or says which line is wrong.
func (n *node) loadRules(path string) error {
	in := io.Reader(os.Stdin)
	name := "standard input"
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("rules: %w", err)
		}
		defer file.Close()
		in, name = file, path
	}
	return n.ctl.Load(name, in)
}

func (n *node) reloadRules(path string) error {
	switch path {
	case "":
		return errors.New("there is no rules file to read again: start with --rules FILE or --keepalived FILE")
	case "-":
		return errors.New("the rules came from standard input and cannot be read again")
	}
	if err := n.loadRules(path); err != nil {
		return err
	}
	n.log.Info("rules read again", "file", path)
	return nil
}

// stopGrace is how long the parts may take to end before the process goes anyway.
const stopGrace = 800 * time.Millisecond
