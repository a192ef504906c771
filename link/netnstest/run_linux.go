package netnstest

import (
	"bufio"
	"bytes"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv names, in the process that Run starts, the test it was started for.
const childEnv = "USVS_NETNSTEST"

// requireEnv turns skips into failures: in CI a test that did not run is a
// test that did not pass.
const requireEnv = "USVS_REQUIRE"

// Run calls f as the body of test t in a process and a network of its own.
func Run(t *testing.T, f func(t *testing.T, lab *Lab)) {
	t.Helper()
	if inChild(t) {
		f(t, newLab(t))
		return
	}
	args := []string{"-test.run=" + pattern(t.Name()), "-test.v"}
	if deadline, ok := t.Deadline(); ok {
		left := max(time.Until(deadline)-3*time.Second, time.Second)
		args = append(args, "-test.timeout="+left.String())
	}
	out, err := runChild(t, args)
	report(t, out, err)
}

// Bench is Run for a benchmark. The lab's process measures; b repeats what it
// reported.
func Bench(b *testing.B, f func(b *testing.B, lab *Lab)) {
	b.Helper()
	if inChild(b) {
		f(b, newLab(b))
		return
	}
	// The testing package calls with growing b.N until the time is used up.
	// The child went through that already, so that one result serves all calls.
	out, ok := benchOutput[b.Name()]
	if !ok {
		var err error
		out, err = runChild(b, []string{"-test.run=^$", "-test.bench=" + pattern(b.Name()), "-test.v",
			"-test.benchtime=" + flag.Lookup("test.benchtime").Value.String()})
		if err != nil || !bytes.Contains(out, []byte("ns/op")) {
			report(b, out, err)
		}
		benchOutput[b.Name()] = out
	}
	for unit, v := range metrics(out) {
		b.ReportMetric(v, unit)
	}
}

// benchOutput needs no lock: benchmarks run one at a time.
var benchOutput = map[string][]byte{}

// Skip skips the test for want of something, or fails it if USVS_REQUIRE=1.
func Skip(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv(requireEnv) == "1" {
		tb.Fatalf(requireEnv+"=1, but: "+format, args...)
	}
	tb.Skipf(format, args...)
}

// NeedCommands skips the test unless all the programs are installed.
func NeedCommands(tb testing.TB, names ...string) {
	tb.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			Skip(tb, "%s is not installed", name)
		}
	}
}

var ranAlready bool

func inChild(tb testing.TB) bool {
	tb.Helper()
	name := os.Getenv(childEnv)
	if name == "" {
		return false
	}
	if _, isBench := tb.(*testing.B); !isBench && (name != tb.Name() || ranAlready) {
		tb.Fatalf("netnstest: one Run per test, and none inside another: this process runs %s", name)
	}
	ranAlready = true
	return true
}

// pattern matches exactly the test or subtest called name.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// runChild runs this test binary in new namespaces. Root needs no user
// namespace, unless it is a root without CAP_SYS_ADMIN, as in a container.
func runChild(tb testing.TB, args []string) ([]byte, error) {
	tb.Helper()
	if testing.Short() {
		args = append(args, "-test.short")
	}
	// The death signal comes when the starting thread ends: keep the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	var startErr error
	for _, user := range []bool{false, true} {
		if !user && os.Geteuid() != 0 {
			continue
		}
		cmd := exec.Command("/proc/self/exe", args...)
		// A race detector that lingers at exit would cost a second per test.
		cmd.Env = append(os.Environ(), childEnv+"="+tb.Name(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = childAttr(user)
		if startErr = cmd.Start(); startErr == nil {
			err := cmd.Wait()
			return out.Bytes(), err
		}
	}
	Skip(tb, "the kernel does not permit new namespaces: %v", startErr)
	return nil, nil
}

func childAttr(user bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if user {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// report makes the child's outcome this test's own.
func report(tb testing.TB, out []byte, err error) {
	tb.Helper()
	text := strings.TrimSpace(string(out))
	name := regexp.QuoteMeta(tb.Name())
	if regexp.MustCompile(`(?m)^\s*--- SKIP: ` + name + `( |$)`).MatchString(text) {
		tb.Skipf("in its namespace:\n%s", text)
	}
	if err != nil {
		tb.Fatalf("in its namespace: %v\n%s", err, text)
	}
	if !regexp.MustCompile(`(?m)^\s*--- PASS: ` + name + ` `).MatchString(text) {
		tb.Fatalf("in its namespace the test did not run:\n%s", text)
	}
	tb.Logf("in its namespace:\n%s", text)
}

// metrics reads the "123 ns/op" pairs of a benchmark's result line.
func metrics(out []byte) map[string]float64 {
	m := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		for i := 0; i+1 < len(fields); i++ {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err == nil && strings.Contains(fields[i+1], "/") {
				m[fields[i+1]] = v
			}
		}
	}
	return m
}
