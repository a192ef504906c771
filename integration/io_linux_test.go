package integration

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// ioLab is a director's namespace with an interface, eth0.
func ioLab(lab *netnstest.Lab) *netnstest.Namespace {
	ns := lab.Namespace("director")
	lab.Veth(ns, "eth0", lab.Namespace("peer"), "eth0")
	ns.AddAddr("eth0", "10.0.0.1/24")
	return ns
}

// runIO starts a director that receives as asked, or skips where the kernel
// does not let it.
func runIO(t *testing.T, ns *netnstest.Namespace, words ...string) *director {
	t.Helper()
	d := &director{t: t, ns: ns, proc: ns.StartCmd(exec.Command(program(), append([]string{"run", "-i", "eth0"}, words...)...))}
	eventually(t, "it runs", func() bool { return d.ended() || d.logged("director is running") })
	if d.ended() && d.logged("CAP_BPF") {
		netnstest.Skip(t, "%s", d.proc.Output())
	}
	require.False(t, d.ended(), d.proc.Output())
	return d
}

// hasXDP reports whether an XDP program is attached to eth0.
func hasXDP(ns *netnstest.Namespace) bool { return ns.Link("eth0").Attrs().Xdp.Attached }

// What was chosen is said, and nothing of it is left behind.
func TestIO(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ words, io, why string }{
		{"", "io=ring", `why="fastest`},
		{"--io auto", "io=ring", `why="fastest`},
		{"--io mmsg", "io=mmsg", `why="asked for`},
		{"--io ring", "io=ring", `why="asked for`},
		{"--io xdp", `io=xdp mode="native, copy, 1 queues" workers=1`, `why="asked for`},
	} {
		t.Run(tc.words, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				ns := ioLab(lab)
				d := runIO(t, ns, strings.Fields(tc.words)...)
				assert.True(t, d.logged(tc.io) && d.logged(tc.why), d.proc.Output())
				assert.Equal(t, tc.words == "--io xdp", hasXDP(ns))
				d.stop()
				assert.False(t, hasXDP(ns))
			})
		})
	}
}

// The XDP program goes with the process that attached it, and the next one
// starts at once.
func TestXDPKilled(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		ns := ioLab(lab)
		for range 2 {
			d := runIO(t, ns, "--io", "xdp")
			assert.True(t, hasXDP(ns))
			require.NoError(t, syscall.Kill(d.proc.Pid(), syscall.SIGKILL))
			<-d.proc.Done()
			eventually(t, "the program is gone", func() bool { return !hasXDP(ns) })
		}
	})
}

// XDP needs no more than its documentation says.
func TestXDPCapabilities(t *testing.T) {
	netnstest.NeedCommands(t, "setpriv")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		ns := ioLab(lab)
		words := withCapabilities(false, ",+net_raw,+net_admin,+bpf,+ipc_lock", "run", "-i", "eth0", "--io", "xdp")
		d := &director{t: t, ns: ns, proc: ns.StartCmd(exec.Command(words[0], words[1:]...))}
		eventually(t, "it runs", func() bool { return d.ended() || d.logged("director is running") })
		require.False(t, d.ended(), d.proc.Output())
		assert.True(t, hasXDP(ns))
		d.stop()
	})
}

// What is impossible is said, with what would help.
func TestIOImpossible(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "setpriv")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		ns := ioLab(lab)
		refused := func(reason string, words ...string) {
			t.Helper()
			out, err := ns.Try(words[0], words[1:]...)
			assert.Error(t, err)
			assert.Contains(t, out, reason)
		}
		refused("want auto, mmsg, ring or xdp", program(), "run", "-i", "eth0", "--io", "dpdk")
		caps := withCapabilities(false, ",+net_raw,+net_admin", "run", "-i", "eth0", "--io", "xdp")
		refused("CAP_BPF", caps...)
		d := runIO(t, ns, "--io", "xdp")
		refused("another XDP program", program(), "--control", "@other", "run", "-i", "eth0", "--io", "xdp")
		d.stop()
		ns.SetMTU("eth0", 9000)
		refused("MTU 9000 is too large for AF_XDP: at most 3822; try --io mmsg", program(), "run", "-i", "eth0", "--io", "xdp")
	})
}
