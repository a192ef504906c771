package oracle

import (
	"os"
	"path/filepath"
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

func TestRecordings(t *testing.T) {
	list, err := Find(root())
	require.NoError(t, err)
	require.Greater(t, len(list), 100)
	var tally Tally
	PlayAll(list, func(r *Result) {
		tally.Add(r)
		if !r.Passed {
			t.Errorf("%s: %s", r.Name(), r.Why())
		}
	})
	t.Log(&tally)
}
