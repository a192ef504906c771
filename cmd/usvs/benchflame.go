package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"usvs/bench/engine"
	"usvs/bench/flame"
)

// flameFlags are the options of usvs bench flame.
type flameFlags struct {
	out     string
	below   string
	title   string
	seconds float64
	flows   int
}

// belowHandle is where the picture of a director without devices begins: the
// making of its frames is not of interest.
const belowHandle = `^usvs/director\.\(\*Worker\)\.(Handle|Tick)$`

func newBenchFlameCmd() *cobra.Command {
	var f flameFlags
	cmd := &cobra.Command{
		Use:   "flame [PROFILE]",
		Short: "Draw where the processor's time goes",
		Long: `Draw a processor profile as a flame graph: an SVG file, whose widths are time.
The profile is one of runtime/pprof, such as a director started with --pprof
ADDRESS gives at http://ADDRESS/debug/pprof/profile, or has folded stacks, one a
line. Without PROFILE a director without devices is kept busy with direct
routing, and profiled.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			stacks, err := f.stacks(cmd.Context(), args)
			if err != nil {
				return err
			}
			return f.draw(stacks, cmd.OutOrStdout())
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.out, "out", "o", "", "write to this file instead of the standard output")
	fl.StringVar(&f.below, "below", "", "only what is called by functions whose names match this regular expression")
	fl.StringVar(&f.title, "title", "usvs", "what the picture shows")
	fl.Float64Var(&f.seconds, "seconds", 5, "without PROFILE: for how long")
	fl.IntVar(&f.flows, "flows", 100_000, "without PROFILE: established connections")
	return cmd
}

// stacks are those of a file, or of a director that is made for it.
func (f *flameFlags) stacks(ctx context.Context, args []string) (*flame.Stacks, error) {
	profile, below := io.Reader(nil), f.below
	if len(args) == 1 {
		file, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer file.Close()
		profile = file
	} else {
		own, err := f.own(ctx)
		if err != nil {
			return nil, err
		}
		profile = own
		if below == "" {
			below = belowHandle
		}
	}
	stacks, err := flame.Read(profile)
	if err != nil || below == "" {
		return stacks, err
	}
	match, err := regexp.Compile(below)
	if err != nil {
		return nil, fmt.Errorf("--below: %w", err)
	}
	return stacks.Below(match), nil
}

// own profiles a director without devices.
func (f *flameFlags) own(ctx context.Context) (io.Reader, error) {
	if f.flows < 1 || f.seconds <= 0 {
		return nil, fmt.Errorf("--flows %d --seconds %g: both must be positive", f.flows, f.seconds)
	}
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		return nil, err
	}
	err := engine.Exercise(ctx, "-g", f.flows, time.Duration(f.seconds*float64(time.Second)))
	pprof.StopCPUProfile()
	return &b, err
}

func (f *flameFlags) draw(stacks *flame.Stacks, stdout io.Writer) error {
	var b bytes.Buffer
	if err := stacks.WriteSVG(&b, f.title); err != nil {
		return err
	}
	if f.out != "" {
		return os.WriteFile(f.out, b.Bytes(), 0o644)
	}
	_, err := stdout.Write(b.Bytes())
	return err
}
