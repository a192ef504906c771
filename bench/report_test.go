package bench

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata anew")

// sample has a figure of every kind.
func sample() *Report {
	machine := Machine{CPU: "Sample Processor", Cores: 2, Memory: 24 << 30, System: "linux", Kernel: "6.18.5", Arch: "amd64", GoVersion: "go1.26.3"}
	return &Report{Runs: []Run{
		{Machine: machine, Commit: "0123456789ab", Command: "usvs bench table engine", Date: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), Figures: []Figure{
			{Group: "table", Name: "lookup, 100,000 flows", Unit: "ns", Better: Lower, Floor: new(60.0), Rounds: []Round{{Value: 55}, {Value: 50}, {Value: 62}}},
			{Group: "table", Name: "lookup, 1 M flows", Unit: "ns", Better: Lower, Floor: new(100.0), Rounds: []Round{{Value: 863}}},
			{Group: "table", Name: "Go map, 1 M flows", Unit: "ns", Better: Lower, Rounds: []Round{{Value: 235}}, Note: "of <K|V>, for reference"},
			{Group: "table", Name: "two writers", Unit: "M/s", Better: Higher, Of: "one writer", Floor: new(1.7), Rounds: []Round{{3.8, 2}, {4, 2}}},
			{Group: "engine", Name: "allocations per frame", Unit: "allocations", Better: Lower, Floor: new(0.0), Rounds: []Round{{Value: 0}}},
		}},
		{Machine: machine, Commit: "ba9876543210", Command: "usvs bench io", Date: time.Date(2026, 2, 4, 4, 5, 6, 0, time.UTC), Figures: []Figure{
			{Group: "io", Name: "DR 64 B, pinned & default", Unit: "kpps", Better: Higher, Of: "nft DNAT", Floor: new(0.5), Aim: new(0.7), Rounds: []Round{{750, 1000}, {720, 1000}, {790, 1000}}},
			{Group: "io", Name: "round trip", Unit: "us", Better: Lower, Of: "nft DNAT", Floor: new(1.4), Aim: new(1.2), Rounds: []Round{{25, 19}, {26, 19}}},
			{Group: "io", Name: "sixteen times", Unit: "kpps", Better: Higher, Of: "one frame per call", Rounds: []Round{{1600, 100}}},
			{Group: "io", Name: "AF_XDP", Unit: "kpps", Better: Higher, Of: "nft DNAT", Floor: new(0.75), Skipped: "no CAP_BPF"},
		}},
	}}
}

func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b))
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "go test ./bench -update writes it anew")
}

func TestGoldenText(t *testing.T)     { golden(t, "sample.txt", sample().WriteText) }
func TestGoldenMarkdown(t *testing.T) { golden(t, "sample.md", sample().WriteMarkdown) }
func TestGoldenSVG(t *testing.T)      { golden(t, "sample.svg", sample().WriteSVG) }

func TestSVGIsXML(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().WriteSVG(&b))
	bars := 0
	for dec := xml.NewDecoder(&b); ; {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" {
			switch e.Attr[0].Value {
			case "aim-met", "floor-met", "below-floor", "below-aim", "no-target":
				bars++
			}
		}
	}
	require.Equal(t, 7, bars, "each that was measured and can be compared")
	require.NoError(t, (&Report{}).WriteSVG(io.Discard))
}

