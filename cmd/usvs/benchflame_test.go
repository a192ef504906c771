package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBenchFlame(t *testing.T) {
	dir := t.TempDir()
	profile, out := filepath.Join(dir, "p.txt"), filepath.Join(dir, "out.svg")
	require.NoError(t, os.WriteFile(profile, []byte("main;work;add 17\nmain;rest 3\n"), 0o600))
	text, _, err := usvsBench(t, "flame", profile, "--below", "work", "--title", "Some work")
	require.NoError(t, err)
	require.Contains(t, text, "Some work")
	require.Contains(t, text, "add: 17 samples, 100.0%")
	require.NotContains(t, text, "rest")
	_, _, err = usvsBench(t, "flame", profile, "-o", out)
	require.NoError(t, err)
	require.FileExists(t, out)
}

// TestBenchFlameOwn profiles a director, as far as the machine takes samples.
func TestBenchFlameOwn(t *testing.T) {
	text, _, err := usvsBench(t, "flame", "--seconds", "0.3", "--flows", "1000")
	if err != nil {
		require.ErrorContains(t, err, "without samples")
		return
	}
	require.Contains(t, text, "Handle")
	require.NotContains(t, text, "TestBenchFlameOwn")
}

func TestBenchFlameRefuses(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "p.txt")
	require.NoError(t, os.WriteFile(profile, []byte("main;work;add 17\n"), 0o600))
	for want, args := range map[string][]string{
		"no such file":         {"/nonexistent"},
		"--below":              {profile, "--below", "("},
		"without samples":      {profile, "--below", "nothing"},
		"both must be":         {"--flows", "0"},
		"accepts at most 1":    {profile, profile},
		"is a directory":       {t.TempDir()},
		"no such file or dire": {profile, "-o", "/nonexistent/x.svg"},
	} {
		_, _, err := usvsBench(t, append([]string{"flame"}, args...)...)
		require.ErrorContains(t, err, want)
	}
}
