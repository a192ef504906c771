package uml

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStartWrittenWaitsForTheWriter: a file that is still open for writing
// cannot be executed, but soon can.
func TestStartWrittenWaitsForTheWriter(t *testing.T) {
	program, err := os.ReadFile("/bin/true")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "true")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o700)
	require.NoError(t, err)
	_, err = f.Write(program)
	require.NoError(t, err)
	time.AfterFunc(30*time.Millisecond, func() { f.Close() })
	c, err := startWritten(exec.Command(path))
	require.NoError(t, err)
	require.NoError(t, c.Wait())

	_, err = startWritten(exec.Command(filepath.Join(t.TempDir(), "nothing")))
	require.ErrorIs(t, err, os.ErrNotExist)
}
