package oracle

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// told runs a line on a machine and returns what it said and its status.
func told(w *world, line string) (string, int) {
	var out, errs bytes.Buffer
	status := w.shell.Run(line, &out, &errs)
	return out.String() + errs.String(), status
}

func TestIP(t *testing.T) {
	w := newWorld(newNames(""))
	require.NoError(t, w.setUp())
	for _, c := range []struct {
		line, say string
		status    int
	}{
		{"ip a a 10.9.0.9/32 dev eth0", "", 0},
		{"ip addr replace 10.9.0.9/32 dev eth0", "", 0},
		{"ip addr add 10.9.0.9/32 dev eth0", "RTNETLINK answers: File exists\n", 2},
		{"ip addr add 10.9.7.7 dev lo && ip addr del 10.9.7.7 dev lo", "", 0},
		{"ip addr del 10.9.7.7 dev lo", "RTNETLINK answers: Cannot assign requested address\n", 2},
		{"ip addr show", "Error: any valid prefix is expected rather than \"\".\n", 1},
		{"ip -4 r add 10.50.0.0/16 via 10.2.0.254 metric 5", "", 0},
		{"ip route change 10.50.0.0/16 via 10.2.0.253 metric 5", "", 0},
		{"ip route del 10.50.0.0/16 metric 5", "", 0},
		{"ip route del 10.50.0.0/16", "RTNETLINK answers: No such process\n", 2},
		{"ip route add blackhole 10.51.0.0/16", "", 0},
		{"ip route add 10.52.0.0/16 dev eth1 src 10.2.0.1 mtu 1400", "", 0},
		{"ip route add 10.53.0.0/16", "Error: Nexthop has invalid gateway.\n", 2},
		{"ip route add 10.53.0.0/16 via x", "Error: any valid address is expected rather than \"x\".\n", 1},
		{"ip route flush", "", 0},
		{"ip neigh add 10.2.0.77 lladdr 02:00:00:00:00:zz dev eth1", "\"02:00:00:00:00:zz\" is invalid lladdr.\n", 1},
		{"ip neigh add 10.2.0.77 lladdr 02:00 dev eth1", "\"02:00\" is invalid lladdr.\n", 1},
		{"ip neigh flush dev eth1; ip neigh del 10.2.0.11 dev eth1", "RTNETLINK answers: No such file or directory\n", 2},
		{"ip link set nosuch up", "Cannot find device \"nosuch\"\n", 1},
		{"ip addr flush dev eth1", "", 0},
		{"ip", "Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }\n", 1},
		{"ip link", "the player does not show link tables\n", 1},
		{"ip link frob dev eth0", "Command \"frob\" is unknown, try \"ip help\".\n", 1},
	} {
		say, status := told(w, c.line)
		require.Equal(t, c.say, say, c.line)
		require.Equal(t, c.status, status, c.line)
	}
	require.Empty(t, w.net.Interfaces[1].Addrs)
}

func TestCommands(t *testing.T) {
	w := newWorld(newNames(""))
	for _, c := range []struct{ line, say string }{
		{"uname -sr; uname -n", "Linux 6.1.176\ndirector\n"},
		{"uname -z", "uname: invalid option -- 'z'\nTry 'uname --help' for more information.\n"},
		{"sleep; sleep 1d", "sleep: missing operand\nTry 'sleep --help' for more information.\nsleep: invalid time interval '1d'\nTry 'sleep --help' for more information.\n"},
		{"sysctl net.ipv4.ip_forward; sysctl -n net/ipv4/ip_forward", "net.ipv4.ip_forward = 1\n1\n"},
		{"sysctl -w net.ipv4.ip_forward=0; cat /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/ip_forward; sysctl -qw kernel.x=1", "net.ipv4.ip_forward = 0\n0\n"},
		{"sysctl net.ipv4.nosuch", "sysctl: cannot stat /proc/sys/net/ipv4/nosuch: No such file or directory\n"},
		{"sysctl net.ipv4.vs.lblc_expiration", "sysctl: cannot stat /proc/sys/net/ipv4/vs/lblc_expiration: No such file or directory\n"},
		{"ipvsadm -A -f 1 -s lblc; sysctl net.ipv4.vs.lblc_expiration", "net.ipv4.vs.lblc_expiration = 86400\n"},
		{"modprobe -a ip_vs_sh ip-vs-rr; modprobe -q nosuch || echo $?", "1\n"},
		{"modprobe ip_vs_ftp ports=21,2121; cat /proc/net/ip_vs_app; modprobe -r ip_vs_ftp; cat /proc/net/ip_vs_app",
			"prot port    usecnt name\nTCP  21      0      ftp              \nTCP  2121    0      ftp              \nprot port    usecnt name\n"},
		{"ls /proc; ls /proc/sys/net; ls /proc/net | wc -l", "6\n"},
		{"iptables-legacy -t mangle -A NOWHERE -j ACCEPT; echo $?", "1\niptables: No chain/target/match by that name.\n"},
		{"echo 2 > /proc/net/ip_vs", "/bin/sh: 1: cannot create /proc/net/ip_vs: Permission denied\n"},
	} {
		say, _ := told(w, c.line)
		require.Equal(t, c.say, say, c.line)
	}
	before := w.now
	told(w, "sleep 2.5")
	require.EqualValues(t, 2.5e9, w.now-before)
}

