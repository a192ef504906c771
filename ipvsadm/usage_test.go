package ipvsadm

import (
	"net/netip"
	"strings"
	"testing"

	"usvs/ipvs"
	"usvs/oracle/shell"

	"github.com/stretchr/testify/require"
)

// TestUsage plays bad command lines and what release 1.31 said to them. None
// of them reaches the backend.
func TestUsage(t *testing.T) {
	names := book{
		hosts: map[string]string{"localhost": "127.0.0.1"},
		ports: map[string]uint16{"http/TCP": 80, "domain/TCP": 53, "domain/UDP": 53},
	}
	steps := readRecording(t, "testdata/usage.txt")
	require.Greater(t, len(steps), 300)
	for _, s := range steps {
		m := newModel()
		words, err := shell.Words(s.command)
		require.NoError(t, err)
		var stdout, stderr strings.Builder
		status := Run(words, m, names, strings.NewReader(""), &stdout, &stderr)
		require.Equal(t, step{s.command, stdout.String(), stderr.String(), status}, s)
		require.Empty(t, m.calls, s.command)
	}
}

var (
	someVIP = netip.MustParseAddr("1.2.3.4")
	someRIP = netip.MustParseAddr("1.1.1.1")
	vip6    = netip.MustParseAddr("2001:db8::1")
	rip6    = netip.MustParseAddr("2001:db8::2")
)

// parsed is the request of a good command line.
func parsed(t *testing.T, line string) *request {
	t.Helper()
	names := book{
		hosts: map[string]string{"www": "1.2.3.4"},
		ports: map[string]uint16{"http/TCP": 80, "domain/UDP": 53},
	}
	args, err := shell.Words(line)
	require.NoError(t, err)
	q, v := parse("ipvsadm", args, names)
	require.Nil(t, v, line)
	return q
}

func TestServiceAddresses(t *testing.T) {
	four := func(a string, port uint16, p ipvs.Protocol) ipvs.ServiceID {
		return ipvs.ServiceID{Family: ipvs.IPv4, Protocol: p, Addr: netip.MustParseAddr(a), Port: port}
	}
	six := func(port uint16) ipvs.ServiceID {
		return ipvs.ServiceID{Family: ipvs.IPv6, Protocol: ipvs.TCP, Addr: vip6, Port: port}
	}
	for line, want := range map[string]ipvs.ServiceID{
		"-D -t 1.2.3.4:80":               four("1.2.3.4", 80, ipvs.TCP),
		"-D -t 1.2.3.4":                  four("1.2.3.4", 0, ipvs.TCP),
		"-D -u 1.2.3.4:domain":           four("1.2.3.4", 53, ipvs.UDP),
		"-D --sctp-service 1.2.3.4:9000": four("1.2.3.4", 9000, ipvs.SCTP),
		"-Dt1.2.3.4:80":                  four("1.2.3.4", 80, ipvs.TCP),
		"-D --tcp-service=www:http":      four("1.2.3.4", 80, ipvs.TCP),
		"-D -t '1.2.3.4: 80'":            four("1.2.3.4", 80, ipvs.TCP),
		"-D -t 1.2.3.4:+080":             four("1.2.3.4", 80, ipvs.TCP),
		"-D -t 1.2:80":                   four("1.0.0.2", 80, ipvs.TCP),
		"-D -t 1.2.3:80":                 four("1.2.0.3", 80, ipvs.TCP),
		"-D -t 0x0a000001:80":            four("10.0.0.1", 80, ipvs.TCP),
		"-D -t 010.1.1.1:80":             four("8.1.1.1", 80, ipvs.TCP),
		"-D -t 4294967295:80":            four("255.255.255.255", 80, ipvs.TCP),
		"-D -t '1.2.3.4 x:80'":           four("1.2.3.4", 80, ipvs.TCP),
		"-D -t [2001:db8::1]:80":         six(80),
		"-D -t 2001:db8::1":              six(0),
		"-D -t [1.2.3.4]:80":             four("1.2.3.4", 0, ipvs.TCP),
		"-D -t [1.2.3.4:90]:80":          four("1.2.3.4", 90, ipvs.TCP),
		"-D -f 7":                        {Family: ipvs.IPv4, Mark: 7},
		"-D -f ' 4294967295'":            {Family: ipvs.IPv4, Mark: 4294967295},
		"-D -f 010":                      {Family: ipvs.IPv4, Mark: 10},
		"-D -f 7 -6":                     {Family: ipvs.IPv6, Mark: 7},
	} {
		require.Equal(t, want, parsed(t, line).service, line)
	}
}