func TestGoodness(t *testing.T) {
	for _, c := range []struct {
		f    Figure
		v    float64
		want float64
		ok   bool
	}{
		{Figure{Better: Lower, Floor: new(60.0)}, 30, 2, true},
		{Figure{Better: Higher, Floor: new(2.0)}, 3, 1.5, true},
		{Figure{Better: Higher, Aim: new(2.0)}, 1, 0.5, true},
		{Figure{Better: Higher, Of: "x", Floor: new(0.5)}, 0.75, 0.75, true},
		{Figure{Better: Lower, Of: "x", Floor: new(1.4)}, 1.25, 0.8, true},
		{Figure{Better: Lower, Floor: new(0.0)}, 0, 1, true},
		{Figure{Better: Lower, Floor: new(0.0)}, 3, 0, true},
		{Figure{Better: Lower}, 3, 0, false},
	} {
		got, ok := c.f.goodness(c.v)
		require.Equal(t, c.ok, ok)
		require.InDelta(t, c.want, got, 1e-9)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 60: "60", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234",
		0.5: "0.50", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 0.01234: "0.012", 0.1: "0.10", 1e-7: "1e-07",
	} {
		require.Equal(t, want, Number(v))
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1_000_000: "1 M", 1_500_000: "1,500,000", 10_000_000: "10 M"} {
		require.Equal(t, want, Count(n))
	}
}

func TestAddReplacesWhatWasMeasuredAgain(t *testing.T) {
	r := sample()
	again := Figure{Group: "io", Name: "AF_XDP", Unit: "kpps", Better: Higher, Of: "nft DNAT", Rounds: []Round{{900, 1000}}}
	first := r.Runs[1].Figures
	r.Add(Run{Command: "usvs bench io --only XDP", Figures: []Figure{again}})
	require.Len(t, r.Runs, 3)
	require.Len(t, r.Runs[1].Figures, 3)
	require.Len(t, first, 4, "the run that was given is not changed")
	require.NoError(t, r.Check())
	require.Equal(t, 8, len(r.Figures())-r.Count(NotMeasured)-1)

	r.Add(Run{Command: "usvs bench table engine", Figures: sample().Runs[0].Figures})
	require.Len(t, r.Runs, 3, "the first has nothing left")
	require.NoError(t, r.Check())
	groups := r.Groups()
	require.Len(t, groups, 3)
	require.Equal(t, "io", groups[0][0].Group)
	require.Len(t, groups[0], 4, "figures of one group stand together")
}

func TestCheckFindsDoubles(t *testing.T) {
	r := sample()
	r.Runs[1].Figures = append(r.Runs[1].Figures, r.Runs[0].Figures[0])
	require.ErrorContains(t, r.Check(), "occurs twice")
}

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	r, err := Load(dir)
	require.NoError(t, err)
	require.Empty(t, r.Runs, "no results yet")
	require.NoError(t, sample().Save(dir))
	r, err = Load(dir)
	require.NoError(t, err)
	require.Equal(t, sample(), r)
	for _, name := range []string{JSONFile, MarkdownFile, SVGFile} {
		require.FileExists(t, filepath.Join(dir, name))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, JSONFile), []byte("{"), 0o644))
	_, err = Load(dir)
	require.ErrorContains(t, err, JSONFile)
}

func TestProcFields(t *testing.T) {
	text := "processor\t: 0\nmodel name\t: Some CPU: fast\nMemTotal:       24000 kB\n"
	require.Equal(t, "Some CPU: fast", procField(strings.NewReader(text), "model name"))
	require.Equal(t, uint64(24000<<10), kibibytes(procField(strings.NewReader(text), "MemTotal")))
	require.Zero(t, kibibytes(procField(strings.NewReader(text), "SwapTotal")))
	require.Zero(t, kibibytes("12 MB"))
	m := ThisMachine()
	require.Positive(t, m.Cores)
	require.NotEmpty(t, m.GoVersion)
	require.Contains(t, Machine{Cores: 2, Arch: "arm64", System: "js"}.String(), "unknown model, 2 cores (arm64), js")
}

func TestCommit(t *testing.T) {
	settings := func(revision, modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: modified}}
	}
	require.Equal(t, "0123456789ab", commitOf(settings("0123456789abcdef", "false")))
	require.Equal(t, "0123456789ab with changes", commitOf(settings("0123456789abcdef", "true")))
	require.Equal(t, "unknown", commitOf(nil))
	require.NotEmpty(t, Commit())
}
