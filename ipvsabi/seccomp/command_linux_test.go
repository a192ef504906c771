package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/ipvs"
	"usvs/link/netnstest"
)

// usvs is a lab with a director's interface, eth0.
type usvs struct {
	*testing.T
	*netnstest.Namespace
}

// inLab calls f in a lab. Debian's ipvsadm is wanted, not a link to ours.
func inLab(t *testing.T, f func(u usvs)) {
	t.Helper()
	t.Parallel()
	netnstest.NeedCommands(t, "ipvsadm")
	path, _ := exec.LookPath("ipvsadm")
	if real, _ := filepath.EvalSymlinks(path); filepath.Base(real) == "usvs" {
		netnstest.Skip(t, "%s is a link to usvs, not Debian's", path)
	}
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		director, plug := lab.Namespace("director"), lab.Namespace("plug")
		lab.Veth(director, "eth0", plug, "eth0")
		director.AddAddr("eth0", "10.0.0.1/24")
		f(usvs{t, director})
	})
}

// director starts `usvs run`.
func (u usvs) director(flags ...string) {
	u.Helper()
	p := u.Start(os.Getenv(binaryEnv), append([]string{"run", "-i", "eth0"}, flags...)...)
	eventually(u.T, "the director runs", func() bool { return strings.Contains(p.Output(), "director is running") })
}

// run runs usvs and returns what it printed and its exit status.
func (u usvs) run(words ...string) (string, int) {
	u.Helper()
	out, err := u.Try(os.Getenv(binaryEnv), words...)
	if err == nil {
		return out, 0
	}
	ended, ok := err.(*exec.ExitError)
	require.True(u, ok, "%v: %s", err, out)
	return out, ended.ExitCode()
}

// exec runs a shell command under usvs exec.
func (u usvs) exec(line string) (string, int) {
	u.Helper()
	return u.run("exec", "--", "sh", "-c", line)
}

// start starts a shell command under usvs exec, without a terminal, and waits
// until it says ready.
func (u usvs) start(line string) *netnstest.Process {
	u.Helper()
	cmd := exec.Command(os.Getenv(binaryEnv), "exec", "--", "sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p := u.Namespace.StartCmd(cmd)
	eventually(u.T, "it is ready", func() bool { return strings.Contains(p.Output(), "ready") })
	return p
}

func TestIPVSAdm(t *testing.T) {
	inLab(t, func(u usvs) {
		u.director()
		for _, line := range []string{
			"-A -t 10.0.0.9:80 -s wrr -p 600", "-a -t 10.0.0.9:80 -r 10.0.0.21:8080 -m -w 3 -x 100 -y 50",
			"-a -t 10.0.0.9:80 -r 10.0.0.22 -g -w 0", "-A -u [2001:db8::80]:53 -s sh -b sh-port",
			"-a -u [2001:db8::80]:53 -r [2001:db8::1]:53 -i --tun-type gue --tun-port 6080",
			"-A -f 11 -s rr", "-E -f 11 -s wlc", "-e -t 10.0.0.9:80 -r 10.0.0.22 -g -w 7", "--set 100 0 20",
		} {
			out, status := u.run(append([]string{"exec", "ipvsadm"}, strings.Fields(line)...)...)
			require.Zero(u, status, "ipvsadm %s: %s", line, out)
		}
		for _, list := range []string{"-Ln", "-Ln --stats", "-Ln --rate", "-Ln --thresholds", "-S -n", "-Lnc", "-L --timeout", "-Ln -f 11"} {
			theirs, status := u.run(append([]string{"exec", "ipvsadm"}, strings.Fields(list)...)...)
			assert.Zero(u, status, list)
			ours, _ := u.run(append([]string{"ipvsadm"}, strings.Fields(list)...)...)
			assert.Equal(u, ours, theirs, list)
		}
		out, status := u.exec("ipvsadm -A -f 11")
		assert.Contains(u, out, "Service already exists")
		assert.Equal(u, 255, status)

		// The socket options, which show only what they can.
		out, status = u.exec("ulimit -n 512; ipvsadm -Ln; ipvsadm -D -t 10.0.0.9:80 && ipvsadm -Ln")
		assert.Zero(u, status, out)
		assert.Contains(u, out, "10.0.0.22:80                 Route   7")
		assert.Contains(u, out, "may open fewer than 1008 files")
	})
}

// More services than the receive queue takes, added and listed.
func TestManyServices(t *testing.T) {
	inLab(t, func(u usvs) {
		u.director()
		file := filepath.Join(u.TempDir(), "rules")
		var rules strings.Builder
		for i := range 700 {
			fmt.Fprintf(&rules, "-A -t 10.1.%d.%d:80 -s rr\n", i/200, i%200+1)
		}
		require.NoError(u, os.WriteFile(file, []byte(rules.String()), 0o600))
		out, status := u.exec("ipvsadm -R <" + file + "; ipvsadm -Ln | grep -c TCP")
		assert.Zero(u, status)
		assert.Equal(u, "700\n", out)
	})
}

func TestStatus(t *testing.T) {
	inLab(t, func(u usvs) {
		for line, want := range map[string]int{"true": 0, "exit 7": 7, "kill -KILL $$": -1} {
			_, status := u.exec(line)
			assert.Equal(u, want, status, line)
		}
		for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGSEGV, unix.SIGUSR1, unix.SIGKILL} {
			_, err := u.Try(os.Getenv(binaryEnv), "exec", "sh", "-c", fmt.Sprintf("kill -%d $$", int(sig)))
			ended, ok := err.(*exec.ExitError)
			require.True(u, ok, "%v: %v", sig, err)
			ws := ended.Sys().(syscall.WaitStatus)
			assert.True(u, ws.Signaled() && ws.Signal() == sig && !ws.CoreDump(), "%v ended it as %v", sig, err)
		}
		out, status := u.run("exec", "--", "nosuchprogram")
		assert.Equal(u, 127, status, out)
		out, status = u.run("exec", "/etc/passwd")
		assert.Equal(u, 126, status, out)
		_, status = u.run("exec")
		assert.Equal(u, 1, status)
	})
}

