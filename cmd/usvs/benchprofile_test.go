package main

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBenchProfile(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.pgo")
	_, _, err := usvsBench(t, "profile", out, "--seconds", "0.01", "--flows", "100")
	require.NoError(t, err)
	f, err := os.Open(out)
	require.NoError(t, err)
	defer f.Close()
	_, err = gzip.NewReader(f)
	require.NoError(t, err, "profiles are compressed")
	_, _, err = usvsBench(t, "profile", out, "--flows", "0")
	require.ErrorContains(t, err, "both must be")
	_, _, err = usvsBench(t, "profile")
	require.ErrorContains(t, err, "accepts 1")
}

// TestDefaultProfile: the profile that the program is compiled by travels with
// every checkout.
func TestDefaultProfile(t *testing.T) {
	st, err := os.Stat("default.pgo")
	require.NoError(t, err)
	require.Less(t, st.Size(), int64(500_000))
}
