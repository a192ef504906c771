package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"usvs/oracle"
)

// oracleEnvironment names a folder of recordings.
const oracleEnvironment = "USVS_ORACLE"

func newOracleCmd() *cobra.Command {
	var o oracleOptions
	c := &cobra.Command{
		Use:   "oracle [DIR...]",
		Short: "Play recordings of the kernel's ip_vs through usvs and compare",
		Long: `Play recordings of a real Linux ip_vs (*.trace, and *.txt in folders called
text, below each DIR) through the production director and control plane in
virtual time, and compare: every frame, every line that a command printed, every
exit status. Nothing is executed on this machine and no privilege is needed.

Without a DIR, $USVS_ORACLE names the folder, else testdata/oracle of the
checkout that this is run in is played. The exit status is 1 if a recording
failed. See docs/oracle.md.`,
		RunE: func(c *cobra.Command, dirs []string) error {
			return playOracle(c.OutOrStdout(), dirs, &o)
		},
	}
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "name the recordings that pass, too")
	c.Flags().BoolVar(&o.json, "json", false, "report as JSON: one object with the results and their count")
	c.Flags().StringVar(&o.run, "run", "", "play only recordings whose FOLDER/CASE matches the regular expression")
	return c
}

type oracleOptions struct {
	verbose, json bool
	run           string
}

// oracleReport is what --json prints.
type oracleReport struct {
	Results []*oracle.Result `json:"results"`
	Count   oracle.Tally     `json:"count"`
}

func playOracle(out io.Writer, dirs []string, o *oracleOptions) error {
	list, err := recordings(dirs, o.run)
	if err != nil {
		return err
	}
	report := oracleReport{Results: []*oracle.Result{}}
	oracle.PlayAll(list, func(r *oracle.Result) {
		report.Count.Add(r)
		if o.json {
			report.Results = append(report.Results, r)
			return
		}
		printResult(out, r, o.verbose)
	})
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(&report); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(out, &report.Count)
	}
	if report.Count.Failed > 0 {
		return exitStatus(1)
	}
	return nil
}

// recordings finds what to play.
func recordings(dirs []string, run string) ([]oracle.Recording, error) {
	re, err := regexp.Compile(run)
	if err != nil {
		return nil, fmt.Errorf("--run: %w", err)
	}
	if len(dirs) == 0 {
		dir, err := oracleFolder()
		if err != nil {
			return nil, err
		}
		dirs = []string{dir}
	}
	all, err := oracle.Find(dirs...)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no recordings (*.trace, text/*.txt) below %s", strings.Join(dirs, " "))
	}
	list := oracle.Matching(all, re)
	if len(list) == 0 {
		return nil, fmt.Errorf("none of the %d recordings matches --run %s", len(all), run)
	}
	return list, nil
}

// oracleFolder is where the recordings are if nobody says: $USVS_ORACLE, or
// testdata/oracle of the checkout around the working directory.
func oracleFolder() (string, error) {
	if dir := os.Getenv(oracleEnvironment); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module usvs\n") {
			return filepath.Join(dir, "testdata", "oracle"), nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("which recordings? Name a folder, or set $USVS_ORACLE; " +
				"only inside a checkout of usvs are its own testdata/oracle played")
		}
		dir = filepath.Dir(dir)
	}
}

// printResult prints PASS or FAIL, the case, and what was different first.
func printResult(out io.Writer, r *oracle.Result, verbose bool) {
	if r.Passed {
		if verbose {
			fmt.Fprintf(out, "PASS %s (%d steps)\n", r.Name(), r.Steps)
		}
		return
	}
	fmt.Fprintf(out, "FAIL %s\n", r.Name())
	for line := range strings.Lines(r.Why()) {
		fmt.Fprintf(out, "     %s\n", strings.TrimRight(line, "\n"))
	}
}
