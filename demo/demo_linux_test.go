package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netlab"
	"usvs/link/netnstest"
)

// nobody is a user without any rights.
const nobody = 65534

// atMost bounds how long a demo may take before the test gives up on it.
const atMost = 2 * time.Minute

// user is who runs the demo.
type user struct {
	name string
	cred *syscall.Credential // nil: who runs the test
}

func users() []user {
	if os.Geteuid() != 0 {
		return []user{{"as ourselves", nil}}
	}
	return []user{{"as root", nil}, {"as nobody", &syscall.Credential{Uid: nobody, Gid: nobody}}}
}

// TestDemo runs the whole command as a user would.
func TestDemo(t *testing.T) {
	exe := build(t)
	for _, u := range users() {
		t.Run(u.name, func(t *testing.T) {
			t.Run("all modes", func(t *testing.T) { allModes(t, u.command(exe)) })
			t.Run("kept", func(t *testing.T) { kept(t, u, exe) })
			t.Run("interrupted", func(t *testing.T) { interruptedBy(t, u.command(exe, "--requests", "10000"), unix.SIGINT) })
			t.Run("killed", func(t *testing.T) { interruptedBy(t, u.command(exe, "--requests", "10000"), unix.SIGKILL) })
			t.Run("killed when to be kept", func(t *testing.T) {
				interruptedBy(t, u.command(exe, "--requests", "10000", "--keep"), unix.SIGKILL)
			})
		})
	}
	t.Run("no room", func(t *testing.T) { noRoom(t, exe) })
	t.Run("bad flags", func(t *testing.T) { badFlags(t, exe) })
}

func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // nobody has to get there
		require.NoError(t, os.Chmod(d, 0o755))
	}
	exe := filepath.Join(dir, "usvs")
	out, err := exec.Command("go", "build", "-o", exe, "usvs/cmd/usvs").CombinedOutput()
	require.NoError(t, err, string(out))
	return exe
}

func (u user) command(exe string, args ...string) *exec.Cmd {
	cmd := exec.Command(exe, append([]string{"demo"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.cred}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "USVS_CONTROL=/nonexistent/not-the-demo's")
	return cmd
}

// runDemo runs a demo to its end. It skips the test where there can be none.
func runDemo(t *testing.T, cmd *exec.Cmd) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), atMost)
	defer cancel()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	if why := regexp.MustCompile(`.*(does not permit|CAP_SYS_ADMIN|operation not permitted).*`).FindString(out.String()); why != "" {
		netnstest.Skip(t, "%s", why)
	}
	return out.String(), err
}

func allModes(t *testing.T, cmd *exec.Cmd) {
	out, err := runDemo(t, cmd)
	require.NoError(t, err, out)
	for _, want := range []string{
		"LVS-DR", "LVS-NAT", "LVS-TUN",
		"rs1 rs2 rs3# usvs realserver up --vip 10.10.100.107 --mode tun --dev eth0",
		"director# usvs run -i eth0 -i eth1 &",
		"rs1      10.10.100.111          1         4         4  ok ########",
		"rs1      10.1.1.78              3         6         6  ok ############",
		"rs2      172.16.52.62           1         3         3  ok ######",
		"TCP  10.10.100.77:80 wrr",
		"-> 172.16.52.61:80              Tunnel  2      6          0",
		"outer from  -                                 10.10.100.1 director            <-",
		"the answer came to the director",
		"All well: 36 requests",
	} {
		assert.Contains(t, out, want)
	}
	assert.NotContains(t, out, "FAILED")
	assert.NotContains(t, out, "\x1b", "no colours in a pipe")
	assert.LessOrEqual(t, strings.Count(out, "\n"), 150, "a demo is to be read")
	for line := range strings.Lines(out) {
		assert.LessOrEqual(t, len(line), 101, line)
	}
}