func TestServiceOptions(t *testing.T) {
	base := ipvs.ServiceSpec{Scheduler: "wlc", Netmask: allOnes}
	base6 := ipvs.ServiceSpec{Scheduler: "wlc", PrefixLen: 128}
	with := func(s ipvs.ServiceSpec, change func(*ipvs.ServiceSpec)) ipvs.ServiceSpec { change(&s); return s }
	persistent := func(secs uint32) ipvs.ServiceSpec {
		return with(base, func(s *ipvs.ServiceSpec) { s.Flags, s.Timeout = ipvs.FlagPersistent, secs })
	}
	for line, want := range map[string]ipvs.ServiceSpec{
		"-A -t 1.2.3.4:80":                        base,
		"-A -t 1.2.3.4:80 -s ''":                  base,
		"-A -t 1.2.3.4:80 -s=rr":                  with(base, func(s *ipvs.ServiceSpec) { s.Scheduler = "rr" }),
		"-A -t 1.2.3.4:80 -s aaaabbbbccccdddd":    with(base, func(s *ipvs.ServiceSpec) { s.Scheduler = "aaaabbbbccccddd" }),
		"-A -t 1.2.3.4:80 -p":                     persistent(360),
		"-A -p -t 1.2.3.4":                        persistent(360),
		"-A -t 1.2.3.4:80 -p60":                   persistent(60),
		"-A -t 1.2.3.4:80 -p 60":                  persistent(60),
		"-A -t 1.2.3.4:80 -p=60":                  persistent(60),
		"-A -t 1.2.3.4:80 --persistent=60":        persistent(60),
		"-A -t 1.2.3.4:80 --persistent 60":        persistent(60),
		"-A -t 1.2.3.4:80 -p 2678400":             persistent(2678400),
		"-A -t 1.2.3.4:80 -M 24":                  with(base, func(s *ipvs.ServiceSpec) { s.Netmask = netip.MustParseAddr("0.0.0.24") }),
		"-A -t 1.2.3.4:80 -M 255.0.255.0":         with(base, func(s *ipvs.ServiceSpec) { s.Netmask = netip.MustParseAddr("255.0.255.0") }),
		"-A -t [2001:db8::1]:80":                  base6,
		"-A -t [2001:db8::1]:80 -M 64":            with(base6, func(s *ipvs.ServiceSpec) { s.PrefixLen = 64 }),
		"-A -t [2001:db8::1]:80 -M ' 64x'":        with(base6, func(s *ipvs.ServiceSpec) { s.PrefixLen = 64 }),
		"-A -M 64 -t [2001:db8::1]:80":            base6, // read as IPv4, then forgotten
		"-A -M 255.0.0.0 -f 3 -6":                 base6,
		"-A -f 3 -6 -M 48":                        with(base6, func(s *ipvs.ServiceSpec) { s.PrefixLen = 48 }),
		"-A -u 1.2.3.4:53 -o":                     with(base, func(s *ipvs.ServiceSpec) { s.Flags = ipvs.FlagOnePacket }),
		"-A -f 3 --ops":                           with(base, func(s *ipvs.ServiceSpec) { s.Flags = ipvs.FlagOnePacket }),
		"-A -t 1.2.3.4:80 --pe sip":               with(base, func(s *ipvs.ServiceSpec) { s.PE = "sip" }),
		"-A -t 1.2.3.4:80 --pe aaaabbbbccccddddE": with(base, func(s *ipvs.ServiceSpec) { s.PE = "aaaabbbbccccdddd" }),
		"-A -b sh-port,,sh-fallback, -s sh -t 1.2.3.4:80": with(base, func(s *ipvs.ServiceSpec) {
			s.Scheduler, s.Flags = "sh", ipvs.FlagSched1|ipvs.FlagSched2
		}),
		"-A -t 1.2.3.4:80 -b flag-1,flag-3": with(base, func(s *ipvs.ServiceSpec) { s.Flags = ipvs.FlagSched1 | ipvs.FlagSched3 }),
		"-A -t 1.2.3.4:80 -s mh -b mh-port,flag-2": with(base, func(s *ipvs.ServiceSpec) {
			s.Scheduler, s.Flags = "mh", ipvs.FlagSched2
		}),
	} {
		require.Equal(t, want, parsed(t, line).spec, line)
	}
}

