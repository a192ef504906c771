package demo

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

func TestPassageGolden(t *testing.T) {
	for _, mode := range Modes {
		var b strings.Builder
		p := &page{w: &b}
		p.passage("the first SYN came", "and left", goodPassage(mode), scenes[mode]().owners())
		if mode == "nat" {
			p.passage("the answer came", "and left", natAnswer(), scenes[mode]().owners())
		}
		golden(t, "passage-"+mode+".txt", b.String())
	}
}

func TestSharesGolden(t *testing.T) {
	var b strings.Builder
	p := &page{w: &b}
	assert.True(t, p.shares(scenes["nat"](), map[string]int{"rs1": 6, "rs2": 4, "rs3": 2}, 12))
	assert.False(t, p.shares(scenes["nat"](), map[string]int{"rs1": 6, "rs2": 5, "rs3": 1}, 12))
	assert.False(t, p.shares(scenes["dr"](), nil, 600))
	golden(t, "shares.txt", b.String())
}

func TestRollGolden(t *testing.T) {
	var b strings.Builder
	for _, n := range []int{0, 1, rollWidth, rollWidth + 1, 10 * rollWidth} {
		r := &roll{page: &page{w: &b}}
		for range n {
			r.add("rs1")
		}
		r.end()
		r.end()
	}
	golden(t, "roll.txt", b.String())
}

func TestColours(t *testing.T) {
	var plain, coloured strings.Builder
	for _, p := range []*page{{w: &plain}, {w: &coloured, color: true}} {
		p.title("title")
		p.command("director", []string{"usvs", "run"})
		p.quote("one  \ntwo\n\n")
		p.passage("came", "left", goodPassage("dr"), owners{})
	}
	assert.NotContains(t, plain.String(), "\x1b")
	assert.Contains(t, plain.String(), "   director# usvs run\n   one\n   two\n")
	assert.Contains(t, coloured.String(), "\x1b[1m== title")
	for line := range strings.Lines(plain.String()) {
		assert.Equal(t, strings.TrimRight(line, " \n")+"\n", line, "no blanks at line ends")
	}
	strip := strings.NewReplacer("\x1b[1m", "", "\x1b[2m", "", "\x1b[33m", "", "\x1b[0m", "")
	assert.Equal(t, plain.String(), strip.Replace(coloured.String()))
}

func TestTail(t *testing.T) {
	assert.Equal(t, "  a\n  b", tail("a\nb\n"))
	long := tail(strings.Repeat(strings.Repeat("x", 500)+"\n", 30))
	assert.Equal(t, tailLines, strings.Count(long, "\n")+1)
	assert.Less(t, len(long), tailLines*(tailWidth+10))
}
