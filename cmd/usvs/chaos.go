package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usvs/chaos"
	"usvs/keepalived"
)

// chaosFlags are what `usvs chaos` was told.
type chaosFlags struct {
	seeds    int
	seed     uint64
	pair     bool
	faults   []string
	play     string
	html     string
	asJSON   bool
	plan     bool
	workers  int
	shrink   int
	configID string
	quiet    bool
}

// Exit statuses of `usvs chaos`.
const (
	chaosViolated = 1
	chaosBadInput = 2
)

func newChaosCmd() *cobra.Command {
	var f chaosFlags
	faults, mistakes := chaos.Kinds()
	cmd := &cobra.Command{
		Use:   "chaos FILE [FILE]",
		Short: "Try a keepalived.conf out: break things at random and see what its timers are worth",
		Long: `Build the network that one or two keepalived.conf imply, in the simulator: the
directors, real servers, a router and clients. Then cut cables, stall and crash
directors, stop servers, lose frames, from seeds, while clients ask for every
service all the time, and hold what they see against what the configurations'
own timers promise: one master, reachable in time after the last fault, no
request to a server that is known to be dead, no change of master without cause,
connections kept where they are synchronised.

Printed are the network and what was assumed about it, the promises, how long
outages were, the worst one as a timeline with both directors' logs, and for each
promise that was broken the fewest faults that break it, why, and which lines are
to blame. Nothing real is touched. docs/chaos.md tells more.

Faults are ` + kindNames(faults) + `.
Mistakes of whoever set the network up, tried only if they are named:
` + kindNames(mistakes) + `.

The exit status is 0 if all promises were kept, 1 if not, 2 for bad input.`,
		Example: `  usvs chaos master.conf backup.conf
  usvs chaos --pair keepalived.conf --seeds 10000 --html outage.html
  usvs chaos master.conf backup.conf --faults multicast,vip-missing
  usvs chaos master.conf backup.conf --seed 4711 --seeds 1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return fmt.Errorf("which configurations? usvs chaos FILE, or usvs chaos FILE FILE for the two nodes of a pair (%d given)", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			err := runChaos(cmd.OutOrStdout(), cmd.ErrOrStderr(), cmd.InOrStdin(), &f, args)
			if status := exitStatus(0); err == nil || errors.As(err, &status) {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "usvs chaos: %v\n", err)
			return exitStatus(chaosBadInput)
		},
	}
	fl := cmd.Flags()
	fl.IntVar(&f.seeds, "seeds", 1000, "how many seeds")
	fl.Uint64Var(&f.seed, "seed", 1, "the first seed")
	fl.BoolVar(&f.pair, "pair", false, "make the other node's configuration of the one file: state and priority swapped")
	fl.StringSliceVar(&f.faults, "faults", nil, "only faults of these `kinds`")
	fl.StringVar(&f.play, "play", "", "the faults in this `file` instead of the seeds' own; - is standard input")
	fl.StringVar(&f.html, "html", "", "write a page with the timelines to this `file`")
	fl.BoolVar(&f.asJSON, "json", false, "the report as JSON")
	fl.BoolVar(&f.plan, "plan", false, "only print the network that the files imply, and the promises")
	fl.IntVar(&f.workers, "workers", runtime.GOMAXPROCS(0), "seeds played at once")
	fl.IntVar(&f.shrink, "shrink", 200, "how many runs may be spent to simplify each finding")
	fl.StringVarP(&f.configID, "config-id", "i", shortHostname(), "the id that lines with @ are for")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no notice of progress")
	return badUsage(cmd, chaosBadInput)
}

func kindNames(list []chaos.Kind) string {
	var names []string
	for _, k := range list {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func runChaos(out, errs io.Writer, in io.Reader, f *chaosFlags, args []string) error {
	if f.seeds < 1 || f.workers < 1 || f.shrink < 0 {
		return errors.New("--seeds and --workers are at least 1, --shrink at least 0")
	}
	if f.seed > math.MaxUint64-uint64(f.seeds) {
		return fmt.Errorf("--seed %d: there are no %d seeds from there on", f.seed, f.seeds)
	}
	disk := &scriptsThere{diskFiles{in: in}}
	lab, err := chaosLab(f, disk, errs, args)
	if err != nil {
		return err
	}
	if f.plan {
		_, err := fmt.Fprintf(out, "%s\nwhat the timers promise:\n%s", lab.Describe(), chaos.NewBounds(lab).Describe(lab))
		return err
	}
	o, err := chaosOptions(f, disk)
	if err != nil {
		return err
	}
	if !f.quiet {
		o.Progress = progressOf(errs, f.seeds)
	}
	report, err := chaos.Run(lab, o)
	if err != nil {
		return err
	}
	return reportChaos(out, f, report)
}

// scriptsThere are this host's files, on which every script can be run: the
// configuration may be another host's.
type scriptsThere struct{ diskFiles }

// Executable implements keepalived.Files.
func (*scriptsThere) Executable(string) bool { return true }

// runnable says what is wrong with a configuration, and is an error only of one
// that keepalived would not run by: it makes do with most mistakes.
func runnable(errs io.Writer, name string, config *keepalived.Config, report *keepalived.Report) error {
	for _, p := range report.Problems {
		if p.Class == keepalived.Fatal {
			return fmt.Errorf("%v; see usvs check %s", p, name)
		}
		if p.Class == keepalived.Invalid {
			fmt.Fprintf(errs, "usvs chaos: %v; tried without it, as keepalived does\n", p)
		}
	}
	if len(config.Files) == 0 {
		return fmt.Errorf("%s cannot be read; see usvs check %s", name, name)
	}
	return nil
}

// chaosLab reads the configurations.
func chaosLab(f *chaosFlags, disk *scriptsThere, errs io.Writer, args []string) (*chaos.Lab, error) {
	var inputs []chaos.Input
	dir, _ := os.Getwd()
	for _, name := range args {
		config, report := keepalived.Parse(name, keepalived.Options{Files: disk, ConfigID: f.configID, Dir: dir, Extensions: true})
		if err := runnable(errs, name, config, report); err != nil {
			return nil, err
		}
		inputs = append(inputs, chaos.Input{Name: name, Config: config})
	}
	if f.pair {
		if len(inputs) != 1 {
			return nil, errors.New("--pair makes a second node of one file")
		}
		peer, err := chaos.Pair(inputs[0])
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, peer)
	}
	return chaos.NewLab(inputs)
}

func chaosOptions(f *chaosFlags, disk *scriptsThere) (chaos.Options, error) {
	o := chaos.Options{First: f.seed, Seeds: f.seeds, Workers: f.workers, Shrink: f.shrink}
	faults, mistakes := chaos.Kinds()
	for _, name := range f.faults {
		k := chaos.Kind(name)
		if !slices.Contains(slices.Concat(faults, mistakes), k) {
			return o, fmt.Errorf("--faults: there is no %q; there are %s", name, kindNames(slices.Concat(faults, mistakes)))
		}
		o.Kinds = append(o.Kinds, k)
	}
	if f.play == "" {
		return o, nil
	}
	text, err := disk.Read(f.play)
	if err != nil {
		return o, err
	}
	if o.Schedule, err = chaos.ParseSchedule(string(text)); err != nil {
		return o, fmt.Errorf("%s: %w", f.play, err)
	}
	if o.Schedule == nil {
		o.Schedule = chaos.Schedule{}
	}
	return o, nil
}

// progressOf tells now and then how far the seeds are.
func progressOf(errs io.Writer, seeds int) func(int) {
	begin, last := time.Now(), time.Now()
	return func(done int) {
		if time.Since(last) > noticeEvery {
			last = time.Now()
			fmt.Fprintf(errs, "usvs chaos: %d of %d seeds, %.0f a second\n", done, seeds, float64(done)/time.Since(begin).Seconds())
		}
	}
}

func reportChaos(out io.Writer, f *chaosFlags, report *chaos.Report) error {
	if f.html != "" {
		if err := writeChaosPage(f.html, report); err != nil {
			return err
		}
	}
	write := report.Write
	if f.asJSON {
		write = report.WriteJSON
	}
	if err := write(out); err != nil {
		return err
	}
	if !report.Held() {
		return exitStatus(chaosViolated)
	}
	return nil
}

func writeChaosPage(name string, report *chaos.Report) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(report.WritePage(file), file.Close())
}
