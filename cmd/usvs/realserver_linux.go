package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"usvs/host"
)

// realServerFlags are what `usvs realserver` was told.
type realServerFlags struct {
	vips      []string
	mode      string
	device    string
	stateDir  string
	userspace bool
	decap     host.DecapsulatorOptions
}

func newRealServerCmd() *cobra.Command {
	var f realServerFlags
	cmd := &cobra.Command{
		Use:   "realserver",
		Short: "Set up this host as a real server for direct routing or tunnelling",
		Long: `Set up this host as a real server: the VIP on lo, and the network kept from
learning that it is there (arp_ignore, arp_announce). For tunnelling also the
decapsulation: by the kernel where it can, else by a process of usvs. "down"
puts back what was there before.`,
		Args: knownCommand, SuggestionsMinimumDistance: 2, RunE: helpOnly,
	}
	fl := cmd.PersistentFlags()
	fl.StringArrayVar(&f.vips, "vip", nil, "virtual address; repeat for several")
	fl.StringVar(&f.mode, "mode", "dr", "how packets come: dr or tun")
	fl.StringVar(&f.device, "dev", "", "interface towards the network, besides all of them")
	fl.StringVar(&f.stateDir, "state-dir", host.DefaultStateDir, "where to remember what down restores")
	up := &cobra.Command{
		Use: "up --vip ADDR [--mode dr|tun]", Short: "Add VIPs", Args: noWords("; addresses are named with --vip"),
		RunE: func(*cobra.Command, []string) error { return f.up() },
	}
	up.Flags().BoolVar(&f.userspace, "userspace", false, "decapsulate in user space even where the kernel can")
	f.addDecapFlags(up)
	decap := &cobra.Command{
		Use: "decap", Short: "Unpack tunnelled packets in the foreground", Args: noWords("; addresses are named with --vip"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.runDecapsulator(cmd) },
	}
	f.addDecapFlags(decap)
	cmd.AddCommand(up, decap,
		&cobra.Command{
			Use: "down [--vip ADDR]", Short: "Take VIPs away, all if none are named", Args: noWords("; addresses are named with --vip"),
			RunE: func(*cobra.Command, []string) error { return f.down() },
		},
		&cobra.Command{
			Use: "status [--vip ADDR]", Short: "Show what is there and what is missing; exit status 1 if anything is", Args: noWords("; addresses are named with --vip"),
			RunE: func(*cobra.Command, []string) error { return f.status() },
		})
	return cmd
}

func (f *realServerFlags) addDecapFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.decap.GRE, "gre", false, "unpack GRE too (in user space)")
	cmd.Flags().Uint16Var(&f.decap.GUEPort, "gue-port", 0, "unpack GUE on this UDP port too (in user space)")
}

func (f *realServerFlags) options() (host.RealServerOptions, error) {
	vips, err := parseAddrs(f.vips)
	if err != nil {
		return host.RealServerOptions{}, err
	}
	if f.mode != "dr" && f.mode != "tun" {
		return host.RealServerOptions{}, fmt.Errorf("--mode %q: want dr or tun (a NAT real server needs only its default route to be the director)", f.mode)
	}
	return host.RealServerOptions{
		VIPs: vips, Tunnel: f.mode == "tun", Device: f.device, StateDir: f.stateDir,
		Userspace: f.userspace || f.decap.GRE || f.decap.GUEPort != 0,
	}, nil
}

func (f *realServerFlags) up() error {
	opts, err := f.options()
	if err != nil {
		return err
	}
	if len(opts.VIPs) == 0 {
		return errors.New("no virtual address given: use --vip ADDR")
	}
	more := f.decap.GRE || f.decap.GUEPort != 0
	if more && !opts.Tunnel {
		return errors.New("--gre and --gue-port: want --mode tun, too")
	}
	needsDecapsulator, err := host.RealServerUp(opts)
	if err != nil || !needsDecapsulator && !more {
		return err
	}
	if more { // than one that runs already may unpack
		if err := host.StopDecapsulator(); err != nil {
			return err
		}
	}
	return f.startDecapsulator()
}

func (f *realServerFlags) down() error {
	opts, err := f.options()
	if err != nil {
		return err
	}
	return host.RealServerDown(opts)
}

func (f *realServerFlags) status() error {
	opts, err := f.options()
	if err != nil {
		return err
	}
	report, err := host.RealServerStatus(opts)
	if err != nil {
		return err
	}
	fmt.Print(report)
	if !report.OK() {
		return exitStatus(1)
	}
	return nil
}

// decapReady is the line by which a decapsulator says that it is at work.
const decapReady = "ready"

// startDecapsulator starts one as a process of its own, which goes on when this
// command ends, and waits until it works.
func (f *realServerFlags) startDecapsulator() error {
	if host.DecapsulatorRuns() {
		return nil
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"usvs", "realserver", "decap"} // what ps shows
	if f.decap.GRE {
		cmd.Args = append(cmd.Args, "--gre")
	}
	if f.decap.GUEPort != 0 {
		cmd.Args = append(cmd.Args, "--gue-port", strconv.Itoa(int(f.decap.GUEPort)))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the decapsulator: %w", err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) == decapReady {
		return cmd.Process.Release()
	}
	_ = cmd.Wait()
	return fmt.Errorf("the decapsulator did not start: %s", strings.TrimSpace(complaint.String()))
}

func (f *realServerFlags) runDecapsulator(cmd *cobra.Command) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	opts := f.decap
	opts.Device = f.device
	opts.Ready = func() {
		fmt.Println(decapReady)
		detach()
	}
	return host.RunDecapsulator(ctx, opts)
}

// detach lets go of the starter's pipes: it waits for their end.
func detach() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	if info, err := os.Stdout.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return // somebody reads along in a terminal or a log
	}
	for _, fd := range []int{1, 2} {
		_ = syscall.Dup3(int(null.Fd()), fd, 0)
	}
}
