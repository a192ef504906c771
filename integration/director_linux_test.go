package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// patience bounds what should happen soon. Only a hang takes as long.
const patience = 30 * time.Second

// eventually waits until good holds.
func eventually(t *testing.T, what string, good func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !good(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

// director is a running `usvs run`.
type director struct {
	t      *testing.T
	ns     *netnstest.Namespace
	proc   *netnstest.Process
	killed bool
}

// startDirector starts `usvs run` with arguments and waits until it works. When
// the test ends the director is stopped and its log looked through.
func startDirector(t *testing.T, ns *netnstest.Namespace, args string) *director {
	t.Helper()
	d := launchDirector(t, ns, strings.Fields(args)...)
	eventually(t, "the director is running: "+args, func() bool { return d.ended() || d.logged("director is running") })
	if d.ended() && d.logged("CAP_BPF") {
		netnstest.Skip(t, "%s", d.proc.Output())
	}
	if d.ended() {
		t.Fatalf("usvs run %s ended: %s", args, d.proc.Output())
	}
	t.Cleanup(func() { d.stop() })
	return d
}

// launchDirector starts `usvs run` and waits for nothing.
func launchDirector(t *testing.T, ns *netnstest.Namespace, args ...string) *director {
	t.Helper()
	cmd := exec.Command(program(), append(runWords(), args...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return &director{t: t, ns: ns, proc: ns.StartCmd(cmd)}
}

func (d *director) ended() bool {
	select {
	case <-d.proc.Done():
		return true
	default:
		return false
	}
}

func (d *director) logged(text string) bool { return strings.Contains(d.proc.Output(), text) }

// stop ends the director as systemd would, and checks how it ended. It may be
// called again.
func (d *director) stop() {
	d.t.Helper()
	if d.t.Failed() && !d.ended() {
		d.t.Logf("status of the director on %s:\n%s", d.ns.Name(), d.statusText())
		for _, list := range []string{"-Ln", "-Ln --stats", "-Lnc"} {
			out, _ := d.ns.Try(program(), append([]string{"ipvsadm"}, strings.Fields(list)...)...)
			d.t.Log(out)
		}
	}
	if err := d.proc.Stop(); !d.killed {
		assert.NoError(d.t, err, "the director's end")
	}
	d.checkLog()
	if d.t.Failed() {
		d.t.Logf("log of the director on %s:\n%s", d.ns.Name(), d.proc.Output())
	}
}

// checkLog looks for what a director never says.
func (d *director) checkLog() {
	d.t.Helper()
	for _, bad := range []string{"panic:", "DATA RACE", "fatal error:", "cannot keep the host's own stack away", "are lost", "a second time"} {
		assert.NotContains(d.t, d.proc.Output(), bad)
	}
}

// kill ends the director as nobody should.
func (d *director) kill() {
	d.t.Helper()
	d.killed = true
	d.ns.Run("kill", "-9", strconv.Itoa(d.proc.Pid()))
	<-d.proc.Done()
}

// pause stops the director's process where it is, with all its threads, resume
// lets it go on.
func (d *director) pause() {
	d.t.Helper()
	d.ns.Run("kill", "-STOP", strconv.Itoa(d.proc.Pid()))
	eventually(d.t, "the director stands still", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", d.proc.Pid()))
		return !slices.ContainsFunc(threads, func(path string) bool {
			stat, err := os.ReadFile(path)
			return err == nil && !bytes.Contains(stat, []byte(") T "))
		})
	})
}

func (d *director) resume() { d.ns.Run("kill", "-CONT", strconv.Itoa(d.proc.Pid())) }

// usvs runs a command line of the program, which starts behind the word usvs,
// and returns what it printed. The test ends if it fails.
func usvs(t *testing.T, ns *netnstest.Namespace, line string) string {
	t.Helper()
	out, err := ns.Try(program(), strings.Fields(line)...)
	require.NoError(t, err, "%s# usvs %s\n%s", ns.Name(), line, out)
	return out
}

// ipvsadm runs ipvsadm commands, one per argument, and returns what the last
// one printed.
func (d *director) ipvsadm(lines ...string) (out string) {
	d.t.Helper()
	for _, line := range lines {
		out = usvs(d.t, d.ns, "ipvsadm "+line)
	}
	return out
}

// status are the counters `usvs status` prints, by group and name.
func (d *director) status() map[string]map[string]uint64 {
	d.t.Helper()
	groups := map[string]map[string]uint64{}
	var group string
	for line := range strings.Lines(usvs(d.t, d.ns, "status")) {
		text := strings.TrimRight(line, "\n")
		if !strings.HasPrefix(text, " ") {
			group = text
			groups[group] = map[string]uint64{}
			continue
		}
		cut := strings.LastIndexByte(text, ' ')
		n, err := strconv.ParseUint(text[cut+1:], 10, 64)
		require.NoError(d.t, err, "status line %q", text)
		groups[group][strings.TrimSpace(text[:cut])] = n
	}
	return groups
}

func (d *director) statusText() string {
	out, _ := d.ns.Try(program(), "status")
	return out
}

// count is a counter of frames by reason.
func (d *director) count(reason string) uint64 {
	d.t.Helper()
	return d.status()["frames"][reason]
}

// traffic is a row of `ipvsadm -Ln --stats --exact`.
type traffic struct{ conns, inPkts, outPkts, inBytes, outBytes uint64 }

// stats are the counters of services and real servers, by address and port.
// Like the kernel's they are up to two seconds old.
func (d *director) stats() map[string]traffic {
	d.t.Helper()
	rows := map[string]traffic{}
	for name, n := range table(d.t, d.ipvsadm("-Ln --stats --exact")) {
		rows[name] = traffic{n[0], n[1], n[2], n[3], n[4]}
	}
	return rows
}

// counted waits until a service has counted its connections, and returns stats.
func (d *director) counted(service string, conns int) (rows map[string]traffic) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("%d connections are counted", conns), func() bool {
		rows = d.stats()
		return rows[service].conns == uint64(conns)
	})
	return rows
}

// serverList is what `ipvsadm -Ln` has behind each real server's method:
// Weight, ActiveConn, InActConn.
func (d *director) serverList() map[string][]uint64 {
	d.t.Helper()
	return table(d.t, d.ipvsadm("-Ln"))
}

var (
	endpointWord = regexp.MustCompile(`^(\[.*\]|[0-9.]+):[0-9]+$`)
	numberWord   = regexp.MustCompile(`^[0-9]+$`)
)

// table reads ipvsadm's rows of numbers.
func table(t *testing.T, out string) map[string][]uint64 {
	t.Helper()
	rows := map[string][]uint64{}
	for line := range strings.Lines(out) {
		var name string
		var numbers []uint64
		for _, word := range strings.Fields(line) {
			switch {
			case endpointWord.MatchString(word):
				name = word
			case name != "" && numberWord.MatchString(word):
				n, err := strconv.ParseUint(word, 10, 64)
				require.NoError(t, err)
				numbers = append(numbers, n)
			}
		}
		if name != "" && numbers != nil {
			rows[name] = numbers
		}
	}
	return rows
}

// nftTables are the names of the nftables tables of a namespace.
func nftTables(t *testing.T, ns *netnstest.Namespace) []string {
	t.Helper()
	var reply struct {
		Nftables []struct{ Table *struct{ Name string } }
	}
	require.NoError(t, json.Unmarshal([]byte(ns.Run("nft", "-j", "list", "tables")), &reply))
	var names []string
	for _, item := range reply.Nftables {
		if item.Table != nil {
			names = append(names, item.Table.Name)
		}
	}
	return names
}
