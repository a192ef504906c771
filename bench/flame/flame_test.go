package flame

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata anew")

const folded = `
usvs/link.(*Pump).Run;usvs/director.(*Worker).Handle;usvs/wire.(*Packet).Parse 40
usvs/link.(*Pump).Run;usvs/director.(*Worker).Handle;usvs/conntrack.(*Table).LookupIn 110
usvs/link.(*Pump).Run;usvs/link/afpacket.(*writer).WriteBatch;syscall.Syscall6 300
usvs/link.(*Pump).Run;usvs/director.(*Worker).Handle 25
runtime.mcall;runtime.park_m;runtime.schedule 10
a;rare <one> 0
`

func stacks(t testing.TB, text string) *Stacks {
	s, err := Read(strings.NewReader(text))
	require.NoError(t, err)
	return s
}

func svg(t testing.TB, s *Stacks) string {
	var b bytes.Buffer
	require.NoError(t, s.WriteSVG(&b, "Sample <title>"))
	return b.String()
}

func TestGolden(t *testing.T) {
	got := svg(t, stacks(t, folded))
	path := filepath.Join("testdata", "sample.svg")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test ./bench/flame -update writes it anew")
}

// TestOrderDoesNotMatter, nor whether equal stacks come together.
func TestOrderDoesNotMatter(t *testing.T) {
	s := stacks(t, folded)
	want := svg(t, s)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		rng.Shuffle(len(s.List), func(i, j int) { s.List[i], s.List[j] = s.List[j], s.List[i] })
		require.Equal(t, want, svg(t, s))
	}
	last := &s.List[0]
	half := Stack{last.Functions, last.Value / 2}
	last.Value -= half.Value
	s.List = append(s.List, half)
	require.Equal(t, want, svg(t, s))
}

func TestSVGIsXML(t *testing.T) {
	titles := 0
	for dec := xml.NewDecoder(strings.NewReader(svg(t, stacks(t, folded)))); ; {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "title" {
			titles++
		}
	}
	require.Equal(t, 10, titles, "all, and nine functions of which the run is shared; not the one without samples")
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"main;work":               "neither",
		"main;work many":          "neither",
		"main -1":                 "neither",
		"\x1f\x8bno gzip":         "neither",
		"a 9007199254740993":      "neither",
		"a 9007199254740992\nb 1": "neither",
	} {
		_, err := Read(strings.NewReader(text))
		require.ErrorContains(t, err, want, "%q", text)
	}
	require.ErrorContains(t, stacks(t, "").WriteSVG(io.Discard, ""), "without samples")
	_, err := ofProfile(&profile.Profile{})
	require.ErrorContains(t, err, "without values")
}

func TestDeepStacksAreCut(t *testing.T) {
	s := stacks(t, strings.Repeat("f;", 10_000)+"g 1\n")
	require.Len(t, s.List[0].Functions, maxDepth)
}

func TestBelow(t *testing.T) {
	part := stacks(t, folded).Below(regexp.MustCompile(`Worker`))
	require.Equal(t, int64(175), part.Total())
	for _, s := range part.List {
		require.Equal(t, "usvs/director.(*Worker).Handle", s.Functions[0])
	}
}

// TestProfile: inlined functions stand above those they were inlined into, and
// the processor time is what counts.
func TestProfile(t *testing.T) {
	inner, outer, root := &profile.Function{ID: 1, Name: "inner"}, &profile.Function{ID: 2, Name: "outer"}, &profile.Function{ID: 3, Name: "root"}
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType: &profile.ValueType{Type: "cpu", Unit: "nanoseconds"},
		Function:   []*profile.Function{inner, outer, root},
		Location: []*profile.Location{
			{ID: 1, Line: []profile.Line{{Function: inner}, {Function: outer}}},
			{ID: 2, Line: []profile.Line{{Function: root}}},
			{ID: 3, Address: 0xabc},
		},
	}
	p.Sample = []*profile.Sample{{Location: []*profile.Location{p.Location[0], p.Location[2], p.Location[1]}, Value: []int64{2, 20_000_000}}}
	var b bytes.Buffer
	require.NoError(t, p.Write(&b))
	s, err := Read(&b)
	require.NoError(t, err)
	require.Equal(t, []Stack{{[]string{"root", "0xabc", "outer", "inner"}, 20_000_000}}, s.List)
	require.Contains(t, svg(t, s), "20ms")
}

// TestOwnProfile: what runtime/pprof writes can be drawn.
func TestOwnProfile(t *testing.T) {
	for range 100 { // on a busy machine all samples may be of others
		s := ownProfile(t)
		require.Equal(t, "nanoseconds", s.Unit)
		if s.Total() > 0 && strings.Contains(svg(t, s), "flame.ownProfile") {
			return
		}
	}
	t.Fatal("no profile has what was profiled")
}

// ownProfile is that of some work.
func ownProfile(t *testing.T) *Stacks {
	var b bytes.Buffer
	require.NoError(t, pprof.StartCPUProfile(&b))
	words := []string{}
	for begin := time.Now(); time.Since(begin) < 100*time.Millisecond; {
		words = append(words[:0], strings.Fields(strings.Repeat("some work ", 100))...)
		slices.Sort(words)
	}
	pprof.StopCPUProfile()
	s, err := Read(&b)
	require.NoError(t, err)
	return s
}

func TestShort(t *testing.T) {
	for name, want := range map[string]string{
		"usvs/link/afpacket.(*device).Read":            "afpacket.(*device).Read",
		"main.main":                                    "main.main",
		"slices.sort[go.shape.*usvs/x.T]":              "slices.sort[go.shape.*usvs/x.T]",
		"usvs/trie.(*Map[go.shape.struct{a/b.c}]).Get": "trie.(*Map[go.shape.struct{a/b.c}]).Get",
	} {
		require.Equal(t, want, short(name))
	}
	require.Equal(t, "abc..", cut("abcdefgh", 5))
	require.Equal(t, "abc", cut("abc", 5))
	require.Equal(t, colour("wire.Sum"), colour("wire.Fold"), "one package, one colour")
	require.NotEqual(t, colour("wire.Sum"), colour("link.Sum"))
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(folded))
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("a;;b 1\n;; 2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Read(bytes.NewReader(data))
		if err != nil || s.Total() == 0 {
			return
		}
		var b bytes.Buffer
		require.NoError(t, s.WriteSVG(&b, "t"))
		for dec := xml.NewDecoder(&b); ; {
			if _, err := dec.Token(); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}
