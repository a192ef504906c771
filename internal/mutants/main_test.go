package main

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The defects must keep up with the sources that they are in.
func TestDefectsFitTheSources(t *testing.T) {
	t.Chdir("../..")
	names := map[string]bool{}
	for _, d := range slices.Concat(defects, fastLane) {
		dir := t.TempDir()
		name, err := d.overlay(dir)
		require.NoError(t, err, d.name)
		require.NotEqual(t, d.old, d.new)
		require.False(t, names[d.name], d.name)
		names[d.name] = true
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		var overlay struct{ Replace map[string]string }
		require.NoError(t, json.Unmarshal(text, &overlay))
		for from, to := range overlay.Replace {
			before, err := os.ReadFile(from)
			require.NoError(t, err)
			after, err := os.ReadFile(to)
			require.NoError(t, err)
			require.NotEqual(t, string(before), string(after), d.name)
		}
	}
}

func TestDefectsThatFitNoMore(t *testing.T) {
	t.Chdir("../..")
	for _, d := range []defect{
		{"gone", "forward/nat.go", "no such text", ""},
		{"several", "forward/nat.go", "return", ""},
		{"no file", "forward/nowhere.go", "a", "b"},
	} {
		_, err := d.overlay(t.TempDir())
		require.Error(t, err, d.name)
	}
}
