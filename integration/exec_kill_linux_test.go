package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

const killSeed = 20262

// busyScripts are wrapped programs that never stop talking to the director: one
// in processes that come and go, one in a process of many threads.
const busyScript = `while :; do
	ipvsadm -A -t 10.88.0.1:80 -s rr
	ipvsadm -a -t 10.88.0.1:80 -r 10.88.0.2
	ipvsadm -Ln
	ipvsadm -D -t 10.88.0.1:80
done`

const busyClient = `{"Workers": 3, "Operations": 1000000000, "Seed": 1}`

// The wrapper, the director and the wrapped program are killed at any moment:
// nobody hangs, nothing is left behind, and the next start works.
func TestExecKills(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ipvsadm", "nft")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Namespace("peer"), "eth0")
		lab.Home.AddAddr("eth0", "10.88.0.1/24")
		links, tables := linkNames(t, lab.Home), nftTables(t, lab.Home)
		k := &killer{t: t, ns: lab.Home, rng: rand.New(rand.NewPCG(killSeed, 0)), killed: map[string]int{}}
		rounds := 200
		if testing.Short() || raceEnabled {
			rounds = 40
		}
		for i := range rounds {
			k.round(i)
		}
		k.haveDirector() // also after a round that killed it
		k.director.stop()
		k.director = nil
		k.nobodyLeft(rounds)
		assert.Equal(t, links, linkNames(t, lab.Home))
		assert.Equal(t, tables, nftTables(t, lab.Home))
		t.Logf("seed %d: killed %v; what ended last needed at most %v", killSeed, k.killed, k.slowest.Round(time.Millisecond))
	})
}

// A program that is already running finds the director again that came back,
// and is told in the meantime that there is none.
func TestExecDirectorReturns(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ipvsadm")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Namespace("peer"), "eth0")
		lab.Home.AddAddr("eth0", "10.88.0.1/24")
		sh := startShell(t, lab.Home, systemPath, wrapped()...)
		for _, end := range []func(*director){(*director).stop, (*director).kill} {
			d := startDirector(t, lab.Home, "-i eth0")
			require.Equal(t, outcome{}, sh.run(t, "ipvsadm -A -t 10.88.0.1:80 -s rr"))
			require.Equal(t, outcome{Out: "-A -t 10.88.0.1:80 -s rr\n"}, sh.run(t, "ipvsadm -Sn"))
			end(d)
			gone := sh.run(t, "ipvsadm -Sn")
			require.Equal(t, 2, gone.Status, "%+v", gone)
			require.Contains(t, gone.Err, "Can't initialize ipvs: ")
		}
	})
}

func linkNames(t *testing.T, ns *netnstest.Namespace) (names []string) {
	t.Helper()
	all, err := ns.Netlink().LinkList()
	require.NoError(t, err)
	for _, l := range all {
		names = append(names, l.Attrs().Name)
	}
	return names
}

// killer runs wrapped programs and kills somebody.
type killer struct {
	t        *testing.T
	ns       *netnstest.Namespace
	rng      *rand.Rand
	director *director // nil: killed, the next round has to start one
	killed   map[string]int
	slowest  time.Duration // from a kill to the end of everything it ends
}

// round starts a wrapped program, kills somebody within the next moments, and
// waits for what must follow.
func (k *killer) round(i int) {
	k.t.Helper()
	k.haveDirector()
	words := wrapped("sh", "-c", busyScript)
	if i%3 == 0 {
		self, err := os.Executable()
		require.NoError(k.t, err)
		words = wrapped(self, busyClient)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = ownProgram("moby")
	wrapper := k.ns.StartCmd(cmd)
	time.Sleep(time.Duration(k.rng.Int64N(int64(150 * time.Millisecond))))

	victim := []string{"wrapper", "director", "child"}[k.rng.IntN(3)]
	start := time.Now()
	switch victim {
	case "wrapper":
		require.NoError(k.t, unix.Kill(wrapper.Pid(), unix.SIGKILL))
	case "director":
		k.director.kill()
		k.director = nil
		_ = unix.Kill(wrapper.Pid(), unix.SIGTERM) // its program may have given up already
	case "child":
		child := childOf(wrapper.Pid())
		if child == 0 { // it is not there yet: its wrapper has to be told
			victim = "starting wrapper"
			require.NoError(k.t, unix.Kill(wrapper.Pid(), unix.SIGTERM))
			break
		}
		require.NoError(k.t, unix.Kill(child, unix.SIGKILL))
	}
	k.killed[victim]++
	eventually(k.t, "the wrapper ends after the end of the "+victim+", round "+strconv.Itoa(i), func() bool {
		select {
		case <-wrapper.Done():
			return true
		default:
			return false
		}
	})
	k.nobodyLeft(i)
	k.slowest = max(k.slowest, time.Since(start))
}

// haveDirector starts a director unless one runs, and empties its table.
func (k *killer) haveDirector() {
	k.t.Helper()
	if k.director == nil {
		k.director = startDirector(k.t, k.ns, "-i eth0")
	}
	require.Equal(k.t, outcome{}, runIn(k.t, k.ns, wrapped("ipvsadm", "-C")...))
}

// nobodyLeft waits until there is no process but the test's and the director's.
func (k *killer) nobodyLeft(round int) {
	k.t.Helper()
	var left []string
	defer func() {
		if k.t.Failed() {
			k.t.Logf("round %d: left are %v", round, left)
		}
	}()
	eventually(k.t, "everybody has ended", func() bool {
		left = nil
		for _, p := range processes() {
			if p.pid == os.Getpid() || k.director != nil && p.pid == k.director.proc.Pid() {
				continue
			}
			if p.state == "Z" { // an orphan, ours to bury in this process namespace
				_, _ = unix.Wait4(p.pid, nil, unix.WNOHANG, nil)
				continue
			}
			left = append(left, fmt.Sprintf("%+v", p))
		}
		return left == nil
	})
}

// process is what /proc says of one.
type process struct {
	pid, parent int
	state, name string
}

// processes are all that this process namespace has.
func processes() (list []process) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		before, after, _ := strings.Cut(string(text), " (")
		cut := strings.LastIndex(after, ") ")
		f := strings.Fields(after[cut+2:])
		pid, _ := strconv.Atoi(before)
		parent, _ := strconv.Atoi(f[1])
		list = append(list, process{pid, parent, f[0], after[:cut]})
	}
	return list
}

// childOf is a living child of a process, 0 if it has none.
func childOf(pid int) int {
	for _, p := range processes() {
		if p.parent == pid && p.state != "Z" {
			return p.pid
		}
	}
	return 0
}
