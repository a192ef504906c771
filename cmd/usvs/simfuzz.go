package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"usvs/netsim/fuzz"
)

// fuzzFlags are the options of usvs sim fuzz.
type fuzzFlags struct {
	seeds   int
	minutes float64
	seed    uint64
	workers int
	shrink  int
	out     string
	quiet   bool
}

func newSimFuzzCmd() *cobra.Command {
	var f fuzzFlags
	cmd := &cobra.Command{
		Use:   "fuzz [FILE]",
		Short: "Play random scenarios and watch what must never happen",
		Long: `Play random scenarios: a seed makes a network, services, edits, traffic and
faults, and after every frame the director's doings are judged. A case that
breaks an invariant is shrunk to the lines it needs, which are written to a
file; with FILE, that case is played again with its --seed.

Without --seeds and --minutes, 200 cases are played. Without --seed, the first
seed is 1 for a number of seeds, and drawn for a number of minutes.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return replayFuzz(&f, args[0], cmd.OutOrStdout())
			}
			if !cmd.Flags().Changed("seed") && f.seeds == 0 && f.minutes > 0 {
				f.seed = rand.Uint64() >> 16
			}
			return runFuzz(&f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.IntVar(&f.seeds, "seeds", 0, "how many cases")
	fl.Float64Var(&f.minutes, "minutes", 0, "for how long")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the first case")
	fl.IntVar(&f.workers, "workers", runtime.GOMAXPROCS(0), "cases played at once")
	fl.IntVar(&f.shrink, "shrink", 2000, "how many cases may be played to shrink one that fails")
	fl.StringVar(&f.out, "out", "", "where to write a case that fails; default: fuzz-SEED.txt")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no table of what occurred")
	return cmd
}

func runFuzz(f *fuzzFlags, stdout, stderr io.Writer) error {
	if f.seeds < 0 || f.minutes < 0 || f.workers < 1 {
		return errors.New("--seeds, --minutes and --workers must be positive")
	}
	if f.seeds == 0 && f.minutes == 0 {
		f.seeds = 200
	}
	begin, last := time.Now(), time.Now()
	cover, err := fuzz.Run(fuzz.Options{
		First: f.seed, Seeds: f.seeds, Time: time.Duration(f.minutes * float64(time.Minute)),
		Workers: f.workers, Shrink: f.shrink,
		Progress: func(c *fuzz.Coverage) {
			if time.Since(last) > noticeEvery {
				last = time.Now()
				fmt.Fprintf(stderr, "usvs sim fuzz: %d cases, %d frames\n", c.Cases, c.Deliveries)
			}
		},
	})
	if !f.quiet {
		cover.Write(stdout)
	}
	minutes := time.Since(begin).Minutes()
	fmt.Fprintf(stdout, "\nseeds %d and on: %d cases, %d frames delivered, %.0f a minute\n",
		f.seed, cover.Cases, cover.Deliveries, float64(cover.Deliveries)/minutes)
	return reportFuzz(f, err, stdout)
}

// reportFuzz writes a case that failed to a file, and how to play it again.
func reportFuzz(f *fuzzFlags, err error, stdout io.Writer) error {
	var bad *fuzz.Failure
	if !errors.As(err, &bad) {
		return err
	}
	name := f.out
	if name == "" {
		name = fmt.Sprintf("fuzz-%d.txt", bad.Seed)
	}
	if err := os.WriteFile(name, []byte(bad.Case), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "FAIL  seed %d\n%s\n%s      again: usvs sim fuzz --seed %d %s\n",
		bad.Seed, indent(bad.Violation.Error()), indent(bad.Case)+"\n", bad.Seed, name)
	return status(exitScenarioFailed)
}

func replayFuzz(f *fuzzFlags, name string, stdout io.Writer) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	err = fuzz.Play(string(text), f.seed, fuzz.NewCoverage())
	var v *fuzz.Violation
	if errors.As(err, &v) {
		fmt.Fprintf(stdout, "FAIL  %s, seed %d\n%s\n", name, f.seed, indent(v.Error()))
		return status(exitScenarioFailed)
	}
	if err == nil {
		fmt.Fprintf(stdout, "ok    %s, seed %d\n", name, f.seed)
	}
	return err
}
