package ipvsadm

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// recordedLines are the command lines of all recordings.
func recordedLines(tb testing.TB) []string {
	paths, err := filepath.Glob("../testdata/oracle/text/*.txt")
	require.NoError(tb, err)
	var lines []string
	for _, path := range append(paths, "testdata/usage.txt") {
		text, err := os.ReadFile(path)
		require.NoError(tb, err)
		for line := range strings.Lines(string(text)) {
			if args, ok := strings.CutPrefix(line, "$ ipvsadm "); ok {
				lines = append(lines, strings.TrimSpace(args))
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// checkRun holds what is true of every run.
func checkRun(t *testing.T, m *model, status int, stdout, stderr string) {
	require.Contains(t, []int{0, 1, 2, 255}, status)
	if status == 0 {
		return
	}
	if stdout == "" && status != 1 {
		require.NotEmpty(t, stderr, "a failure has a reason")
	}
	if status == 2 && !strings.HasPrefix(stderr, "Can't") {
		require.Empty(t, m.calls, "a bad command line reaches nobody")
	}
}

func FuzzCommandLine(f *testing.F) {
	for _, line := range recordedLines(f) {
		f.Add(strings.ReplaceAll(line, " ", "\x00"))
	}
	names := oracleNames()
	f.Fuzz(func(t *testing.T, line string) {
		m := newModel()
		var out, errs bytes.Buffer
		args := append([]string{"ipvsadm"}, strings.Split(line, "\x00")...)
		status := Run(args, m, names, strings.NewReader(""), &out, &errs)
		checkRun(t, m, status, out.String(), errs.String())
		if len(m.services) == 0 {
			return
		}
		checkSaved(t, m)
	})
}

// checkSaved saves the table, and restores it unless it has one of the marks
// or flags that cannot be written down.
func checkSaved(t *testing.T, m *model) {
	saved, _, status := play(m, "", "-Sn")
	require.Zero(t, status)
	if strings.Contains(saved, "-f -") || strings.Contains(saved, "-b \n") || strings.HasSuffix(saved, " -b") {
		return
	}
	again := newModel()
	_, stderr, status := play(again, saved, "-R")
	require.Empty(t, stderr, saved)
	require.Zero(t, status)
	second, _, _ := play(again, "", "-Sn")
	require.Equal(t, saved, second)
}

func FuzzRestore(f *testing.F) {
	lines := recordedLines(f)
	for i := 0; i+4 <= len(lines); i += 4 {
		f.Add(strings.Join(lines[i:i+4], "\n"))
	}
	f.Add("ipvsadm -A -t 10.9.0.1:80 -s rr\n\n# comment\n-a -t 10.9.0.1:80 -r 10.1.0.11\r\n")
	names := oracleNames()
	f.Fuzz(func(t *testing.T, input string) {
		m := newModel()
		var out, errs bytes.Buffer
		status := Run([]string{"ipvsadm", "-R"}, m, names, strings.NewReader(input), &out, &errs)
		require.Contains(t, []int{0, 1, 2, 255}, status)
		_, _, saved := play(m, "", "-S")
		require.Zero(t, saved)
	})
}
