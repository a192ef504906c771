package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"usvs/bench"
	"usvs/bench/engine"
	benchsim "usvs/bench/sim"
	"usvs/bench/table"
)

// benchSuite is a suite under its name.
type benchSuite struct {
	name, about string
	run         bench.Suite
}

// benchSuites lists what this platform can measure, in the order of reports.
func benchSuites() []benchSuite {
	return append([]benchSuite{
		{"engine", "the director without devices: nanoseconds a frame, very many services, edits", engine.Suite},
		{"table", "the connection table: lookups, writers, memory, longest waits", table.Suite},
		{"sim", "frames a second of the simulated network", benchsim.Suite},
	}, platformSuites()...)
}

// benchParts are what the suites have processes of their own do.
var benchParts = map[string]bench.Part{table.Part: table.Flood}

// Names that stand for all suites.
const (
	benchAll  = "all"
	benchFull = "full"
)

// exitTargetMissed is usvs bench's with --strict, if a floor was not reached.
const exitTargetMissed = 1

// benchFlags are the options of usvs bench.
type benchFlags struct {
	rounds int
	only   string
	rival  string
	quick  bool
	out    string
	strict bool
	json   bool
}

func newBenchCmd() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench SUITE...",
		Short: "Measure usvs, and compare it with its targets and peers",
		Long:  benchHelp(),
		Args:  someWords("suites"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			suites, full, err := chooseSuites(args)
			if err != nil {
				return err
			}
			return f.run(ctx, suites, full, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.AddCommand(newBenchPartCmd(), newBenchFlameCmd(), newBenchProfileCmd(), newBenchReportCmd())
	fl := cmd.Flags()
	fl.IntVar(&f.rounds, "rounds", bench.DefaultRounds, "how often each figure is measured")
	fl.StringVar(&f.only, "only", "", "only figures whose `group/name` matches this regular expression")
	fl.StringVar(&f.rival, "usvs", "", "measure this `program`, another usvs, beside this one where both can be run")
	fl.BoolVar(&f.quick, "quick", false, "small and short: whether it works, not how fast it is")
	fl.StringVar(&f.out, "out", "", "write "+bench.MarkdownFile+", "+bench.JSONFile+" and "+bench.SVGFile+" to this directory, over older figures of the same names")
	fl.BoolVar(&f.strict, "strict", false, "exit status 1 if a figure is below its floor")
	fl.BoolVar(&f.json, "json", false, "print JSON instead of tables")
	cmd.AddCommand(newBenchInsideCmd())
	return cmd
}

// newBenchPartCmd is how a suite calls the program again.
func newBenchPartCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "part NAME JSON",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.ServePart(cmd.Context(), benchParts, args, cmd.OutOrStdout())
		},
	}
}

func benchHelp() string {
	var b strings.Builder
	b.WriteString("Measure usvs on this machine. Nothing else should run meanwhile. The suites:\n\n")
	for _, s := range benchSuites() {
		fmt.Fprintf(&b, "  %-8s%s\n", s.name, s.about)
	}
	fmt.Fprintf(&b, "  %-8s%s\n  %-8s%s\n", benchAll, "all of them", benchFull, "all, with what takes minutes")
	b.WriteString(`
Every figure stands beside its targets: the floor is what must be reached, the
aim what is wanted. Missed targets are no error, but with --strict.
docs/performance.md says how to read and repeat the figures.`)
	return b.String()
}

// run measures and reports. What was measured before an error or an interrupt
// is reported all the same.
func (f *benchFlags) run(ctx context.Context, suites []benchSuite, full bool, stdout, stderr io.Writer) error {
	o, err := f.options(stderr)
	if err != nil {
		return err
	}
	o.Full = full
	results, err := f.earlier()
	if err != nil {
		return err
	}
	figures, failed := measure(ctx, o, suites)
	if len(figures) == 0 {
		return cmp.Or(failed, fmt.Errorf("no figure of %s matches --only %q", joinNames(suites, " "), f.only))
	}
	run := bench.Run{
		Machine: bench.ThisMachine(), Commit: bench.Commit(), Date: time.Now().UTC().Truncate(time.Second),
		Command: benchCommand(os.Args), Figures: figures,
	}
	now := &bench.Report{Runs: []bench.Run{run}}
	results.Add(run)
	if err := f.report(now, results, stdout); err != nil || failed != nil {
		return errors.Join(failed, err)
	}
	if f.strict && now.Count(bench.BelowFloor) > 0 {
		return status(exitTargetMissed)
	}
	return nil
}

// benchCommand is the command line as the report has it.
func benchCommand(args []string) string {
	return strings.Join(append([]string{"usvs"}, args[1:]...), " ")
}

// chooseSuites finds the suites called names.
func chooseSuites(names []string) (chosen []benchSuite, full bool, err error) {
	all := benchSuites()
	for _, name := range names {
		i := slices.IndexFunc(all, func(s benchSuite) bool { return s.name == name })
		switch {
		case name == benchAll || name == benchFull:
			chosen, full = all, full || name == benchFull
		case i < 0:
			return nil, false, fmt.Errorf("no suite %q: there are %s, %s, %s", name, joinNames(all, ", "), benchAll, benchFull)
		case !slices.ContainsFunc(chosen, func(s benchSuite) bool { return s.name == name }):
			chosen = append(chosen, all[i])
		}
	}
	return chosen, full, nil
}

func joinNames(suites []benchSuite, sep string) string {
	var names []string
	for _, s := range suites {
		names = append(names, s.name)
	}
	return strings.Join(names, sep)
}

// options are what the suites are given.
func (f *benchFlags) options(stderr io.Writer) (*bench.Options, error) {
	o := &bench.Options{Rounds: f.rounds, Quick: f.quick, Progress: stderr}
	if f.rounds < 1 {
		return nil, fmt.Errorf("--rounds %d: want at least 1", f.rounds)
	}
	var err error
	if f.only != "" {
		if o.Only, err = regexp.Compile(f.only); err != nil {
			return nil, fmt.Errorf("--only: %w", err)
		}
	}
	if f.rival != "" {
		if o.Rival, err = filepath.Abs(f.rival); err == nil {
			_, err = os.Stat(o.Rival)
		}
		if err != nil {
			return nil, fmt.Errorf("--usvs: %w", err)
		}
	}
	o.Binary, err = os.Executable()
	return o, err
}

// earlier are the results that the directory of --out has.
func (f *benchFlags) earlier() (*bench.Report, error) {
	if f.out == "" {
		return &bench.Report{}, nil
	}
	return bench.Load(f.out)
}

// measure runs suites in turn, until one fails.
func measure(ctx context.Context, o *bench.Options, suites []benchSuite) ([]bench.Figure, error) {
	var figures []bench.Figure
	for _, s := range suites {
		got, err := s.run(ctx, o)
		figures = append(figures, got...)
		if err != nil {
			return figures, fmt.Errorf("suite %s: %w", s.name, err)
		}
	}
	return figures, nil
}

// report prints what was measured now, and saves all results there are.
func (f *benchFlags) report(now, results *bench.Report, stdout io.Writer) error {
	if err := now.Check(); err != nil {
		return err
	}
	if f.out != "" {
		if err := results.Save(f.out); err != nil {
			return err
		}
	}
	if f.json {
		return now.WriteJSON(stdout)
	}
	return now.WriteText(stdout)
}
