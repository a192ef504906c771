package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/link/netnstest"
)

// kernelAnswers are lines of a shell and what came of them on Linux 6.1 with
// ip_vs, an empty table, and every setting at its default.
var kernelAnswers = []struct {
	line string
	want outcome
}{
	{"sed -n 2p /proc/net/ip_vs", outcome{Out: listHead}},
	{"cat /proc/net/ip_vs_conn", outcome{Out: "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"}},
	{"cat < /proc/self/net/ip_vs_app", outcome{Out: "prot port    usecnt name\n"}},
	{"cat /proc/net/ip_vs_nosuch", outcome{Err: "cat: /proc/net/ip_vs_nosuch: No such file or directory\n", Status: 1}},
	{"sed -n 2p /proc/self/net/ip_vs /proc/$$/net/ip_vs", outcome{Out: listHead}},
	{"cd /proc/net; sed -n 2p ip_vs", outcome{Out: listHead}},
	{"[ -e /proc/net/ip_vs ] && echo there", outcome{Out: "there\n"}},
	{"echo 1 > /proc/net/ip_vs", outcome{Err: "/bin/sh: 1: cannot create /proc/net/ip_vs: Permission denied\n", Status: 2}},
	{"stat -c '%a %s %F' /proc/net/ip_vs /proc/sys/net/ipv4/vs/conntrack", outcome{Out: "444 0 regular empty file\n644 0 regular empty file\n"}},
	{"ls /proc/sys/net/ipv4/vs | head -2", outcome{Out: "am_droprate\namemthresh\n"}},
	{"sysctl -w net.ipv4.vs.drop_entry=9", outcome{Err: "sysctl: setting key \"net.ipv4.vs.drop_entry\": Invalid argument\n", Status: 1}},
	{"sysctl -w net.ipv4.vs.nosuch=9", outcome{Err: "sysctl: cannot stat /proc/sys/net/ipv4/vs/nosuch: No such file or directory\n", Status: 1}},
	{"echo 0 >> /proc/sys/net/ipv4/vs/conntrack; dd if=/proc/sys/net/ipv4/vs/conntrack bs=1 count=1 2>/dev/null", outcome{Out: "0"}},
	{"genl ctrl get name IPVS | sed -n 2p", outcome{Out: "Name: IPVS\n"}},
	{"cat /proc/sys/net/ipv4/vs/conntrack", outcome{Out: "0\n"}},
	{"cat /proc/sys/net/ipv4/vs/sync_threshold", outcome{Out: "3\t50\n"}},
	{"cat /proc/sys/net/ipv4/vs/nosuch", outcome{Err: "cat: /proc/sys/net/ipv4/vs/nosuch: No such file or directory\n", Status: 1}},
	{"echo 1 > /proc/sys/net/ipv4/vs/conntrack; cat /proc/sys/net/ipv4/vs/conntrack", outcome{Out: "1\n"}},
	{"echo 0 | tee /proc/sys/net/ipv4/vs/conntrack; cat /proc/sys/net/ipv4/vs/conntrack", outcome{Out: "0\n0\n"}},
	{"sysctl -w net.ipv4.vs.conntrack=1; sysctl net.ipv4.vs.conntrack", outcome{Out: "net.ipv4.vs.conntrack = 1\nnet.ipv4.vs.conntrack = 1\n"}},
	{"sysctl -n net.ipv4.vs.expire_nodest_conn net.ipv4.ip_forward", outcome{Out: "0\n0\n"}},
	{"sysctl net.ipv4.vs.nosuch", outcome{Err: "sysctl: cannot stat /proc/sys/net/ipv4/vs/nosuch: No such file or directory\n", Status: 1}},
	{"setpriv --reuid=1000 --clear-groups cat /proc/net/ip_vs_app", outcome{Out: "prot port    usecnt name\n"}},
	{"setpriv --reuid=1000 --clear-groups ipvsadm -Ln", notRoot},
	{"setpriv --bounding-set=-net_admin --inh-caps=-net_admin ipvsadm -Ln", notRoot},
	{"setpriv --reuid=1000 --clear-groups ipvsadm -A -t 10.88.0.1:80", notRoot},
	{"prlimit --nofile=256:256 ipvsadm -Sn", outcome{}},
}

const listHead = "Prot LocalAddress:Port Scheduler Flags\n"

// notRoot is what ipvsadm says without CAP_NET_ADMIN.
var notRoot = outcome{
	Err: "Can't initialize ipvs: Permission denied (you must be root)\n" +
		"Are you sure that IP Virtual Server is built in the kernel or as module?\n",
	Status: 2,
}

// Files and permissions are in the wrapper as they are with the kernel's IPVS.
func TestExecKernelAnswers(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ipvsadm", "setpriv", "prlimit", "sysctl", "tee", "genl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		serveCountingDirector(t, lab.Home)
		others := runIn(t, lab.Home, "setpriv", "--reuid=1000", "--clear-groups", "true")
		sh := startShell(t, lab.Home, systemPath, wrapped()...)
		for _, c := range kernelAnswers {
			if others.Status != 0 && strings.Contains(c.line, "--reuid") {
				t.Logf("no other users here: %s", others.Err)
				continue
			}
			got := sh.run(t, c.line)
			got.Err = withoutModprobe(got.Err)
			assert.Equal(t, c.want, got, c.line)
		}
	})
}

// withoutModprobe drops what modprobe said: ipvsadm asks it for ip_vs.
func withoutModprobe(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "modprobe: ") && !strings.Contains(line, "modprobe: not found") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
