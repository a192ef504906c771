package scenario

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const twoMachines = `# Two machines.
switch lan
client a lan 10.0.0.1/24
server b lan 10.0.0.2/24
http a -> b:80
expect answered b 1
`

// tree writes files and returns their folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func TestLoad(t *testing.T) {
	dir := tree(t, map[string]string{
		"b.txt": twoMachines, "a.txt": twoMachines, "README.md": "not a scenario",
		"lab/scenario.txt": twoMachines + "a$ cat < rules\n", "lab/rules": "one\n", "lab/.hidden": "no",
		"more/c.txt": twoMachines,
	})
	files, err := Load(dir)
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		rel, err := filepath.Rel(dir, f.Name)
		require.NoError(t, err)
		names = append(names, rel)
	}
	require.Equal(t, []string{"a.txt", "b.txt", "lab/scenario.txt", "more/c.txt"}, names)
	require.Equal(t, "one\n", string(files[2].Data["rules"]))

	one, err := Load(filepath.Join(dir, "a.txt"))
	require.NoError(t, err)
	require.Len(t, one, 1)
}

func TestLoadMistakes(t *testing.T) {
	_, err := Load("no such file")
	require.ErrorIs(t, err, os.ErrNotExist)
	dir := tree(t, map[string]string{"x/bad.txt": "fly away\n"})
	_, err = Load(dir)
	require.ErrorContains(t, err, filepath.Join("x", "bad.txt")+":1:")
	long := tree(t, map[string]string{"long.txt": string(make([]byte, maxText+1))})
	_, err = Load(long)
	require.ErrorContains(t, err, "longer than")
}

func TestSuite(t *testing.T) {
	good, err := Parse("good", []byte(twoMachines))
	require.NoError(t, err)
	bad, err := Parse("bad", []byte(twoMachines+"expect failed 1\n"))
	require.NoError(t, err)
	other, err := Parse("other", []byte("only netns: to be skipped\n"+twoMachines))
	require.NoError(t, err)
	var seen []string
	inspected := 0
	s := &Suite{
		World: "sim", Files: []*File{good, bad, other}, From: 3, To: 5, Parallel: 1,
		Open:    func(seed uint64) (World, error) { return NewSim(seed), nil },
		Inspect: func(*Verdict, World) error { inspected++; return nil },
		Report:  func(v *Verdict) { seen = append(seen, v.File.Name+" "+string(v.Outcome)) },
	}
	counts, err := s.Run()
	require.NoError(t, err)
	require.Equal(t, map[Outcome]int{Passed: 3, Failed: 3, Skipped: 3}, counts)
	require.Equal(t, []string{"good pass", "bad fail", "other skip"}, seen[:3])
	require.Len(t, seen, 9)
	require.Equal(t, 6, inspected)
	require.Equal(t, "usvs sim --seed 4 bad", (&Verdict{File: bad, World: "sim", Seed: 4}).Replay())
	require.Equal(t, "usvs sim --world netns bad", (&Verdict{File: bad, World: "netns"}).Replay())
}

func TestSuiteStopsWhereTheWorldIsMissing(t *testing.T) {
	f, err := Parse("x", []byte(twoMachines))
	require.NoError(t, err)
	s := &Suite{
		World: "ipvs", Files: []*File{f}, From: 1, To: 1000, Parallel: 4,
		Open:   func(uint64) (World, error) { return nil, errors.Join(errors.New("no ip_vs"), ErrUnsupported) },
		Report: func(*Verdict) { t.Error("nothing has been played") },
	}
	_, err = s.Run()
	require.ErrorIs(t, err, ErrUnsupported)
}
