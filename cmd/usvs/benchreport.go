package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"usvs/bench"
)

// newBenchReportCmd shows and joins results.
func newBenchReportCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "report DIR...",
		Short: "Show results that were written with --out, or join those of several directories",
		Args:  someWords("results"),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			results, err := joinResults(dirs)
			if err != nil {
				return err
			}
			if out != "" {
				return results.Save(out)
			}
			return results.WriteText(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the files to this directory instead")
	return cmd
}

// joinResults reads directories. Of a figure that several have the last counts.
func joinResults(dirs []string) (*bench.Report, error) {
	var all bench.Report
	for _, dir := range dirs {
		r, err := bench.Load(dir)
		if err != nil {
			return nil, err
		}
		if len(r.Runs) == 0 {
			return nil, fmt.Errorf("%s has no %s", dir, bench.JSONFile)
		}
		for _, run := range r.Runs {
			all.Add(run)
		}
	}
	return &all, nil
}
