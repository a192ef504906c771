package track

import (
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

// told collects what is reported.
type told struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func newTold() *told { return &told{more: make(chan struct{}, 1000)} }

func (l *told) say(format string, args ...any) {
	l.mu.Lock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
	l.mu.Unlock()
	l.more <- struct{}{}
}

// next waits for one more line and returns all.
func (l *told) next(t *testing.T) []string {
	t.Helper()
	select {
	case <-l.more:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was reported")
	}
	return l.all()
}

func (l *told) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

func shell(text string) script.Command {
	return script.Command{Args: []string{"/bin/sh", "-c", text}}
}

func TestScripts(t *testing.T) {
	l := newTold()
	s := NewScripts(func(name string, e script.Exit) { l.say("%s: %v", name, e) })
	defer s.Close()
	s.Set(script.Policy{}, map[string]Script{
		"good":    {Command: shell("exit 0")},
		"bad":     {Command: shell("exit 3")},
		"slow":    {Command: shell("sleep 60"), Limit: 20 * time.Millisecond},
		"missing": {Command: script.Command{Args: []string{"/no/such"}}},
	})
	assert.False(t, s.Run("unknown"))
	for name, want := range map[string]string{
		"good": "good: success", "bad": "bad: exited with status 3", "slow": "slow: timed out",
	} {
		require.True(t, s.Run(name))
		assert.Contains(t, l.next(t), want)
	}
	require.True(t, s.Run("missing"))
	assert.Contains(t, l.next(t)[3], "not found/accessible")
}

func TestAScriptRunsOnceAtATime(t *testing.T) {
	l := newTold()
	gate := filepath.Join(t.TempDir(), "gate")
	require.NoError(t, exec.Command("mkfifo", gate).Run())
	s := NewScripts(func(name string, e script.Exit) { l.say("%s: %v", name, e) })
	defer s.Close()
	wait := Script{Command: shell("read x < " + gate + "; exit $x")}
	s.Set(script.Policy{}, map[string]Script{"a": wait, "b": wait})
	require.True(t, s.Run("a"))
	assert.False(t, s.Run("a"), "it runs already")
	s.Set(script.Policy{}, map[string]Script{"a": wait})
	assert.False(t, s.Run("a"), "it runs still")
	require.NoError(t, os.WriteFile(gate, []byte("4\n"), 0))
	assert.Equal(t, []string{"a: exited with status 4"}, l.next(t))
	require.True(t, s.Run("a"))
	s.Set(script.Policy{}, nil)
	assert.False(t, s.Run("a"))
	s.Close()
	assert.Len(t, l.all(), 1, "a run that nobody wants is not told of")
	assert.False(t, s.Run("a"))
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "number")
	l := newTold()
	f := NewFiles(func(name string, value int) { l.say("%s=%d", name, value) })
	f.Watch("a", path)
	assert.Equal(t, []string{"a=0"}, l.next(t))
	require.NoError(t, os.WriteFile(path, []byte("7\n"), 0o600))
	assert.Contains(t, l.next(t), "a=7")
	f.Watch("b", path)
	assert.Contains(t, l.next(t), "b=7")
	f.Unwatch("a")
	require.NoError(t, os.WriteFile(path+".new", []byte(" -12 and more"), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
	assert.Equal(t, []string{"a=0", "a=7", "b=7", "b=-12"}, l.next(t))
	require.NoError(t, os.Remove(path))
	assert.Equal(t, "b=0", l.next(t)[4])
	f.Close()
	require.NoError(t, os.WriteFile(path, []byte("1"), 0o600))
	assert.Len(t, l.all(), 5)
}

// A directory that comes later is seen by looking, without a hint.
func TestFilesInADirectoryToCome(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	l := newTold()
	f := NewFiles(func(name int, value int) { l.say("%d=%d", name, value) })
	defer f.Close()
	f.Watch(1, filepath.Join(dir, "number"))
	assert.Equal(t, []string{"1=0"}, l.next(t))
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "number"), []byte("5"), 0o600))
	assert.Equal(t, []string{"1=0", "1=5"}, l.next(t))
}

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "0": 0, "12": 12, "-3": -3, "+4": 4, " \t\n5\n": 5, "6x": 6, "x6": 0, "-": 0, "--1": 0, "1-1": 1,
		"99999999999": 2147483647, "-99999999999": -2147483648, strings.Repeat("9", 500): 2147483647,
	} {
		assert.Equal(t, want, parseNumber(text), text)
	}
}

func FuzzParseNumber(f *testing.F) {
	f.Add("-12 x")
	f.Fuzz(func(t *testing.T, text string) {
		n := parseNumber(text)
		if n < -1<<31 || n >= 1<<31 {
			t.Fatalf("%q is %d", text, n)
		}
	})
}

func TestReadNumberOfWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, exec.Command("mkfifo", fifo).Run())
	assert.Zero(t, readNumber(dir))
	assert.Zero(t, readNumber(fifo), "and it does not block")
	assert.Zero(t, readNumber("/dev/zero"))
}

func TestInitFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "number")
	require.NoError(t, InitFile(path, 5, false))
	assert.Equal(t, 5, readNumber(path))
	require.NoError(t, InitFile(path, 6, false))
	assert.Equal(t, 5, readNumber(path), "there was one")
	require.NoError(t, InitFile(path, -7, true))
	assert.Equal(t, -7, readNumber(path))
	require.Error(t, InitFile(filepath.Join(path, "x"), 1, true))
}

// process writes what /proc would show.
func process(t *testing.T, proc string, pid int, stat string, cmdline ...string) {
	t.Helper()
	dir := filepath.Join(proc, fmt.Sprint(pid))
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o600))
	var line string
	for _, arg := range cmdline {
		line += arg + "\x00"
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cmdline"), []byte(line), 0o600))
}

func fakeProc(t *testing.T) string {
	proc := t.TempDir()
	process(t, proc, 1, "1 (nginx) S 0 1", "nginx: master process")
	process(t, proc, 2, "2 (nginx) R 1 1", "/usr/sbin/nginx", "-g", "daemon off;")
	process(t, proc, 3, "3 (nginx) Z 1 1")
	process(t, proc, 4, "4 (a) b (c) S 1 1", "a) b (c")
	process(t, proc, 5, "5 (kworker/0:1) I 2 0")
	process(t, proc, 6, "6 (a-name-of-fifte) S 1 1", "./a-name-of-fifteen-and-more")
	process(t, proc, 7, "garbage")
	require.NoError(t, os.WriteFile(filepath.Join(proc, "uptime"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(proc, "8"), 0o700))
	return proc
}

func TestCountProcesses(t *testing.T) {
	proc := fakeProc(t)
	for _, c := range []struct {
		name string
		p    Process
		want int
	}{
		{"by name, not zombies", Process{Command: []string{"nginx"}}, 2},
		{"part of a name", Process{Command: []string{"ngin"}}, 0},
		{"parentheses", Process{Command: []string{"a) b (c"}}, 1},
		{"a thread of the kernel has no slash that counts", Process{Command: []string{"kworker/0:1"}}, 0},
		{"a name is cut", Process{Command: []string{"a-name-of-fifteen-and-more"}}, 1},
		{"by path", Process{Command: []string{"/usr/sbin/nginx"}}, 1},
		{"full command", Process{Command: []string{"nginx: master process"}, FullCommand: true}, 1},
		{"all arguments", Process{Command: []string{"/usr/sbin/nginx", "-g", "daemon off;"}}, 1},
		{"not all arguments", Process{Command: []string{"/usr/sbin/nginx", "-g"}}, 0},
		{"some arguments", Process{Command: []string{"/usr/sbin/nginx", "-g"}, Match: Partial, MatchSet: true}, 1},
		{"part of the last", Process{Command: []string{"/usr/sbin/nginx", "-g", "dae"}, Match: Initial, MatchSet: true}, 1},
		{"part of the first", Process{Command: []string{"/usr/sbin/nginx", "-", "dae"}, Match: Initial, MatchSet: true}, 0},
		{"part of the last, exactly", Process{Command: []string{"/usr/sbin/nginx", "-g", "dae"}, Match: Partial, MatchSet: true}, 0},
		{"no arguments", Process{Command: []string{"/usr/sbin/nginx"}, Match: Partial, MatchSet: true}, 0},
		{"no arguments, and there are none", Process{Command: []string{"nginx: master process"}, Match: Partial, MatchSet: true}, 1},
		{"nothing", Process{}, 0},
	} {
		assert.Equal(t, c.want, countProcesses(proc, map[string]Process{"x": c.p})["x"], c.name)
	}
	assert.Equal(t, map[string]int{"x": 0}, countProcesses("/no/such", map[string]Process{"x": {Command: []string{"a"}}}))
}

func TestProcesses(t *testing.T) {
	proc := fakeProc(t)
	l := newTold()
	p := newProcesses(proc, func(name string, n int) { l.say("%s=%d", name, n) })
	defer p.Close()
	p.Set(map[string]Process{"web": {Command: []string{"nginx"}}})
	assert.Equal(t, []string{"web=2"}, l.next(t))
	process(t, proc, 9, "9 (nginx) S 1 1", "nginx: worker process")
	assert.Equal(t, "web=3", l.next(t)[1])
	require.NoError(t, os.RemoveAll(filepath.Join(proc, "1")))
	assert.Equal(t, "web=2", l.next(t)[2])
	p.Set(map[string]Process{"web": {Command: []string{"nginx"}}})
	assert.Equal(t, "web=2", l.next(t)[3], "told anew")
}

func TestProcessesOfThisMachine(t *testing.T) {
	comm, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	name := strings.TrimSpace(string(comm))
	assert.Positive(t, countProcesses("/proc", map[string]Process{"me": {Command: []string{name}}})["me"])
}

func FuzzParseStat(f *testing.F) {
	f.Add("1 (nginx) S 0")
	f.Add("1 (a) b) Z")
	f.Fuzz(func(t *testing.T, stat string) {
		if comm, _ := parseStat(stat); !strings.Contains(stat, comm) {
			t.Fatalf("%q names %q", stat, comm)
		}
	})
}
