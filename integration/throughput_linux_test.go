package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

const (
	iperfPort = 5201

	// checkedFrames is how many frames of a run tcpdump looks at.
	checkedFrames = 500
)

// iperfSecs is how long a throughput run takes.
func iperfSecs() string {
	if os.Getenv("USVS_LONG") == "1" {
		return "10"
	}
	return "1"
}

func TestThroughput(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "iperf3", "tcpdump", "nstat", "ethtool")
	if testing.Short() {
		t.Skip("-short")
	}
	for _, m := range bulkModes {
		t.Run(m.name, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { testThroughput(t, lab, &m) })
		})
	}
}

func testThroughput(t *testing.T, lab *netnstest.Lab, m *bulkMode) {
	s, d := m.start(t, lab)
	servers := iperfServers{}
	m.service(d, iperfPort, "-s sh") // the control and the data connection belong together
	// With offloads frames are super-frames without checksums; without, every
	// checksum is there and both the kernel and tcpdump can check it.
	for _, frames := range []string{"Offloaded", "Plain"} {
		if frames == "Plain" {
			for _, ns := range s.ends() {
				ns.Run("ethtool", "-K", "eth0", "tx", "off")
			}
		}
		for _, direction := range []string{"Up", "Down"} {
			t.Run(frames+direction, func(t *testing.T) {
				health := watchTCP(t, s.ends()...)
				var dumps []*dump
				if frames == "Plain" {
					for _, ns := range s.ends() {
						dumps = append(dumps, startDump(t, ns, "eth0", "-Q", "in", "-vv", "-c", fmt.Sprint(checkedFrames), "tcp or ip proto 4"))
					}
				}
				servers.listen(t, s.servers)
				runIperf(t, s.client, m.vip, direction, "--time", iperfSecs())
				servers.awaitEnd(t)
				health.assertUnchanged(damage...) // iperf3 itself ends connections by resets
				assertChecksums(t, dumps)
			})
		}
	}
}

// iperfServers are the servers that wait for a client. Each serves one: between
// two of them it would reset connections for a while.
type iperfServers map[*netnstest.Namespace]*netnstest.Process

// listen sees to it that there is one on every machine.
func (s iperfServers) listen(t *testing.T, machines []*netnstest.Namespace) {
	t.Helper()
	for _, ns := range machines {
		if s[ns] == nil {
			s[ns] = ns.Start("iperf3", "--server", "--one-off", "--forceflush", "--port", fmt.Sprint(iperfPort))
		}
		eventually(t, "iperf3 listens", func() bool { return strings.Contains(s[ns].Output(), "listening") })
	}
}

// awaitEnd waits for the end of the one that had a client.
func (s iperfServers) awaitEnd(t *testing.T) {
	t.Helper()
	eventually(t, "iperf3 has served", func() bool {
		for ns, p := range s {
			select {
			case <-p.Done():
				delete(s, ns)
				return true
			default:
			}
		}
		return false
	})
}

// runIperf measures once and checks that data arrived.
func runIperf(t *testing.T, ns *netnstest.Namespace, vip, direction string, amount ...string) {
	t.Helper()
	args := append([]string{"--client", vip, "--json"}, amount...)
	if direction == "Down" {
		args = append(args, "--reverse")
	}
	var reply struct {
		Error string
		End   struct {
			Sent     struct{ Retransmits int }              `json:"sum_sent"`
			Received struct{ Bytes, BitsPerSecond float64 } `json:"sum_received"`
		}
	}
	out := ns.Run("iperf3", args...)
	require.NoError(t, json.Unmarshal([]byte(out), &reply), out)
	assert.Empty(t, reply.Error)
	assert.Positive(t, reply.End.Received.Bytes)
	t.Logf("%.0f MB, %d retransmissions", reply.End.Received.Bytes/1e6, reply.End.Sent.Retransmits)
}

// assertChecksums: tcpdump found every checksum right.
func assertChecksums(t *testing.T, dumps []*dump) {
	t.Helper()
	right := 0
	for _, d := range dumps {
		text := d.stop()
		right += strings.Count(text, "(correct)")
		for line := range strings.Lines(text) {
			if strings.Contains(line, "incorrect") || strings.Contains(line, "bad cksum") {
				t.Errorf("%s received: %s", d.ns.Name(), line)
			}
		}
	}
	if len(dumps) > 0 {
		assert.GreaterOrEqual(t, right, checkedFrames)
	}
}

// dump is a running tcpdump.
type dump struct {
	t    *testing.T
	ns   *netnstest.Namespace
	proc *netnstest.Process
}

// startDump starts tcpdump on an interface and waits until it sees frames.
func startDump(t *testing.T, ns *netnstest.Namespace, dev string, args ...string) *dump {
	t.Helper()
	cmd := exec.Command("tcpdump", append([]string{"-i", dev, "-n", "-l", "-e", "--immediate-mode", "-Z", "root"}, args...)...)
	d := &dump{t, ns, ns.StartCmd(cmd)}
	eventually(t, "tcpdump listens", func() bool {
		select {
		case <-d.proc.Done():
			// Where root is no real one tcpdump cannot become another user, and gives up.
			netnstest.Skip(t, "tcpdump does not work here: %s", d.proc.Output())
		default:
		}
		return strings.Contains(d.proc.Output(), "listening on")
	})
	return d
}

// lines are the frames seen so far.
func (d *dump) lines() (list []string) {
	for line := range strings.Lines(d.proc.Output()) {
		if !strings.HasPrefix(line, "tcpdump:") && !strings.HasPrefix(line, "listening on") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}

// stop ends tcpdump, which prints all that it has seen before.
func (d *dump) stop() string {
	d.t.Helper()
	_ = unix.Kill(d.proc.Pid(), unix.SIGINT)
	<-d.proc.Done()
	return d.proc.Output()
}