// kept: the machines outlive the command, can be entered, and go when told to.
func kept(t *testing.T, u user, exe string) {
	out, err := runDemo(t, u.command(exe, "--keep", "--mode", "dr"))
	require.NoError(t, err, out)
	t.Cleanup(func() { _ = u.command(exe, "--clean").Run() })
	m := regexp.MustCompile(`kill (\d+)`).FindStringSubmatch(out)
	require.NotNil(t, m, out)

	again, err := runDemo(t, u.command(exe, "--keep", "--mode", "dr"))
	assert.Error(t, err)
	assert.Contains(t, again, "kept already")

	entered := regexp.MustCompile(`(?m)^  dr director +(nsenter .*)$`).FindStringSubmatch(out)
	require.NotNil(t, entered, out)
	if _, err := exec.LookPath("nsenter"); err == nil {
		words := append(strings.Fields(entered[1]), "/proc/"+m[1]+"/exe", "ipvsadm", "-Ln")
		cmd := exec.Command(words[0], words[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.cred}
		list, err := cmd.CombinedOutput()
		assert.NoError(t, err, string(list))
		assert.Contains(t, string(list), "TCP  10.10.100.107:80 rr")
	}

	cleaned, err := u.command(exe, "--clean").CombinedOutput()
	assert.NoError(t, err, string(cleaned))
	gone(t, m[1])
	nothing, err := u.command(exe, "--clean").CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(nothing), "no demo is being kept")
}

// interruptedBy: however a demo ends, nothing of it is left.
func interruptedBy(t *testing.T, cmd *exec.Cmd, sig os.Signal) {
	p, err := netlab.Start(cmd)
	require.NoError(t, err)
	err = p.WaitFor("the first request", patience, func(out string) bool { return strings.Contains(out, "GET http") })
	select {
	case <-p.Done():
		netnstest.Skip(t, "no demo here: %s", p.Output())
	default:
		require.NoError(t, err)
	}
	inner := children(t, cmd.Process.Pid)
	require.Len(t, inner, 1)
	require.NoError(t, cmd.Process.Signal(sig))
	<-p.Done()
	if sig == unix.SIGINT {
		assert.Equal(t, interrupted, cmd.ProcessState.ExitCode())
	}
	gone(t, inner[0])
}

// children are the processes whose parent is pid.
func children(t *testing.T, pid int) (pids []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/status")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && bytes.Contains(text, fmt.Appendf(nil, "\nPPid:\t%d\n", pid)) {
			pids = append(pids, strings.Split(file, "/")[2])
		}
	}
	return pids
}

// gone waits for the end of a process that is the first of its PID namespace:
// it ends when all others of the namespace have.
func gone(t *testing.T, pid string) {
	t.Helper()
	assert.Eventually(t, func() bool {
		text, err := os.ReadFile("/proc/" + pid + "/status")
		return err != nil || bytes.Contains(text, []byte("State:\tZ"))
	}, patience, 10*time.Millisecond, "process %s is still there", pid)
}

// noRoom: a machine that cannot have the networks says why, and the exit
// status says that nothing worked.
func noRoom(t *testing.T, exe string) {
	cmd := exec.Command("sh", "-c", `ulimit -n 20 && exec "$0" demo --mode nat,dr`, exe)
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "does not permit") {
		netnstest.Skip(t, "%s", out)
	}
	assert.Equal(t, 1, cmd.ProcessState.ExitCode(), "%v", err)
	assert.Contains(t, string(out), "FAILED: ")
	assert.Contains(t, string(out), "too many open files")
	assert.Contains(t, string(out), "Did not work: LVS-NAT: masquerading, LVS-DR: direct routing.")
}

func badFlags(t *testing.T, exe string) {
	for args, want := range map[string]string{
		"--mode fnat":     "want all, or some of dr,nat,tun",
		"--requests 0":    "want 1 to",
		"inside":          "for usvs demo to call",
		"--nonsense":      "unknown flag",
		"inside --mode x": "want all",
	} {
		out, err := user{}.command(exe, strings.Fields(args)...).CombinedOutput()
		assert.Error(t, err, args)
		assert.Contains(t, string(out), want, args)
	}
}
