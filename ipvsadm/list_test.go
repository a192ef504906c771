package ipvsadm

import (
	"bufio"
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// fixed is a backend with a table that nobody can change.
type fixed struct {
	*model
	entries []ipvs.ServiceEntry
	conns   []ipvs.ConnEntry
}

func (f *fixed) Services() ([]ipvs.ServiceEntry, error) { return f.entries, nil }

func (f *fixed) Connections(yield func(*ipvs.ConnEntry) bool) error {
	for i := range f.conns {
		yield(&f.conns[i])
	}
	return nil
}

// shown runs a command on a fixed table and returns what it printed, without
// the lines above the table.
func shown(t *testing.T, f *fixed, r Resolver, args string) string {
	t.Helper()
	f.model = newModel()
	var out, errs bytes.Buffer
	require.Zero(t, Run(append([]string{"ipvsadm"}, strings.Fields(args)...), f, r, nil, &out, &errs))
	require.Empty(t, errs.String())
	lines := strings.SplitAfter(out.String(), "\n")
	switch {
	case strings.HasPrefix(out.String(), "IP Virtual Server"):
		lines = lines[3:]
	case strings.HasPrefix(out.String(), "IPVS connection"):
		lines = lines[2:]
	}
	return strings.Join(lines, "")
}

func TestNumbers(t *testing.T) {
	for n, want := range map[uint64]string{
		0:                    "        0",
		99999999:             " 99999999",
		100000000:            "  100000K",
		999999999:            "  999999K",
		1000000000:           "    1000M",
		99999999999:          "   99999M",
		100000000000:         "     100G",
		99999999999999:       "   99999G",
		100000000000000:      "     100T",
		18446744073709551615: "18446744T",
	} {
		require.Equal(t, want, column(n, false))
	}
	require.Equal(t, " 99999999", column(99999999, true))
	require.Equal(t, " 100000000", column(100000000, true))
	require.Equal(t, " 18446744073709551615", column(18446744073709551615, true))
}

func column(n uint64, exact bool) string {
	var out bytes.Buffer
	l := listing{w: bufio.NewWriter(&out), exact: exact}
	l.number(n)
	l.w.Flush()
	return out.String()
}

func oneService(id ipvs.ServiceID, spec ipvs.ServiceSpec, servers ...ipvs.ServerEntry) *fixed {
	return &fixed{entries: []ipvs.ServiceEntry{{ID: id, Spec: spec, Servers: servers}}}
}

func webService() ipvs.ServiceID {
	return ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: someVIP, Port: 80}
}

func TestRatesOfServersAreNotScaled(t *testing.T) {
	f := oneService(webService(), ipvs.ServiceSpec{Scheduler: "rr"},
		ipvs.ServerEntry{ID: ipvs.ServerID{Addr: someRIP, Port: 80}})
	many := ipvs.Stats{CPS: 1e8, InPPS: 1e9, OutPPS: 1e11, InBPS: 1e8, OutBPS: 1e14}
	f.entries[0].Stats, f.entries[0].Servers[0].Stats = many, many
	require.Equal(t, ""+
		"TCP  1.2.3.4:80                    100000K    1000M     100G  100000K     100T\n"+
		"  -> 1.1.1.1:80                   100000000 1000000000 100000000000  100000K     100T\n",
		shown(t, f, nil, "-L --rate"))
}

