package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"usvs/bench"
	"usvs/bench/conns"
	"usvs/bench/frames"
	"usvs/bench/lab"
)

// platformSuites are those that need Linux.
func platformSuites() []benchSuite {
	var list []benchSuite
	for _, s := range labSuites {
		list = append(list, benchSuite{s.name, s.about, func(ctx context.Context, o *bench.Options) ([]bench.Figure, error) {
			figures, err := lab.Enter(ctx, o, "bench", "inside", s.name)
			if errors.Is(err, bench.ErrSkip) { // other suites may be possible
				none := bench.Figure{Group: s.name, Name: "everything", Unit: "-", Better: bench.Higher, Skipped: bench.Reason(err)}
				return append(figures, none), nil
			}
			return figures, err
		}})
	}
	return list
}

// labSuites run in namespaces of their own.
var labSuites = []benchSuite{
	{"io", "frames a second through interfaces, of usvs and of the kernel", frames.Suite},
	{"tcp", "TCP through usvs, the kernel and proxies: bulk data, requests, delays", conns.Suite},
}

// newBenchInsideCmd is what lab.Enter starts.
func newBenchInsideCmd() *cobra.Command {
	return &cobra.Command{Use: "inside SUITE", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		for _, s := range labSuites {
			if s.name == args[0] {
				return lab.Inside(ctx, s.run, os.Stdin, os.Stdout, os.Stderr)
			}
		}
		return fmt.Errorf("no suite %q", args[0])
	}}
}
