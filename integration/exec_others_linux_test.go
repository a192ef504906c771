package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

// strangers are commands that have nothing to do with IPVS: over NETLINK_ROUTE,
// over NETLINK_NETFILTER, over sock_diag, by ioctl, and over other families of
// generic netlink, some of which this kernel may not have.
var strangers = []string{
	"ip -d link", "ip -d addr", "ip route show table all", "ip -6 route", "ip rule", "ip -s -s link show dev two0", "ip neigh", "ip netconf",
	"ip -j -d addr show dev two0", "ip maddr show dev two0", "ip link show dev nosuch", "ip route get 10.88.0.9", "ip route add 10.88.0.0/16 via 9.9.9.9",
	"ip macsec show", "ip tcp_metrics show", "ip mptcp endpoint show", "ip mptcp limits show", "ip l2tp show tunnel", "ip fou show", "ip ila list", "ip ioam namespace show", "ip xfrm state",
	"ethtool -i two0", "ethtool -k two0", "ethtool -k two1", "ethtool two0", "ethtool -S two1", "ethtool --show-channels two1", "ethtool -c two0", "ethtool nosuch",
	"nft list ruleset", "nft -j list tables", "nft list table inet nosuch",
	"genl ctrl list", "genl ctrl get name nlctrl", "genl ctrl get name ethtool", "genl ctrl get name nosuch",
	"devlink dev show", "bridge -d link show", "bridge fdb show", "tc -s qdisc show", "ss -Htln", "cat /proc/net/dev_mcast", "cat /proc/net/nosuch", "cat /proc/sys/net/ipv4/ip_forward",
	"sh -c 'exit 7'", "sh -c 'kill -9 $$'", "sh -c 'echo out; echo err >&2; exit 3'", "sh -c 'cat; exit $?'", "nosuchcommand", "ls -l /proc/self/fd/0", "sh -c 'ulimit -n; ulimit -Hn'",
}

// A program in the wrapper that asks the kernel for anything else gets the
// kernel's answers, and its own output and end.
func TestExecOtherPrograms(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ip", "nft", "ethtool", "genl", "ss")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		ns := lab.Home
		for _, line := range []string{
			"ip link add two0 type veth peer name two1", "ip link set two0 up", "ip link set two1 up", "ip addr add 10.88.0.1/24 dev two0", "ip -6 addr add fd88::1/64 dev two0 nodad",
			"ip route add 10.89.0.0/16 via 10.88.0.2", "ip rule add fwmark 7 table 100", "nft add table inet mine", "nft 'add chain inet mine in { type filter hook input priority 0; }'",
		} {
			ns.Run("sh", "-c", line)
		}
		serveCountingDirector(t, ns)
		compared := 0
		for _, line := range strangers {
			if name, _, _ := strings.Cut(line, " "); name != "nosuchcommand" {
				if _, err := exec.LookPath(name); err != nil {
					t.Logf("%s is not installed", name)
					continue
				}
			}
			t.Run(line, func(t *testing.T) { sameWrapped(t, ns, line) })
			compared++
		}
		t.Logf("%d commands", compared)
	})
}

// sameWrapped compares a command in the wrapper with itself outside. What the
// kernel says of its counters and clocks changes by itself, so a difference
// counts only if the command agrees with itself.
func sameWrapped(t *testing.T, ns *netnstest.Namespace, line string) {
	t.Helper()
	plain := []string{"sh", "-c", "exec " + line}
	var before, inside, after outcome
	for range 20 {
		before = runIn(t, ns, plain...)
		inside = runIn(t, ns, wrapped(plain...)...)
		after = runIn(t, ns, plain...)
		if before == after {
			break
		}
	}
	assert.Equal(t, before, after, "never twice the same")
	assert.Equal(t, before, inside)
}

// What a wrapped program does to the network happens.
func TestExecChangesLinks(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		serveCountingDirector(t, lab.Home)
		monitor := lab.Home.StartCmd(exec.Command(program(), "exec", "--", "ip", "monitor", "link"))
		eventually(t, "the monitor sees a link come", func() bool {
			o := runIn(t, lab.Home, wrapped("ip", "link", "add", "seen0", "type", "veth", "peer", "name", "seen1")...)
			require.Equal(t, outcome{}, o)
			lab.Home.Run("ip", "link", "show", "dev", "seen0")
			require.Equal(t, outcome{}, runIn(t, lab.Home, wrapped("ip", "link", "del", "seen0")...))
			return strings.Contains(monitor.Output(), "Deleted") && strings.Contains(monitor.Output(), "seen0")
		})
		require.Error(t, monitor.Stop())
		<-monitor.Done()
	})
}

// A program that goes to another network namespace meets the director there,
// and none where there is none.
func TestExecNamespaces(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ip", "ipvsadm")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		home, other, empty := lab.Home, lab.Namespace("other"), lab.Namespace("empty")
		suffix := fmt.Sprintf("%08x", rand.Uint32())
		mountNames(t)
		for name, ns := range map[string]*netnstest.Namespace{"other": other, "empty": empty} {
			path := "/run/netns/" + name + suffix
			require.NoError(t, os.WriteFile(path, nil, 0o444))
			require.NoError(t, unix.Mount(ns.Path(), path, "", unix.MS_BIND, ""))
		}
		serveCountingDirector(t, home)
		serveCountingDirector(t, other)
		usvs(t, home, "ipvsadm -A -t 10.88.0.1:80 -s rr")
		usvs(t, other, "ipvsadm -A -t 10.88.0.2:80 -s rr")
		in := func(name string) string { return "ip netns exec " + name + suffix + " " }
		for _, c := range []struct {
			line, out string
			status    int
		}{
			{"ipvsadm -Sn", "-A -t 10.88.0.1:80 -s rr\n", 0},
			{in("other") + "ipvsadm -Sn", "-A -t 10.88.0.2:80 -s rr\n", 0},
			{in("empty") + "ipvsadm -Sn", "", 2},
			{"ipvsadm -Sn; " + in("other") + "ipvsadm -Sn; ipvsadm -Sn", "-A -t 10.88.0.1:80 -s rr\n-A -t 10.88.0.2:80 -s rr\n-A -t 10.88.0.1:80 -s rr\n", 0},
			{in("other") + "ipvsadm -C; " + in("other") + "ipvsadm -Sn; ipvsadm -Sn", "-A -t 10.88.0.1:80 -s rr\n", 0},
		} {
			o := runIn(t, home, wrapped("sh", "-c", c.line)...)
			assert.Equal(t, c.out, o.Out, "%s: %s", c.line, o.Err)
			assert.Equal(t, c.status, o.Status, "%s: %s", c.line, o.Err)
		}
	})
}

// mountNames gives ip netns a place for names.
func mountNames(t *testing.T) {
	t.Helper()
	require.NoError(t, os.MkdirAll("/run/netns", 0o755))
	if err := unix.Mount("tmpfs", "/run/netns", "tmpfs", 0, ""); err != nil {
		netnstest.Skip(t, "mount /run/netns: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, unix.Unmount("/run/netns", unix.MNT_DETACH)) })
}