func TestSignals(t *testing.T) {
	inLab(t, func(u usvs) {
		for _, name := range []string{"INT", "TERM", "HUP", "QUIT", "USR1", "USR2"} {
			p := u.start("trap 'echo got " + name + "; exit 5' " + name + "; echo ready; while :; do sleep 0.02; done")
			u.Namespace.Run("kill", "-"+name, strconv.Itoa(p.Pid()))
			_ = p.Wait()
			assert.Equal(u, "ready\ngot "+name+"\n", p.Output())
		}
		// What is ignored stays so, for the program too.
		p := u.Namespace.StartCmd(exec.Command("sh", "-c", "trap '' HUP; exec "+os.Getenv(binaryEnv)+" exec sh -c 'kill -HUP $$; echo alive'"))
		assert.NoError(u, p.Wait())
		assert.Equal(u, "alive\n", p.Output())
	})
}

// ^C reaches the program once: from the terminal.
func TestTerminal(t *testing.T) {
	inLab(t, func(u usvs) {
		master, slave := openPty(u.T)
		defer master.Close()
		file := filepath.Join(u.TempDir(), "log")
		cmd := exec.Command(os.Getenv(binaryEnv), "exec", "--", "sh", "-c",
			"trap 'echo INT' INT; trap 'echo USR1; exit 0' USR1; echo ready; while :; do sleep 0.02; done")
		log, err := os.Create(file)
		require.NoError(u, err)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		p := u.Namespace.StartCmd(cmd)
		slave.Close()
		said := func() string {
			text, _ := os.ReadFile(file)
			return string(text)
		}
		eventually(u.T, "it is ready", func() bool { return strings.Contains(said(), "ready") })
		_, err = master.Write([]byte{3})
		require.NoError(u, err)
		eventually(u.T, "the interrupt is seen", func() bool { return strings.Contains(said(), "INT") })
		u.Namespace.Run("kill", "-USR1", strconv.Itoa(p.Pid()))
		_ = p.Wait()
		assert.Equal(u, "ready\nINT\nUSR1\n", said())
	})
}

func openPty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		netnstest.Skip(t, "no pseudo-terminals here: %v", err)
	}
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	fd, err := unix.IoctlRetInt(int(master.Fd()), unix.TIOCGPTPEER)
	if err != nil {
		n, e := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
		require.NoError(t, e)
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
		require.NoError(t, err)
		return master, slave
	}
	return master, os.NewFile(uintptr(fd), "pty")
}