func TestNames(t *testing.T) {
	n := newNames("# comment\n10.9.0.1 a b # more\nbad line\n10.9.0.1 c\nfd00::1 six\n")
	name, ok := n.LookupAddr(netip.MustParseAddr("10.9.0.1"))
	require.True(t, ok)
	require.Equal(t, "a", name)
	for _, host := range []string{"a", "b", "c", "localhost"} {
		_, ok := n.LookupHost(host)
		require.True(t, ok, host)
	}
	_, ok = n.LookupHost("six")
	require.False(t, ok, "ipvsadm asks for IPv4 only")
	port, ok := n.ServicePort("www", ipvs.TCP)
	require.True(t, ok, "an alias")
	require.EqualValues(t, 80, port)
	_, ok = n.ServiceName(80, ipvs.SCTP)
	require.False(t, ok)
}

// Names are known only to recordings that were made with them.
func TestResolver(t *testing.T) {
	www := netip.MustParseAddr("10.9.0.1")
	for _, c := range []struct {
		trace Trace
		want  string
	}{
		{Trace{}, ""},
		{Trace{Steps: []Step{{Text: "ipvsadm -A -t www.example.test:80"}}}, "www.example.test"},
		{Trace{Steps: []Step{{Out: "TCP  a-real-server-with-a-long-na rr\n"}}}, "www.example.test"},
		{Trace{Hosts: "10.9.0.1 mine\n", Steps: []Step{{Text: "www.example.test"}}}, "mine"},
	} {
		got, _ := c.trace.resolver().LookupAddr(www)
		require.Equal(t, c.want, got)
	}
}

func TestPrograms(t *testing.T) {
	for _, c := range []struct {
		src           string
		addr          string
		before, after string
		echo          bool
	}{
		{`s=socket.socket(2,2); s.bind(('0.0.0.0',80)); [s.sendto(b'echo:'+d,a) for d,a in x]`, "0.0.0.0:80", "echo:", "", true},
		{`s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind( ( "::" , 53 ) ); s.sendto( d , a )`, "[::]:53", "", "", true},
		{`s.bind(("",9)); s.sendto(b"it's \x01\n", a)`, "0.0.0.0:9", "it's \x01\n", "", false},
		{`s.bind(('10.2.0.1',9)); s.sendto(b'a' + d[0] + b"\"b", a)`, "10.2.0.1:9", "a", `"b`, true},
	} {
		w := newWorld(newNames(""))
		require.NoError(t, w.background([]string{"python3", "-c", c.src}), c.src)
		s := w.sockets[0]
		require.Equal(t, netip.MustParseAddrPort(c.addr), s.addr, c.src)
		require.Equal(t, []any{c.before, c.after, c.echo}, []any{s.before, s.after, s.echo}, c.src)
	}
}

