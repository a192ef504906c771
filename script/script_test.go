package script

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// file makes a file with a mode. The text is written by another process: a
// file that this one has open for writing, or a child forked meanwhile, cannot
// be executed.
func file(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	cmd := exec.Command("/bin/sh", "-c", `cat > "$0"`, path)
	cmd.Stdin = strings.NewReader(text)
	require.NoError(t, cmd.Run())
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func prepare(t *testing.T, args ...string) *Program {
	t.Helper()
	prog, err := Policy{}.Prepare(Command{Args: args})
	require.NoError(t, err)
	return prog
}

func TestExit(t *testing.T) {
	for _, c := range []struct {
		name, text string
		options    Options
		want       string
		status     int
		output     string
	}{
		{name: "ends well", text: "#!/bin/sh\nexit 0\n", want: "success"},
		{name: "ends badly", text: "#!/bin/sh\nexit 7\n", want: "exited with status 7", status: 7},
		{name: "is killed", text: "#!/bin/sh\nkill -9 $$\n", want: "exited due to signal 9", status: -1},
		{name: "has no #!", text: "exit 3\n", want: "exited with status 3", status: 3},
		{name: "is given arguments", text: "echo \"$1:$2:$3\"\n", options: Options{Output: true, Args: []string{"x y", "$HOME"}}, want: "success", output: "one:x y:$HOME"},
		{name: "writes to both", text: "#!/bin/sh\necho a\necho b >&2\n", options: Options{Output: true}, want: "success", output: "a\nb"},
		{name: "writes without end", text: "#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x\n", options: Options{Output: true}, want: "success", output: strings.Repeat("x", outputLimit)},
		{name: "takes too long", text: "#!/bin/sh\nsleep 60\n", options: Options{Limit: 50 * time.Millisecond}, want: "timed out", status: -1},
		{name: "does not want to end", text: "#!/bin/sh\ntrap '' TERM\nsleep 60\nsleep 60\n", options: Options{Limit: 100 * time.Millisecond, Grace: 50 * time.Millisecond}, want: "timed out", status: -1},
		{name: "says good-bye", text: "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 0.01; done\n", options: Options{Limit: 100 * time.Millisecond}, want: "timed out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			exit := prepare(t, file(t, 0o755, c.text), "one").Run(t.Context(), c.options)
			assert.Equal(t, c.want, exit.String())
			assert.Equal(t, c.status, exit.Status)
			assert.Equal(t, c.output, exit.Output)
			assert.Equal(t, c.want == "success", exit.OK())
			assert.NoError(t, exit.Err)
		})
	}
}

func TestRunEndsTheWholeGroup(t *testing.T) {
	for _, bound := range []bool{false, true} {
		pids := filepath.Join(t.TempDir(), "pids")
		script := file(t, 0o755, "#!/bin/sh\nsleep 60 &\necho $! > "+pids+".new; mv "+pids+".new "+pids+"\nwait\n")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan Exit)
		go func() { done <- prepare(t, script).Run(ctx, Options{Bound: bound}) }()
		var child int
		require.Eventually(t, func() bool {
			text, _ := os.ReadFile(pids)
			child, _ = strconv.Atoi(strings.TrimSpace(string(text)))
			return child > 0
		}, 10*time.Second, time.Millisecond)
		cancel()
		exit := <-done
		assert.True(t, exit.Cancelled)
		assert.False(t, exit.OK())
		assert.Equal(t, "cancelled", exit.String())
		require.Eventually(t, func() bool { return gone(child) }, 10*time.Second, time.Millisecond)
	}
}

// gone reports whether a process is no more, or a zombie whose new parent has
// not looked yet.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// A program has ended when it has ended, though a child of it goes on and keeps
// its output open, or writes without end.
func TestAStrayChildDoesNotHoldUs(t *testing.T) {
	for name, child := range map[string]string{"silent": "sleep 5", "loud": "yes ''"} {
		t.Run(name, func(t *testing.T) {
			pid := filepath.Join(t.TempDir(), "pid")
			files := openFiles(t)
			exit := prepare(t, file(t, 0o755, "#!/bin/sh\necho out\n"+child+" &\necho $! > "+pid+"\nsleep 0.1\n")).
				Run(t.Context(), Options{Output: true, Limit: time.Minute})
			assert.True(t, exit.OK(), exit)
			assert.Equal(t, "out", exit.Output)
			assert.Less(t, exit.Took, 4*time.Second)
			assert.Equal(t, files, openFiles(t))
			text, err := os.ReadFile(pid)
			require.NoError(t, err)
			id, err := strconv.Atoi(strings.TrimSpace(string(text)))
			require.NoError(t, err)
			_ = syscall.Kill(id, syscall.SIGKILL)
		})
	}
}

// What a program writes last is read, and that its child goes on does not make it
// late: a limit holds for the program.
func TestTheLimitIsTheProgramsOwn(t *testing.T) {
	script := file(t, 0o755, "#!/bin/sh\nsleep 2 &\nhead -c 3000 /dev/zero | tr '\\0' x\nexit 3\n")
	exit := prepare(t, script).Run(t.Context(), Options{Output: true, Limit: 1500 * time.Millisecond})
	assert.Equal(t, "exited with status 3", exit.String())
	assert.Len(t, exit.Output, 3000)
}

// openFiles is how many files this process has open.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

func TestAFileThatCanBeRead(t *testing.T) {
	there := file(t, 0o600, "")
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	for _, c := range []struct {
		args []string
		ok   bool
	}{
		{[]string{"<" + there}, true},
		{[]string{"<", there}, true},
		{[]string{"<" + there + "x"}, false},
		{[]string{"<" + fifo}, true}, // at once, though nobody writes
		{[]string{"<"}, false},
	} {
		exit := prepare(t, c.args...).Run(t.Context(), Options{})
		assert.Equal(t, c.ok, exit.OK(), c.args)
	}
}

