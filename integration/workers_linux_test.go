package integration

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/link/netnstest"
)

// needCPUs skips the test on a machine with fewer.
func needCPUs(t *testing.T, n int) {
	t.Helper()
	if runtime.NumCPU() < n {
		netnstest.Skip(t, "the test needs %d CPUs", n)
	}
}

// Several workers on each interface do what one does: every mode works, each
// connection is counted once, and there is one ARP answer.
func TestWorkers(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "arping")
	needCPUs(t, 2)
	for _, io := range packetBackends {
		for _, m := range bulkModes {
			t.Run(m.name+"/"+io, func(t *testing.T) {
				netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { testWorkers(t, lab, &m, io) })
			})
		}
	}
}

func testWorkers(t *testing.T, lab *netnstest.Lab, m *bulkMode, io string) {
	if io == "xdp" {
		queues = 2
	}
	s := m.site(t, lab)
	if m.prepare != "" {
		s.realServersUp(m.vip, m.prepare)
	}
	clients := []string{"10.10.100.", "192.168.40."}
	prefix := clients[0]
	if m.repliesPass {
		prefix = clients[1]
	}
	var sources []string
	for i := range 12 {
		sources = append(sources, fmt.Sprint(prefix, 150+i))
		s.client.AddAddr("eth0", sources[i]+"/24")
	}
	d := startDirector(t, s.director, m.interfaces+" --workers 2 --cpus 0-1 --io "+io)
	assert.True(t, d.logged("workers=2"), d.proc.Output())
	assert.True(t, d.logged("cpus=\"[0 1]\""), d.proc.Output())
	for _, rs := range s.servers {
		startNginx(t, rs, 80)
	}
	m.service(d, 80, "-s rr")
	health := watchTCP(t, s.ends()...)
	for _, source := range sources {
		out := s.client.Run("curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "20",
			"--interface", source, "http://"+m.vip+"/")
		assert.NotEmpty(t, out)
	}
	rows := d.counted(m.vip+":80", len(sources))
	for _, rs := range m.servers {
		assert.EqualValues(t, len(sources)/len(m.servers), rows[rs+":80"].conns, rs)
	}
	health.assertUnchanged(append(damage, resets...)...)
	pumps := d.status()
	if d.logged("steered=true") && io != "xdp" { // whose queue is the sender's choice
		assert.NotZero(t, pumps["pump eth0"]["rx frames"])
		assert.NotZero(t, pumps["pump eth0 worker 1"]["rx frames"])
	}
	if !m.repliesPass {
		out := s.client.Run("arping", "-c", "3", "-w", "10", "-I", "eth0", m.vip)
		assert.Contains(t, out, "Received 3 response(s)", "one answer to each")
	}
}

// Unless asked for there is a worker for each CPU, of which one is given frames at
// first.
func TestWorkersAuto(t *testing.T) {
	t.Parallel()
	needCPUs(t, 2)
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		m := &bulkModes[0]
		s := m.site(t, lab)
		d := startDirector(t, s.director, m.interfaces)
		if !d.logged("steered=true") {
			assert.True(t, d.logged("one worker"), d.proc.Output())
			netnstest.Skip(t, "frames cannot be steered here")
		}
		assert.True(t, d.logged("active=1"), d.proc.Output())
		st := d.status()["workers"]
		assert.EqualValues(t, 1, st["active"])
		assert.GreaterOrEqual(t, st["open"], uint64(2))
	})
}

func TestWorkersImpossible(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		ns := ioLab(lab)
		for words, reason := range map[string]string{
			"--workers 9999":          "--workers 9999: want 1 to",
			"--workers -1":            "--workers -1: want 1 to",
			"--cpus 1000":             "cannot run on CPU 1000",
			"--cpus x":                "like 0,2-3",
			"--napi soft":             "want keep, auto or threads",
			"--pprof 192.0.2.1:6060":  "--pprof-public",
			"--pprof localhost":       "want an address and a port",
			"--pprof 127.0.0.1:99999": "invalid port",
		} {
			out, err := ns.Try(program(), append([]string{"run", "-i", "eth0"}, strings.Fields(words)...)...)
			assert.Error(t, err)
			assert.Contains(t, out, reason)
		}
	})
}

// Threads of the kernel's receive while the director runs, if that is wanted, and
// its connections do not notice.
func TestReceivingThreads(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "ethtool")
	for _, io := range packetBackends {
		t.Run(io, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { testReceivingThreads(t, lab, io) })
		})
	}
}

func testReceivingThreads(t *testing.T, lab *netnstest.Lab, io string) {
	m := &bulkModes[0]
	s := m.site(t, lab)
	if m.prepare != "" {
		s.realServersUp(m.vip, m.prepare)
	}
	for _, rs := range s.servers {
		startNginx(t, rs, 80)
	}
	threaded := func() string { // /sys shows the interfaces of the namespace it was mounted in
		return strings.TrimSpace(s.director.Run("unshare", "-m", "sh", "-c", "mount -t sysfs sysfs /sys && cat /sys/class/net/eth0/threaded"))
	}
	if io != "xdp" { // whose program has a veth queue frames
		d := launchDirector(t, s.director, "-i", "eth0", "--io", io, "--napi", "threads")
		<-d.proc.Done()
		assert.Contains(t, d.proc.Output(), "--napi threads: threads that receive for eth0: its driver has nothing")
		d = startDirector(t, s.director, m.interfaces+" --napi auto --io "+io)
		assert.True(t, d.logged("interrupts receive, as before"), d.proc.Output())
		d.stop()
		s.director.Run("ethtool", "-K", "eth0", "gro", "on")
	}
	assert.Equal(t, "0", threaded())
	d := startDirector(t, s.director, m.interfaces+" --napi auto --cpus 0 --io "+io)
	assert.True(t, d.logged(`threads of the kernel's receive`), d.proc.Output())
	assert.Equal(t, "1", threaded())
	m.service(d, 80, "-s rr")
	for range 2 * len(m.servers) {
		s.client.Run("curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "20", "http://"+m.vip+"/")
	}
	d.stop()
	assert.Equal(t, "0", threaded(), "as it was")
}

// Profiles are served while the director works, if that is wanted.
func TestPprof(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "curl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		ns := ioLab(lab)
		d := &director{t: t, ns: ns, proc: ns.StartCmd(exec.Command(program(), "run", "-i", "eth0", "--pprof", "127.0.0.1:6060"))}
		eventually(t, "it runs", func() bool { return d.ended() || d.logged("director is running") })
		eventually(t, "profiles are served", func() bool { return d.ended() || d.logged(`url=http://127.0.0.1:6060/debug/pprof/`) })
		code := ns.Run("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "http://127.0.0.1:6060/debug/pprof/heap")
		assert.Equal(t, "200", code)
		d.stop()
	})
}
