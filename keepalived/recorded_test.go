package keepalived

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// verdict is what a program says about a configuration: the exit status of a
// test and the lines it names.
type verdict struct {
	status int
	lines  []int
}

const crashed = -1

// recorded is a configuration and what keepalived 2.2.7 says about it.
type recorded struct {
	name, text string
	verdict
}

// readRecorded reads a file of configurations, each between a line "=== NAME"
// and a line "--- STATUS LINE...".
func readRecorded(t testing.TB, file string) (all []recorded) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var c recorded
	for line := range strings.Lines(string(data)) {
		switch {
		case strings.HasPrefix(line, "=== "):
			c = recorded{name: strings.TrimSpace(line[4:])}
		case strings.HasPrefix(line, "--- "):
			c.verdict = parseVerdict(t, line[4:])
			all = append(all, c)
			c = recorded{}
		case c.name != "":
			c.text += line
		}
	}
	require.NotEmpty(t, all)
	return all
}

func parseVerdict(t testing.TB, text string) (v verdict) {
	t.Helper()
	for i, w := range strings.Fields(text) {
		n, err := strconv.Atoi(w)
		if i == 0 && w == "crash" {
			n, err = crashed, nil
		}
		require.NoError(t, err)
		if i == 0 {
			v.status = n
			continue
		}
		v.lines = append(v.lines, n)
	}
	return v
}

// testFiles is the host of the recordings: it has one script.
type testFiles struct{ Text }

func (testFiles) Executable(name string) bool { return name == "/bin/true" }

const testFile = "keepalived.conf"

func parseText(text string) (*Config, *Report) {
	return Parse(testFile, Options{Files: testFiles{Text{testFile: text}}, ConfigID: "vm", Dir: "/"})
}

// differs says how our report is not what keepalived said, or nothing. Where
// we go on after a mistake in a better way than keepalived, the first line
// must be the same; otherwise all lines that keepalived names.
func differs(r *Report, theirs verdict) string {
	switch {
	case theirs.status == crashed:
		if r.Status() == 0 {
			return "accepted, but keepalived crashes"
		}
		return ""
	case r.Status() == 0 && theirs.status == 5 && isUnchecked(r, theirs.lines):
		return ""
	case r.Recovered && r.Status() != 0 && theirs.status != 0:
	case r.Status() != theirs.status:
		return fmt.Sprintf("status %d, but keepalived says %d", r.Status(), theirs.status)
	}
	early, all := reportLines(r)
	if r.Status() == 2 || theirs.status == 2 {
		return "" // keepalived stops at the first
	}
	if r.Recovered {
		for _, l := range theirs.lines {
			if len(early) > 0 && l >= early[0] {
				return ""
			}
			if !slices.Contains(all, l) {
				return fmt.Sprintf("nothing about line %d, which keepalived names", l)
			}
		}
		return ""
	}
	for _, l := range theirs.lines {
		if !slices.Contains(all, l) {
			return fmt.Sprintf("nothing about line %d, which keepalived names", l)
		}
	}
	for _, l := range early {
		if !slices.Contains(theirs.lines, l) {
			return fmt.Sprintf("line %d, which keepalived does not name", l)
		}
	}
	return ""
}

// reportLines are the lines that a report calls errors, early the ones found
// while reading.
func reportLines(r *Report) (early, all []int) {
	for _, at := range r.unchecked {
		all = append(all, at.Line)
	}
	for _, p := range r.Problems {
		if !p.Class.Error() {
			continue
		}
		all = append(all, p.Line)
		if !p.late {
			early = append(early, p.Line)
		}
	}
	slices.Sort(early)
	slices.Sort(all)
	return early, all
}

// isUnchecked reports whether we say of every line that keepalived names, or of
// some place if it names none, that we do not look at it.
func isUnchecked(r *Report, lines []int) bool {
	var ours []int
	for _, at := range r.unchecked {
		ours = append(ours, at.Line)
	}
	for _, l := range lines {
		if !slices.Contains(ours, l) {
			return false
		}
	}
	return len(ours) > 0
}

// explainReport is a report for a failed test.
func explainReport(r *Report) string {
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintln(&b, "  ", p)
	}
	return b.String()
}

// TestRecorded: configurations of a few lines, most of them wrong in one way.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	for _, file := range files {
		for _, c := range readRecorded(t, file) {
			t.Run(filepath.Base(file)+"/"+c.name, func(t *testing.T) {
				_, report := parseText(c.text)
				if why := differs(report, c.verdict); why != "" {
					t.Errorf("%s\nrecorded: %v\n%s%s", why, c.verdict, c.text, explainReport(report))
				}
			})
		}
	}
}
