package show

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/netsim"
	"usvs/scenario"
)

var update = flag.Bool("update", false, "write the ladders that are drawn to testdata")

// play runs a scenario of testdata and returns what was watched of it.
func play(t testing.TB, name string) *Recording {
	t.Helper()
	files, err := scenario.Load("testdata/" + name + ".txt")
	require.NoError(t, err)
	w := scenario.NewSim(1)
	rec := Watch(w.Net())
	require.NoError(t, scenario.Run(files[0], w, scenario.Options{World: "sim"}))
	return rec
}

func ladder(t testing.TB, r *Recording) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, r.WriteLadder(&b))
	return b.String()
}

// Ladders in full, of each method and of frames that get lost.
func TestLadder(t *testing.T) {
	for _, name := range []string{"dr", "nat", "tun", "cut"} {
		t.Run(name, func(t *testing.T) {
			got := ladder(t, play(t, name))
			golden := filepath.Join("testdata", name+".ladder")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// A ladder needs no more than the frames, and a run that is watched is the same.
func TestOf(t *testing.T) {
	files, err := scenario.Load("testdata/nat.txt")
	require.NoError(t, err)
	w := scenario.NewSim(1)
	require.NoError(t, scenario.Run(files[0], w, scenario.Options{World: "sim"}))
	require.Equal(t, ladder(t, play(t, "nat")), ladder(t, Of(w.Net(), w.Recorder().Records)))
}

func TestEmpty(t *testing.T) {
	r := Watch(netsim.New(1))
	require.Empty(t, ladder(t, r))
	require.NotEmpty(t, written(t, r))
}

// Whatever is on a link, something can be drawn of it.
func FuzzFrames(f *testing.F) {
	for _, s := range play(f, "tun").shots[:30] {
		f.Add(s.rec.Data)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		n := netsim.New(1)
		sw := n.Switch("sw")
		a, b, d := n.Host("a"), n.Host("b"), n.Director("d")
		p := a.NIC("eth0", "10.0.0.1/24")
		n.Link(p, sw.NextPort())
		n.Link(b.NIC("eth0", "10.0.0.2/24"), sw.NextPort())
		n.Link(d.NIC("eth0", "10.0.0.3/24"), sw.NextPort())
		r := Watch(n)
		p.Inject(frame)
		n.Run(5e9)
		ladder(t, r)
		data := dataOf(t, written(t, r))
		require.Len(t, data.Frames, len(r.shots))
	})
}

func written(t testing.TB, r *Recording) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.WritePage(&b, "a <test> & 'more'"))
	return b.Bytes()
}

// dataOf reads a page's data back.
func dataOf(t testing.TB, text []byte) (p page) {
	t.Helper()
	_, rest, ok := strings.Cut(string(text), "const D = ")
	require.True(t, ok)
	data, _, ok := strings.Cut(rest, ";\nconst $ ")
	require.True(t, ok)
	require.NoError(t, json.Unmarshal([]byte(data), &p))
	return p
}

// The same run makes the same page, which asks nobody for anything.
func TestPage(t *testing.T) {
	text := written(t, play(t, "nat"))
	require.Equal(t, text, written(t, play(t, "nat")))
	page := strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", "")
	for _, outside := range []string{"http://", "https://", "src=", "@import", "url(", "fetch(", "<link"} {
		require.NotContains(t, page, outside)
	}
	p := dataOf(t, text)
	require.Equal(t, "a <test> & 'more'", p.Title)
	kinds := map[string]string{}
	for _, n := range p.Nodes {
		kinds[n.Name] = n.Kind
	}
	require.Equal(t, map[string]string{"client": "host", "director": "director", "rs1": "server", "front": "switch", "back": "switch"}, kinds)
	require.Len(t, p.Links, 4)
	for _, n := range dataOf(t, written(t, play(t, "tun"))).Nodes {
		if n.Name == "router" {
			require.Equal(t, "router", n.Kind)
		}
	}
	translated := 0
	for i, f := range p.Frames {
		require.Less(t, f.Cause, i)
		require.Less(t, f.Before, i)
		require.Len(t, f.Knows, len(p.Nodes))
		if p.Nodes[f.From].Kind == "director" && f.Before >= 0 && f.Line != p.Frames[f.Before].Line {
			translated++
		}
	}
	require.Greater(t, translated, 6, "what NAT changed has a before")
	last := p.Frames[len(p.Frames)-1]
	var knows state
	require.NoError(t, json.Unmarshal(p.States[last.Knows[1]], &knows))
	require.NotEmpty(t, knows.Connections)
	require.NotEmpty(t, knows.Neighbours)
}