func TestRealServers(t *testing.T) {
	direct := ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: 1}
	masq := ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 1}
	tunnel := func(p ipvs.TunnelParams) ipvs.ServerSpec {
		return ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: 1, Tunnel: p}
	}
	for _, c := range []struct {
		line string
		addr netip.Addr
		port uint16
		spec ipvs.ServerSpec
	}{
		{"-a -t 1.2.3.4:80 -r 1.1.1.1", someRIP, 80, direct},
		{"-a -t 1.2.3.4:80 -r 1.1.1.1:8080", someRIP, 80, direct}, // the port is overruled
		{"-e -t 1.2.3.4:80 -r 1.1.1.1:8080 -i", someRIP, 80, tunnel(ipvs.TunnelParams{})},
		{"-d -t 1.2.3.4:80 -r 1.1.1.1:8080", someRIP, 8080, direct}, // but not here
		{"-a -t 1.2.3.4:80 -r 1.1.1.1:8080 -m", someRIP, 8080, masq},
		{"-a -t 1.2.3.4:80 -r 1.1.1.1 -m", someRIP, 80, masq},
		{"-a -r 1.1.1.1 -t 1.2.3.4:80 -m", someRIP, 0, masq}, // the service was not known yet
		{"-a -t 1.2.3.4:80 -r 1.1.1.1:0 -m", someRIP, 0, masq},
		{"-a -t 1.2.3.4:80 -r 1.1.1.1:http -m", someRIP, 80, masq},
		{"-a -f 3 -r 1.1.1.1", someRIP, 0, direct},
		{"-a -f 3 -r 1.1.1.1:http", someRIP, 80, direct}, // a mark's ports go by TCP names
		{"-a -f 3 -6 -r [2001:db8::2]:8080 -g", rip6, 8080, direct},
		{"-a -t [2001:db8::1]:80 -r 2001:db8::2 -m", rip6, 80, masq},
		{"-a -t 1.2.3.4:80 -r 2001:db8::2 -i", rip6, 80, tunnel(ipvs.TunnelParams{})},
		{"-a -t 1.2.3.4:80 -r 1.1.1.1 -i --tun-type gue --tun-port 6080 --tun-remcsum", someRIP, 80,
			tunnel(ipvs.TunnelParams{Type: ipvs.GUE, Port: 6080, Flags: ipvs.TunnelRemCsum})},
		{"-a -t 1.2.3.4:80 -r 1.1.1.1 -i --tun-type gre --tun-csum", someRIP, 80,
			tunnel(ipvs.TunnelParams{Type: ipvs.GRE, Flags: ipvs.TunnelCsum})},
		{"-a -t 1.2.3.4:80 -r 1.1.1.1 -w 2147483647 -x 10 -y 20", someRIP, 80,
			ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: 2147483647, UpperThreshold: 10, LowerThreshold: 20}},
		{"-at 1.2.3.4:80 -r 1.1.1.1 -mw 080", someRIP, 80, ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 80}},
	} {
		q := parsed(t, c.line)
		require.Equal(t, ipvs.ServerID{Addr: c.addr, Port: c.port}, q.server, c.line)
		require.Equal(t, c.spec, q.serverSpec, c.line)
	}
}

func TestDaemonsAndTimeouts(t *testing.T) {
	require.Equal(t,
		ipvs.Daemon{State: ipvs.DaemonMaster, Interface: "eth0"},
		parsed(t, "--start-daemon master").daemon)
	require.Equal(t,
		ipvs.Daemon{State: ipvs.DaemonBackup, Interface: "a123456789012345"[:15], SyncID: 255, MaxLen: 65507,
			Group: netip.MustParseAddr("ff02::1"), Port: 65535, TTL: 255},
		parsed(t, "--start-daemon=backup --mcast-interface a123456789012345 --syncid 255 --sync-maxlen 65507 "+
			"--mcast-group ff02::1 --mcast-port 65535 --mcast-ttl 255").daemon)
	require.Equal(t, ipvs.DaemonBackup, parsed(t, "--stop-daemon backup --syncid 3").daemon.State)
	require.Equal(t, ipvs.Timeouts{TCP: 1, TCPFin: 0, UDP: 2678400}, parsed(t, "--set +1 0 2678400").timeouts)
	require.Equal(t, ipvs.Timeouts{TCP: 1, TCPFin: 2, UDP: 3}, parsed(t, "--set -- 1 2 3").timeouts)
}

func TestFirstWordWins(t *testing.T) {
	require.Equal(t, cmdHelp, parsed(t, "-h -Q").command)
	require.Equal(t, cmdVersion, parsed(t, "-vL").command)
	require.Equal(t, cmdList, parsed(t, "-Lnc").command)
	q, v := parse("ipvsadm", []string{"-L", "--sort", "--sort", "-n"}, nil)
	require.Nil(t, v)
	require.Equal(t, setOf(optNumeric), q.options)
}

// Every option has one name and is told apart from every other.
func TestWordsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range words {
		for _, name := range []string{w.long, strings.Trim(string(w.short), "\x00")} {
			if name == "" {
				continue
			}
			require.False(t, seen[name], name)
			seen[name] = true
		}
	}
	for _, name := range optionNames {
		require.NotEmpty(t, name)
	}
}