// The wrapper stays for what the program leaves behind, and serves it.
func TestDaemon(t *testing.T) {
	inLab(t, func(u usvs) {
		u.director()
		file := filepath.Join(u.TempDir(), "listed")
		_, status := u.exec("(setsid sh -c 'sleep 0.3; ipvsadm -Ln >" + file + "' >/dev/null 2>&1 &) ; exit 3")
		assert.Equal(u, 3, status)
		text, err := os.ReadFile(file)
		require.NoError(u, err)
		assert.Contains(u, string(text), "IP Virtual Server")

		// A signal reaches what is left.
		p := u.start("setsid sh -c 'trap \"echo got; exit\" TERM; echo ready; while :; do sleep 0.02; done' & exit 4")
		eventually(u.T, "the daemon ends", func() bool {
			_, _ = u.Try("kill", "-TERM", strconv.Itoa(p.Pid())) // the first may reach the program itself
			select {
			case <-p.Done():
				return true
			default:
				return false
			}
		})
		assert.Contains(u, p.Output(), "ready\ngot\n")
	})
}

// What a shell left behind that became the wrapper is not waited for.
func TestStrangers(t *testing.T) {
	inLab(t, func(u usvs) {
		out, err := u.Try("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!; exec "+os.Getenv(binaryEnv)+" exec -- echo ran")
		require.NoError(u, err, out)
		var pid int
		_, err = fmt.Sscanf(out, "%d\nran\n", &pid)
		require.NoError(u, err, out)
		u.Namespace.Run("kill", strconv.Itoa(pid))
	})
}

// When the wrapper is killed the program is told to end. What it starts before
// it hears of that may find no files.
func TestKilledWrapper(t *testing.T) {
	inLab(t, func(u usvs) {
		p := u.start("trap 'echo TERM; exit' TERM; echo ready; while :; do sleep 0.02; done")
		u.Namespace.Run("kill", "-KILL", strconv.Itoa(p.Pid()))
		_ = p.Wait()
		assert.Regexp(u, `^ready\n(?s:.*)TERM\n$`, p.Output())
	})
}

func TestNested(t *testing.T) {
	inLab(t, func(u usvs) {
		u.director()
		u.run("ipvsadm", "-A", "-t", "10.0.0.9:80")
		out, status := u.exec(os.Getenv(binaryEnv) + " exec -- " + os.Getenv(binaryEnv) + " exec ipvsadm -Ln; exit 9")
		assert.Equal(u, 9, status)
		assert.Contains(u, out, "10.0.0.9:80 wlc")
	})
}

// Each network namespace has its own director, or none.
func TestNamespaces(t *testing.T) {
	inLab(t, func(u usvs) {
		u.director()
		u.run("ipvsadm", "-A", "-t", "10.0.0.9:80")
		out, status := u.exec("ipvsadm -Ln; unshare -n ipvsadm -Ln")
		assert.Equal(u, 2, status)
		assert.Contains(u, out, "10.0.0.9:80 wlc")
		assert.Contains(u, out, "no director runs in the network namespace of ipvsadm")
		assert.Contains(u, out, "Protocol not available")
	})
}

func TestPermissions(t *testing.T) {
	inLab(t, func(u usvs) {
		netnstest.NeedCommands(t, "setpriv")
		u.director()
		out, status := u.exec("setpriv --bounding-set=-net_admin --inh-caps=-net_admin ipvsadm -Ln")
		assert.Equal(u, 2, status)
		assert.Contains(u, out, "Permission denied (you must be root)")
		out, _ = u.exec("grep NoNewPrivs /proc/self/status")
		assert.Contains(u, out, "0")
		out, err := u.Try("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", os.Getenv(binaryEnv), "exec", "grep", "NoNewPrivs", "/proc/self/status")
		require.NoError(u, err, out)
		assert.Contains(u, out, "1", "without CAP_SYS_ADMIN the program cannot gain privileges")
	})
}

