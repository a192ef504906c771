package notify

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/script"
)

// logged collects the lines of a Log.
type logged struct {
	mu    sync.Mutex
	lines []string // guarded by mu
	more  chan string
}

func newLogged() *logged { return &logged{more: make(chan string, 10000)} }

func (l *logged) log(level Level, text string) {
	line := fmt.Sprint(level, " ", text)
	l.mu.Lock()
	l.lines = append(l.lines, line)
	l.mu.Unlock()
	l.more <- line
}

// next waits for a line.
func (l *logged) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l.more:
		return line
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was logged")
		return ""
	}
}

func shell(text string) script.Command {
	return script.Command{Args: []string{"/bin/sh", "-c", text}}
}

// fifo makes a named pipe.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, exec.Command("mkfifo", path).Run())
	return path
}

func TestScriptsOfAQueueRunInOrder(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	s := NewScripts(ScriptsConfig{Parallel: 8})
	var want strings.Builder
	for i := range 20 {
		s.Run("a", shell(fmt.Sprintf("echo %d >> %s", i, out)))
		fmt.Fprintln(&want, i)
	}
	s.Close(t.Context())
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, want.String(), string(text))
}

// A script that hangs holds up its own queue and no other, and no caller.
func TestQueuesDoNotWaitForEachOther(t *testing.T) {
	gate, out := fifo(t), filepath.Join(t.TempDir(), "out")
	s := NewScripts(ScriptsConfig{Parallel: 2})
	s.Run("a", shell("read x < "+gate+"; echo a1 >> "+out))
	s.Run("a", shell("echo a2 >> "+out))
	s.Run("b", shell("echo b >> "+out+"; echo > "+gate))
	s.Close(t.Context())
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, "b\na1\na2\n", string(text))
}

func TestParallel(t *testing.T) {
	dir := t.TempDir()
	l := newLogged()
	s := NewScripts(ScriptsConfig{Parallel: 2, Log: l.log})
	for i := range 12 {
		s.Run(fmt.Sprint(i), shell(fmt.Sprintf("mkdir %s/$$; n=$(ls %s | wc -l); rmdir %s/$$; exit $n", dir, dir, dir)))
	}
	s.Close(t.Context())
	assert.Len(t, l.lines, 12)
	for _, line := range l.lines {
		assert.Regexp(t, "status [12]$", line)
	}
}

func TestWhatIsLoggedOfScripts(t *testing.T) {
	l := newLogged()
	s := NewScripts(ScriptsConfig{Log: l.log, Limit: 100 * time.Millisecond})
	for _, c := range []struct {
		command script.Command
		want    string
	}{
		{shell("exit 3"), `1 script /bin/sh -c exit 3: exited with status 3`},
		{shell("sleep 60"), `1 script /bin/sh -c sleep 60: timed out`},
		{script.Command{Args: []string{"/no/such"}}, `2 script /no/such: not found/accessible`},
	} {
		s.Run("a", c.command)
		assert.True(t, strings.HasPrefix(l.next(t), c.want), "%v: %v", c.want, l.lines)
	}
	s.SetPolicy(script.Policy{User: "nobody-of-this-name"})
	s.Run("a", shell("exit 0"))
	assert.Contains(t, l.next(t), "nobody-of-this-name")
	s.Run("b", shell("exit 0"))
	assert.Contains(t, l.next(t), "nobody-of-this-name")
	s.Close(t.Context())
	s.Run("a", shell("exit 1"))
	assert.Len(t, l.lines, 5, "nothing runs after Close")
}

func TestCloseEndsWhatHangs(t *testing.T) {
	l := newLogged()
	s := NewScripts(ScriptsConfig{Log: l.log, Parallel: 1})
	s.Run("a", shell("sleep 3600"))
	s.Run("a", shell("sleep 3600"))
	s.Run("b", shell("sleep 3600"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s.Close(ctx)
	assert.LessOrEqual(t, len(l.lines), 2)
	assert.Empty(t, s.queues)
}

func TestAQueueIsBounded(t *testing.T) {
	l := newLogged()
	s := NewScripts(ScriptsConfig{Log: l.log, Parallel: 1})
	s.Run("a", shell("sleep 3600"))
	for range queueLimit + 10 {
		s.Run("a", shell("true"))
	}
	assert.Contains(t, l.next(t), "too many scripts")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Close(ctx)
}

// A daemon that a script starts goes on writing when the script has ended.
func TestADaemonThatAScriptLeavesBehind(t *testing.T) {
	dir := t.TempDir()
	gate, out := fifo(t), filepath.Join(dir, "out")
	s := NewScripts(ScriptsConfig{})
	s.Run("a", shell("(read x < "+gate+"; echo to nobody; echo alive > "+out+".new; mv "+out+".new "+out+") &"))
	s.Close(t.Context())
	require.NoError(t, exec.Command("/bin/sh", "-c", "echo > "+gate).Run())
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(out)
		return string(text) == "alive\n"
	}, 10*time.Second, time.Millisecond)
}

// What waits when the time is over does not begin.
func TestNothingBeginsWhenTheTimeIsOver(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	s := NewScripts(ScriptsConfig{Parallel: 1})
	ctx, cancel := context.WithCancel(t.Context())
	s.Run("a", shell("sleep 3600"))
	for range 64 {
		s.Run("a", shell("trap '' TERM; echo began >> "+out))
	}
	cancel()
	s.Close(ctx)
	assert.NoFileExists(t, out)
}
