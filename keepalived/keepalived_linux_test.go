package keepalived

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// TestInstalled compares us with the keepalived that is installed: fresh
// configurations, valid and mutated, and some of those recorded.
// USVS_KEEPALIVED_SEED and _N choose others; USVS_KEEPALIVED_RECORD writes
// testdata/generated.txt.
func TestInstalled(t *testing.T) {
	program, err := exec.LookPath("keepalived")
	if err != nil {
		netnstest.Skip(t, "keepalived is not installed")
	}
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		other := lab.Namespace("other")
		for _, name := range []string{"eth0", "eth1", "ens33"} {
			lab.Veth(lab.Home, name, other, name)
		}
		lab.Home.AddAddr("eth0", "192.168.201.2/24")
		dir := t.TempDir()
		compare := func(name, text string) {
			theirs, said := ask(t, program, dir, text)
			_, report := parseText(text)
			if why := differs(report, theirs); why != "" {
				t.Errorf("%s: %s\n%s\nkeepalived: %v\n%s\nusvs:\n%s", name, why, numbered(text), theirs, said, explainReport(report))
			}
		}
		seed, n := setting("USVS_KEEPALIVED_SEED", 1), setting("USVS_KEEPALIVED_N", 60)
		for s := seed; s < seed+n; s++ {
			compare(fmt.Sprintf("valid %d", s), valid(uint64(s)))
			compare(fmt.Sprintf("mutated %d", s), mutated(uint64(s)))
		}
		for i, c := range readRecorded(t, "testdata/statements.txt") {
			if i%10 == 0 {
				compare("recorded "+c.name, c.text)
			}
		}
		if os.Getenv("USVS_KEEPALIVED_RECORD") != "" {
			record(t, program, dir, int(seed), int(n))
		}
	})
}

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// record writes what keepalived says about generated configurations.
func record(t *testing.T, program, dir string, seed, n int) {
	var out bytes.Buffer
	for s := seed; s < seed+n; s++ {
		for i, text := range []string{valid(uint64(s)), mutated(uint64(s))} {
			theirs, _ := ask(t, program, dir, text)
			fmt.Fprintf(&out, "=== %s %d\n%s--- %s\n\n", []string{"valid", "mutated"}[i], s, text, theirs)
		}
	}
	require.NoError(t, os.WriteFile("testdata/generated.txt", out.Bytes(), 0o644))
}

func (v verdict) String() string {
	status := strconv.Itoa(v.status)
	if v.status == crashed {
		status = "crash"
	}
	return strings.TrimSpace(status + " " + strings.Trim(fmt.Sprint(v.lines), "[]"))
}

var lineOf = regexp.MustCompile(`(?m)^\((?:[^()\n]*: )?Line (\d+)\)`)

// ask has keepalived test a configuration.
func ask(t *testing.T, program, dir, text string) (v verdict, said string) {
	t.Helper()
	file := filepath.Join(dir, testFile)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "-t", "-f", file, "-i", "vm").CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		v.status = crashed
	case errors.As(err, &exit):
		v.status = exit.ExitCode()
	default:
		require.NoError(t, err)
	}
	for _, m := range lineOf.FindAllSubmatch(out, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		v.lines = append(v.lines, n)
	}
	slices.Sort(v.lines)
	v.lines = slices.Compact(v.lines)
	return v, string(out)
}

func numbered(text string) string {
	var b strings.Builder
	n := 0
	for line := range strings.Lines(text) {
		n++
		fmt.Fprintf(&b, "%3d %s", n, line)
	}
	return b.String()
}