func TestFiles(t *testing.T) {
	inLab(t, func(u usvs) {
		u.director()
		const vs = "/proc/sys/net/ipv4/vs/"
		for line, want := range map[string]string{
			"cat /proc/net/ip_vs": "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n" +
				"  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n",
			"[ -e /proc/net/ip_vs ] && [ -r /proc/self/net/ip_vs ] && echo yes": "yes\n",
			"cd /proc/net && head -c 10 ip_vs":                                  "IP Virtual",
			"echo 1 >" + vs + "drop_entry; cat " + vs + "drop_entry":            "1\n",
			"echo 1 | tee " + vs + "sloppy_tcp; cat " + vs + "sloppy_tcp":       "1\n1\n",
			"echo x | tee " + vs + "cache_bypass; cat " + vs + "cache_bypass":   "x\ntee: " + vs + "cache_bypass: Invalid argument\n0\n",
			"echo x >" + vs + "nat_icmp_send; cat " + vs + "nat_icmp_send":      "usvs exec: " + vs + "nat_icmp_send is not set to \"x\": invalid argument\n0\n",
			"ls /proc/net/ip_vs_nosuch 2>/dev/null || echo none":                "none\n",
			"ls " + vs + " | grep -c .":                                         fmt.Sprintln(len(ipvs.SysctlKeys())),
		} {
			out, _ := u.exec(line)
			assert.Equal(u, want, out, line)
		}
		if _, err := exec.LookPath("sysctl"); err == nil {
			out, _ := u.exec("sysctl -w net.ipv4.vs.am_droprate=20; sysctl net.ipv4.vs.am_droprate; sysctl -w net.ipv4.vs.conntrack=x")
			assert.Equal(u, "net.ipv4.vs.am_droprate = 20\nnet.ipv4.vs.am_droprate = 20\nsysctl: setting key \"net.ipv4.vs.conntrack\": Invalid argument\n", out)
		}
		_, status := u.run("exec", "--files=false", "cat", "/proc/net/ip_vs")
		assert.NotZero(u, status)
	})
}

// The director comes and goes with the program.
func TestStart(t *testing.T) {
	inLab(t, func(u usvs) {
		netnstest.NeedCommands(u.T, "pgrep")
		start := []string{"exec", "--start", "-i eth0 --log-level error", "--", "sh", "-c"}
		out, status := u.run(append(start, "ipvsadm -A -t 10.0.0.9:80 && ipvsadm -S -n; exit 6")...)
		assert.Equal(u, 6, status)
		assert.Equal(u, "-A -t 10.0.0.9:80 -s wlc\n", out)
		out, status = u.run("ipvsadm", "-Ln")
		assert.NotZero(u, status, out)
		out, status = u.run("exec", "--start", "-i nosuch", "true")
		assert.Equal(u, 1, status)
		assert.Contains(u, out, "the director did not start")
		out, status = u.run(append(start, "trap 'echo TERM; exit' TERM; kill -KILL $(pgrep -P $PPID -f '[r]un --own host'); while :; do sleep 0.02; done")...)
		assert.Equal(u, 1, status, "a program without its director failed")
		assert.Contains(u, out, "TERM\n")
		assert.Contains(u, out, "its programs are asked to end, too")
		u.director()
		out, status = u.run(append(start, "true")...)
		assert.Equal(u, 1, status)
		assert.Contains(u, out, "runs here already")
	})
}

// A director that owns what keepalived would have to own is told of.
func TestOwnershipWarning(t *testing.T) {
	inLab(t, func(u usvs) {
		path, err := exec.LookPath("ipvsadm")
		require.NoError(u, err)
		keepalived := filepath.Join(u.TempDir(), "keepalived")
		require.NoError(u, os.Symlink(path, keepalived))
		u.director()
		out, _ := u.exec("ipvsadm -Ln")
		assert.NotContains(u, out, "WARNING")
		out, _ = u.exec(keepalived + " -Ln; " + keepalived + " -Ln")
		assert.Equal(u, 1, strings.Count(out, "WARNING"), out)
		out, _ = u.run("--control", "@other", "exec", "--start", "-i eth0 --log-level error", keepalived, "-Ln")
		assert.NotContains(u, out, "WARNING")
		assert.Contains(u, out, "IP Virtual Server")
	})
}

// Files that the wrapper got from its parent are the program's.
func TestInheritedFiles(t *testing.T) {
	inLab(t, func(u usvs) {
		const line = "echo in | %s sh -c 'cat; echo three >&3; ls /proc/self/fd' 3>&1"
		out, err := u.Try("sh", "-c", fmt.Sprintf(line, os.Getenv(binaryEnv)+" exec"))
		require.NoError(u, err, out)
		want, _ := u.Try("sh", "-c", fmt.Sprintf(line, ""))
		assert.Equal(u, want, out, "and no others")
	})
}