func TestListing(t *testing.T) {
	const head = "IPVS connection entries\npro expire state       source             virtual            destination\n"
	conn := func(left, client string) string {
		return "TCP " + left + "  ESTABLISHED " + client + ":1     10.9.0.1:80        10.1.0.11:80\n"
	}
	const rates = "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n"
	for _, c := range []struct {
		name           string
		l              listing
		recorded, here string
		same           bool
	}{
		{"equal", listing{}, "a\nb\n", "a\nb\n", true},
		{"order", listing{}, "a\nb\n", "b\na\n", false},
		{"no newline", listing{}, "a", "a\n", false},
		{"nothing", listing{}, "", "\n", false},
		{"connections in another order", listing{}, head + conn("00:10", "a") + conn("00:20", "b"), head + conn("00:20", "b") + conn("00:10", "a"), true},
		{"recorded late", listing{}, head + conn("00:56", "a"), head + conn("01:00", "a"), true},
		{"recorded too late", listing{}, head + conn("00:55", "a"), head + conn("01:00", "a"), false},
		{"recorded early", listing{}, head + conn("01:00", "a"), head + conn("00:59", "a"), false},
		{"replayed slowly", listing{slowSecs: 5}, head + conn("01:00", "a"), head + conn("00:55", "a"), true},
		{"replayed too slowly", listing{slowSecs: 5}, head + conn("01:00", "a"), head + conn("00:54", "a"), false},
		{"one connection for two", listing{}, head + conn("00:10", "a") + conn("00:10", "a"), head + conn("00:10", "a"), false},
		{"two for one", listing{}, head + conn("00:10", "a"), head + conn("00:10", "a") + conn("00:10", "a"), false},
		{"alike, in time", listing{}, head + conn("00:10", "a") + conn("00:07", "a"), head + conn("00:08", "a") + conn("00:11", "a"), true},
		{"services unsorted", listing{nosort: true}, "TCP  a\n  -> x\nUDP  b\n", "UDP  b\nTCP  a\n  -> x\n", true},
		{"servers unsorted", listing{nosort: true}, "TCP  a\n  -> x\n  -> y\n", "TCP  a\n  -> y\n  -> x\n", false},
		{"services sorted", listing{}, "TCP  a\n  -> x\nUDP  b\n", "UDP  b\nTCP  a\n  -> x\n", false},
		{"rates", listing{}, rates + "TCP  a     1    22     0     7     0\n", rates + "TCP  a     2     0     1    77     3\n", true},
		{"rates of another service", listing{}, rates + "TCP  a     1    22     0     7     0\n", rates + "TCP  b     1    22     0     7     0\n", false},
		{"rates replayed slowly", listing{slowSecs: 5}, rates + "TCP  a     1    22     0     7     0\n", rates + "TCP  a     1     22     0     7777777     0\n", true},
		{"rates in other columns", listing{}, rates + "TCP  a     1    22     0     7     0\n", rates + "TCP  a    1     22     0     7     0\n", false},
	} {
		got := c.l.compare("output", c.recorded, c.here)
		require.Equal(t, c.same, got == "", "%s: %s", c.name, got)
	}
}

func TestFindAndPlay(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a/b/one.trace": "$ true\n= 0\n",
		"a/text/x.txt":  "$ ipvsadm -A -t mine:80\n= 0\n$ ipvsadm -L -t mine:80 | tail -1\n|TCP  mine:http wlc\n= 0\n",
		"a/text/hosts":  "10.9.0.1 mine\n",
		"a/no.txt":      "what",
		"a/empty.trace": "# nothing\n",
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	list, err := Find(dir)
	require.NoError(t, err)
	var names []string
	var tally Tally
	PlayAll(list, func(r *Result) {
		names = append(names, r.Name())
		require.Equal(t, r.Case != "empty", r.Passed, r.Why())
		tally.Add(r)
	})
	require.Equal(t, []string{"a/b/one", "a/empty", "a/text/x"}, names, "in their order")
	require.Equal(t, "a: 0 passed, 1 failed; a/b: 1 passed, 0 failed; a/text: 1 passed, 0 failed; all: 2 passed, 1 failed", tally.String())
	require.Len(t, Matching(list, regexp.MustCompile("^a/b/")), 1)
	_, err = Find(filepath.Join(dir, "none"))
	require.Error(t, err)
	require.False(t, PlayFile(Recording{File: filepath.Join(dir, "none")}).Passed)
}

// A recording from anywhere is an error at worst.
func FuzzParseTrace(f *testing.F) {
	for _, name := range []string{"fwd/local.trace", "state/nat-sctp.trace", "text/persist.txt", "sync/master-v6.trace"} {
		text, err := os.ReadFile(filepath.Join("..", "testdata", "oracle", name))
		require.NoError(f, err)
		f.Add(string(text[:min(len(text), 8000)]))
	}
	f.Add("rep 2 sctp s DATA [::1]:1 [::1]:2 ttl=0x10 len=70000 frag=-1 -> 3 frames")
	f.Fuzz(func(t *testing.T, text string) {
		trace, err := ParseTrace("fuzz", strings.NewReader(text))
		if err == nil {
			trace.resolver()
			trace.configured()
		}
	})
}