func TestPrepareFindsPrograms(t *testing.T) {
	assert.True(t, prepare(t, "true").Run(t.Context(), Options{}).OK())
	assert.Equal(t, 1, prepare(t, "false").Run(t.Context(), Options{}).Status)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"missing", []string{"/no/such/script"}},
		{"missing from the path", []string{"no-such-script-anywhere"}},
		{"not executable", []string{file(t, 0o644, "exit 0\n")}},
		{"a directory", []string{t.TempDir()}},
		{"nothing", nil},
		{"empty", []string{""}},
	} {
		_, err := Policy{}.Prepare(Command{Args: c.args})
		assert.ErrorIs(t, err, ErrNotFound, c.name)
	}
}

func TestPrepareUsers(t *testing.T) {
	_, err := Policy{}.Prepare(Command{Args: []string{"true"}, User: "nobody-of-this-name"})
	require.Error(t, err)
	_, err = Policy{User: "root", Group: "no-group-of-this-name"}.Prepare(Command{Args: []string{"true"}})
	require.Error(t, err)
	if os.Geteuid() != 0 {
		_, err = Policy{}.Prepare(Command{Args: []string{"true"}, User: "root"})
		require.ErrorIs(t, err, ErrPrivilege)
		return
	}
	script := file(t, 0o755, "#!/bin/sh\nid -u; id -g; id -G\n")
	require.NoError(t, os.Chmod(filepath.Dir(script), 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(script)), 0o755))
	for _, c := range []struct {
		policy  Policy
		command Command
		want    string
	}{
		{Policy{User: "nobody"}, Command{}, "65534\n65534\n65534"},
		{Policy{User: "root"}, Command{User: "nobody"}, "65534\n65534\n65534"},
		{Policy{}, Command{User: "nobody", Group: "0"}, "65534\n0\n0"},
		{Policy{}, Command{User: "65534"}, "65534\n65534\n65534"},
	} {
		c.command.Args = []string{script}
		prog, err := c.policy.Prepare(c.command)
		require.NoError(t, err)
		assert.Equal(t, c.want, prog.Run(t.Context(), Options{Output: true}).Output)
	}
}

// The cases are those of keepalived 2.2.7, asked with -t.
func TestScriptSecurity(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("/etc", "usvs-test-*") // all of the path is root's
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "script")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755))
	require.NoError(t, os.Symlink(path, link))
	require.NoError(t, os.Lchown(link, 65534, 65534))
	type state struct {
		mode     os.FileMode
		uid, gid int
	}
	good := state{0o755, 0, 0}
	for _, c := range []struct {
		name      string
		file, dir state
		user      string
		insecure  bool
	}{
		{name: "root's", file: good, dir: good},
		{name: "everybody may write it", file: state{0o777, 0, 0}, dir: good, insecure: true},
		{name: "another's", file: state{0o755, 65534, 0}, dir: good, insecure: true},
		{name: "another group's, which may not write it", file: state{0o755, 0, 65534}, dir: good},
		{name: "another group may write it", file: state{0o775, 0, 65534}, dir: good, insecure: true},
		{name: "root's group may write it", file: state{0o775, 0, 0}, dir: good},
		{name: "everybody may write its directory", file: good, dir: state{0o777, 0, 0}, insecure: true},
		{name: "its directory is sticky", file: good, dir: state{0o777 | os.ModeSticky, 0, 0}},
		{name: "its directory is another's", file: good, dir: state{0o755, 65534, 0}, insecure: true},
		{name: "it does not run as root", file: state{0o777, 0, 0}, dir: good, user: "nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, s := range map[string]state{path: c.file, dir: c.dir} {
				require.NoError(t, os.Chmod(name, s.mode))
				require.NoError(t, os.Chown(name, s.uid, s.gid))
			}
			for _, name := range []string{path, link} {
				_, err := Policy{Secure: true, User: c.user}.Prepare(Command{Args: []string{name}})
				assert.Equal(t, c.insecure, err != nil, "%v", err)
				if err != nil {
					assert.ErrorIs(t, err, ErrInsecure)
				}
				_, err = Policy{User: c.user}.Prepare(Command{Args: []string{name}})
				assert.NoError(t, err)
			}
		})
	}
}

func TestExitWords(t *testing.T) {
	assert.Equal(t, "exited due to signal 15", Exit{Signal: syscall.SIGTERM, Status: -1}.String())
	assert.Equal(t, "not found/accessible", Exit{Err: ErrNotFound}.String())
	assert.False(t, Exit{Err: ErrNotFound}.OK())
}

func TestRunThatCannotStart(t *testing.T) {
	path := file(t, 0o755, "#!/bin/sh\n")
	prog := prepare(t, path)
	require.NoError(t, os.Remove(path))
	require.ErrorIs(t, prog.Run(t.Context(), Options{}).Err, os.ErrNotExist)
}

// Programs get our environment, but do not speak for us to systemd.
func TestEnvironment(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("HTTP_PROXY", "http://proxy:3128/")
	exit := prepare(t, file(t, 0o755, "#!/bin/sh\nenv\n")).Run(t.Context(), Options{Output: true})
	require.True(t, exit.OK())
	variables := strings.Split(exit.Output, "\n")
	assert.Contains(t, variables, "HTTP_PROXY=http://proxy:3128/")
	assert.Contains(t, variables, "PWD=/")
	for _, v := range variables {
		name, _, _ := strings.Cut(v, "=")
		assert.NotContains(t, service, name)
	}
}
