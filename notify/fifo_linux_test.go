package notify

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/script"
)

// soon is a context that is done soon.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	f, err := OpenFIFO(FIFOConfig{Path: path})
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.ModeNamedPipe|0o600, info.Mode())
	f.Write(`INSTANCE "VI_1" BACKUP 100`) // before anybody reads
	reader, err := os.Open(path)
	require.NoError(t, err)
	lines := bufio.NewReader(reader)
	f.Write(`INSTANCE "VI_1" MASTER 100`)
	for _, want := range []string{"INSTANCE \"VI_1\" BACKUP 100\n", "INSTANCE \"VI_1\" MASTER 100\n"} {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, want, line)
	}
	reader.Close() // it goes away
	f.Write("more")
	f.Close(t.Context())
	f.Write("nothing any more")
	f.Close(t.Context())
	assert.Zero(t, f.Dropped())
	assert.NoFileExists(t, path, "made here, removed here")
}

func TestAFIFOThatIsThereStays(t *testing.T) {
	path := fifo(t)
	f, err := OpenFIFO(FIFOConfig{Path: path})
	require.NoError(t, err)
	f.Close(t.Context())
	_, err = os.Stat(path)
	assert.NoError(t, err)
}

// One that was shut may be replaced before its reader has ended.
func TestAFIFOIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	old, err := OpenFIFO(FIFOConfig{Path: path, Reader: shell("sleep 3600")})
	require.NoError(t, err)
	old.Shut()
	is, err := OpenFIFO(FIFOConfig{Path: path})
	require.NoError(t, err)
	old.Close(soon(t))
	_, err = os.Stat(path)
	assert.NoError(t, err)
	is.Close(t.Context())
	assert.NoFileExists(t, path)
}

func TestAFullFIFODrops(t *testing.T) {
	l := newLogged()
	f, err := OpenFIFO(FIFOConfig{Path: filepath.Join(t.TempDir(), "fifo"), Log: l.log})
	require.NoError(t, err)
	line := strings.Repeat("x", 4000)
	for range 100 {
		f.Write(line)
	}
	assert.Positive(t, f.Dropped())
	assert.Less(t, f.Dropped(), uint64(100))
	f.Close(t.Context())
	assert.Len(t, l.lines, 1, "said once")
}

func TestWhatIsNoFIFO(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Symlink(fifo(t), link))
	for _, path := range []string{file, link, dir, filepath.Join(file, "x"), "/no/such/directory/fifo"} {
		_, err := OpenFIFO(FIFOConfig{Path: path})
		assert.Error(t, err, path)
	}
	for _, c := range []FIFOConfig{{User: "nobody-of-this-name"}, {User: "root", Group: "no-group-of-this-name"}} {
		c.Path = filepath.Join(dir, "new")
		_, err := OpenFIFO(c)
		assert.Error(t, err)
		assert.NoFileExists(t, c.Path)
	}
}

func TestOwnerOfAFIFO(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	path := filepath.Join(t.TempDir(), "fifo")
	f, err := OpenFIFO(FIFOConfig{Path: path, User: "nobody"})
	require.NoError(t, err)
	defer f.Close(t.Context())
	uid, gid := ownerOf(t, path)
	assert.Equal(t, [2]uint32{65534, 65534}, [2]uint32{uid, gid})
}

func TestReaderOfAFIFO(t *testing.T) {
	dir := t.TempDir()
	path, out := filepath.Join(dir, "fifo"), filepath.Join(dir, "out")
	f, err := OpenFIFO(FIFOConfig{Path: path, Reader: shell(`while read line; do echo "$line" >> ` + out + `; done < "$0"`)})
	require.NoError(t, err)
	f.Write("one")
	f.Write("two")
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(out)
		return string(text) == "one\ntwo\n"
	}, 20*time.Second, time.Millisecond)
	f.Close(t.Context()) // returns because the reader finds the end
}

func TestAReaderThatHangsIsEnded(t *testing.T) {
	f, err := OpenFIFO(FIFOConfig{Path: fifo(t), Reader: shell("sleep 3600")})
	require.NoError(t, err)
	f.Close(soon(t))
}

func TestAReaderThatEndsIsStartedAgain(t *testing.T) {
	l := newLogged()
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	f, err := OpenFIFO(FIFOConfig{Path: filepath.Join(dir, "fifo"), Log: l.log, Reader: shell("echo x >> " + out + "; exit 3")})
	require.NoError(t, err)
	assert.Contains(t, l.next(t), "exited with status 3")
	assert.Contains(t, l.next(t), "exited with status 3")
	f.Close(soon(t))
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, "x\nx\n", string(text))
}

func TestAReaderThatCannotRun(t *testing.T) {
	l := newLogged()
	f, err := OpenFIFO(FIFOConfig{Path: fifo(t), Log: l.log, Reader: script.Command{Args: []string{"/no/such"}}})
	require.NoError(t, err)
	assert.Contains(t, l.next(t), "not found/accessible")
	f.Write("line")
	f.Close(t.Context())
}
