package oracle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is where the recordings are; USVS_ORACLE names another place.
func root() string {
	if dir := os.Getenv("USVS_ORACLE"); dir != "" {
		return dir
	}
	return filepath.Join("..", "testdata", "oracle")
}

// played are the kinds of recordings that go through the director.
var played = []string{"sched", "persist", "fwd", "state"}

// later names the recordings that show features usvs does not have yet. A
// recording that passes must not be listed.
var later = map[string]string{
	"fwd/local": "programs on the director itself",
}

func TestRecordings(t *testing.T) {
	for _, kind := range played {
		files, err := filepath.Glob(filepath.Join(root(), kind, "*.trace"))
		require.NoError(t, err)
		require.NotEmpty(t, files, "no recordings in %s", root())
		for _, file := range files {
			t.Run(kind+"/"+strings.TrimSuffix(filepath.Base(file), ".trace"), func(t *testing.T) {
				t.Parallel()
				f, err := os.Open(file)
				require.NoError(t, err)
				defer f.Close()
				trace, err := ParseTrace(filepath.Base(file), f)
				require.NoError(t, err)
				if what, ok := later[t.Name()[len("TestRecordings/"):]]; ok {
					require.Error(t, Play(trace), "usvs has %s now: take the recording off the list", what)
					return
				}
				require.NoError(t, Play(trace))
			})
		}
	}
}