func TestServiceFlags(t *testing.T) {
	all := ipvs.FlagPersistent | ipvs.FlagHashed | ipvs.FlagOnePacket | ipvs.FlagSched1 | ipvs.FlagSched2 | ipvs.FlagSched3
	spec := ipvs.ServiceSpec{Scheduler: "sh", Flags: all, Timeout: 300, Netmask: netip.MustParseAddr("255.255.255.0"), PE: "sip"}
	f := oneService(webService(), spec)
	require.Equal(t, "TCP  1.2.3.4:80 sh (sh-fallback,sh-port) persistent 300 mask 255.255.255.0 pe sip ops\n", shown(t, f, nil, "-L"))
	require.Equal(t, "-A -t 1.2.3.4:80 -s sh -p 300 -M 255.255.255.0 --pe sip -o -b sh-fallback,sh-port\n", shown(t, f, nil, "-S"))

	f.entries[0].Spec.Scheduler = "own"
	require.Equal(t, "TCP  1.2.3.4:80 own (flag-1,flag-2,flag-3) persistent 300 mask 255.255.255.0 pe sip ops\n", shown(t, f, nil, "-L"))

	f.entries[0].Spec.Flags = 0 // an engine without persistence is saved, but not listed
	require.Equal(t, "TCP  1.2.3.4:80 own\n", shown(t, f, nil, "-L"))
	require.Equal(t, "-A -t 1.2.3.4:80 -s own --pe sip\n", shown(t, f, nil, "-S"))

	f = oneService(ipvs.ServiceID{Family: ipvs.IPv6, Mark: 1 << 31},
		ipvs.ServiceSpec{Scheduler: "rr", Flags: ipvs.FlagPersistent, Timeout: 1, PrefixLen: 64})
	require.Equal(t, "FWM  -2147483648 IPv6 rr persistent 1 mask 64\n", shown(t, f, nil, "-L"))
	require.Equal(t, "-A -f -2147483648 -6 -s rr -p 1 -M 64\n", shown(t, f, nil, "-S"))
}

func TestMethods(t *testing.T) {
	server := func(last byte, spec ipvs.ServerSpec) ipvs.ServerEntry {
		return ipvs.ServerEntry{ID: ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{1, 1, 1, last}), Port: 80}, Spec: spec}
	}
	f := oneService(webService(), ipvs.ServiceSpec{Scheduler: "rr"},
		server(1, ipvs.ServerSpec{Method: ipvs.LocalNode, Weight: -1}),
		server(2, ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: 1000000}),
		server(3, ipvs.ServerSpec{Method: ipvs.Tunnel, Tunnel: ipvs.TunnelParams{Type: ipvs.GUE, Port: 65535, Flags: ipvs.TunnelRemCsum}}),
		server(4, ipvs.ServerSpec{Method: ipvs.Bypass}))
	require.Equal(t, ""+
		"TCP  1.2.3.4:80 rr\n"+
		"  -> 1.1.1.1:80                   Local   n/a           -1     0          0         \n"+
		"  -> 1.1.1.2:80                   Tunnel  ipip          1000000 0          0         \n"+
		"  -> 1.1.1.3:80                   Tunnel  gue:65535:r+c 0      0          0         \n"+
		"  -> 1.1.1.4:80                   Masq    n/a           0      0          0         \n",
		shown(t, f, nil, "-L --tun-info"))
	require.Contains(t, shown(t, f, nil, "-S"), "-a -t 1.2.3.4:80 -r 1.1.1.1:80 -g -w -1\n")
	require.Contains(t, shown(t, f, nil, "-L --persistent-conn"), "1.1.1.1:80                   4294967295 0           0          0         \n")
}

func TestLongNames(t *testing.T) {
	long := strings.Repeat("n", 57)
	names := book{
		hosts: map[string]string{long: "1.1.1.1", long + "n": "1.2.3.4", long + "six": "2001:db8::1"},
		ports: map[string]uint16{"http/TCP": 80},
	}
	f := oneService(webService(), ipvs.ServiceSpec{Scheduler: "rr"}, ipvs.ServerEntry{ID: ipvs.ServerID{Addr: someRIP, Port: 80}})
	require.Equal(t, ""+
		"TCP  "+long[:28]+" rr\n"+
		"  -> "+long[:28]+" Masq    0      0          0         \n",
		shown(t, f, names, "-L"))
	require.Equal(t, ""+
		"-A -t "+long+"n: -s rr\n"+
		"-a -t "+long+"n: -r "+long+":h -m -w 0\n",
		shown(t, f, names, "-S"))

	six := ipvs.ServiceID{Family: ipvs.IPv6, Protocol: ipvs.TCP, Addr: vip6, Port: 80}
	f = oneService(six, ipvs.ServiceSpec{Scheduler: "rr"})
	require.Equal(t, "TCP  ["+long+"s rr\n", shown(t, f, names, "-L"))
	require.Equal(t, "TCP  [2001:db8::1]:80 rr\n", shown(t, f, names, "-Ln"))
}

