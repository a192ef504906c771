package scenario

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestScenarios plays every scenario of the product in the simulation.
func TestScenarios(t *testing.T) {
	files, err := Load("../scenarios")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 30)
	for _, f := range files {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			if reason, ok := f.For("sim"); !ok {
				t.Skip(reason)
			}
			require.NotEmpty(t, f.Title, "a scenario begins with a comment that says what it is")
			w := NewSim(1)
			if err := Run(f, w, Options{World: "sim"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOnlySimIsTheException: nearly all scenarios hold in every world, but for
// those of what only the simulation has.
func TestOnlySimIsTheException(t *testing.T) {
	files, err := Load("../scenarios")
	require.NoError(t, err)
	var only []string
	for _, f := range files {
		if _, ok := f.For("netns"); !ok && f.Reason != reasonSimOnly {
			only = append(only, f.Name)
			require.NotEmpty(t, f.Reason)
		}
	}
	require.LessOrEqual(t, len(only), 5, only)
}

// TestEverySchedulerHasAScenario, by its name.
func TestEverySchedulerHasAScenario(t *testing.T) {
	for _, name := range []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"} {
		f, err := loadFile("../scenarios/sched-" + name + ".txt")
		require.NoError(t, err)
		used := slices.ContainsFunc(f.Steps, func(s Step) bool { return strings.Contains(s.Text, " -s "+name) })
		require.True(t, used || name == "wlc", name)
	}
}

// TestDocumentation: its example works, its failure reads as shown, and the
// scenarios it names exist.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../docs/scenarios.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "## An example\n\n")
	require.True(t, ok)
	example, rest, ok := strings.Cut(rest, "\n\nWhat fails")
	require.True(t, ok)
	example = strings.ReplaceAll("\n"+example, "\n    ", "\n")[1:] + "\n"
	run := func(text string) error {
		f, err := Parse("example.txt", []byte(text))
		require.NoError(t, err)
		return Run(f, NewSim(1), Options{World: "sim"})
	}
	require.NoError(t, run(example))
	failure := run(strings.Replace(example, "answered rs1 15 rs2 15", "answered rs1 20 rs2 10", 1))
	require.ErrorContains(t, failure, "example.txt:16:")
	shown, _, _ := strings.Cut(rest, "## The command")
	require.Contains(t, shown, strings.ReplaceAll(failure.Error(), "\n", "\n          "))

	_, list, ok := strings.Cut(string(text), "## What is there")
	require.True(t, ok)
	files, err := Load("../scenarios")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile("`([a-z0-9-]+)`").FindAllStringSubmatch(list, -1) {
		found := slices.ContainsFunc(files, func(f *File) bool { return strings.Contains(f.Name, "/"+m[1]) })
		require.True(t, found, m[1])
	}
}
