package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"usvs/bench/engine"
)

// profileFlags are the options of usvs bench profile.
type profileFlags struct {
	seconds float64
	flows   int
}

func newBenchProfileCmd() *cobra.Command {
	var f profileFlags
	cmd := &cobra.Command{
		Use:   "profile FILE",
		Short: "Write a processor profile of all that a director does with frames",
		Long: `Keep directors without devices busy with all forwarding methods, with both
families, with answers and with new connections, and write a processor profile of
that in the format of runtime/pprof. The compiler builds usvs by such a profile:
make pgo writes a new one to cmd/usvs/default.pgo.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			profile, err := f.record(cmd.Context())
			if err != nil {
				return err
			}
			return os.WriteFile(args[0], profile, 0o644)
		},
	}
	fl := cmd.Flags()
	fl.Float64Var(&f.seconds, "seconds", 4, "for how long with each of them")
	fl.IntVar(&f.flows, "flows", 20_000, "connections")
	return cmd
}

func (f *profileFlags) record(ctx context.Context) ([]byte, error) {
	if f.flows < 1 || f.seconds <= 0 {
		return nil, fmt.Errorf("--flows %d --seconds %g: both must be positive", f.flows, f.seconds)
	}
	var b bytes.Buffer
	if err := pprof.StartCPUProfile(&b); err != nil {
		return nil, err
	}
	err := engine.Workout(ctx, f.flows, time.Duration(f.seconds*float64(time.Second)))
	pprof.StopCPUProfile()
	return b.Bytes(), err
}