func TestConnections(t *testing.T) {
	ap := netip.MustParseAddrPort
	f := &fixed{conns: []ipvs.ConnEntry{
		{Protocol: ipvs.TCP, Client: ap("10.0.0.1:49153"), Virtual: ap("192.168.40.17:80"), Real: ap("192.168.41.31:80"), State: "ESTABLISHED", Expires: 895},
		{Protocol: ipvs.ProtoIP, Client: ap("10.0.0.1:0"), Virtual: ap("0.0.0.3:0"), Real: ap("192.168.41.31:0"), State: "NONE", Expires: 60000},
		{Protocol: ipvs.UDP, Client: ap("10.0.0.2:0"), Virtual: ap("10.9.0.1:5060"), Real: ap("10.2.0.13:5060"), State: "NONE", Expires: 59, PEName: "sip", PEData: "third@h"},
		{Protocol: ipvs.TCP, Client: ap("[2001:db8::77]:5000"), Virtual: ap("[::1.2.3.4]:80"), Real: ap("[::ffff:1.2.3.4]:80"), State: "CLOSE", Expires: -1},
	}}
	plain := "" +
		"TCP 14:55  ESTABLISHED 10.0.0.1:49153     192.168.40.17:80   192.168.41.31:80\n" +
		"IP  1000:00 NONE        10.0.0.1:0         0.0.0.3:0          192.168.41.31:0\n"
	require.Equal(t, plain+
		"UDP 00:59  NONE        10.0.0.2:0         10.9.0.1:5060      10.2.0.13:5060\n"+
		"TCP 00:00  CLOSE       [2001:db8::77]:5000 [::1.2.3.4]:80     [::ffff:1.2.3.4]:80\n",
		shown(t, f, nil, "-Lnc"))
	require.Equal(t, plain+
		"UDP 00:59  NONE        10.0.0.2:0         10.9.0.1:5060      10.2.0.13:5060   sip                third@h\n"+
		"TCP 00:00  CLOSE       [2001:db8::77]:5000 [::1.2.3.4]:80     [::ffff:1.2.3.4]:80\n",
		shown(t, f, nil, "-Lnc --persistent-conn --nosort"))
}

func TestDaemonParts(t *testing.T) {
	m := newModel()
	m.daemons = []ipvs.Daemon{
		{State: ipvs.DaemonBackup, Interface: "eth1", SyncID: 2, Group: netip.MustParseAddr("ff02::81"), TTL: 3},
		{State: ipvs.DaemonMaster, Interface: "eth0", SyncID: 51},
	}
	var out bytes.Buffer
	require.Zero(t, Run([]string{"ipvsadm", "-L", "--daemon"}, m, nil, nil, &out, &out))
	require.Equal(t, ""+
		"master sync daemon (mcast=eth0, syncid=51)\n"+
		"backup sync daemon (mcast=eth1, syncid=2, group=ff02::81, ttl=3)\n", out.String())
}

func TestLayoutPrecedence(t *testing.T) {
	order := []struct {
		option option
		layout layout
	}{
		{optStats, layoutStats}, {optRate, layoutRate}, {optThresholds, layoutThresholds},
		{optPersistentConn, layoutPersistentConn}, {optTunInfo, layoutTunInfo},
	}
	given := optionSet(0)
	require.Equal(t, layoutDefault, layoutOf(given))
	for i := len(order) - 1; i >= 0; i-- { // each beats those after it
		given |= setOf(order[i].option)
		require.Equal(t, order[i].layout, layoutOf(given))
	}
}
