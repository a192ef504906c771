package control

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/route"
)

// book resolves what resolved when the recordings were made.
type book struct{}

var bookHosts = map[string]string{
	"www.example.test": "10.9.0.1",
	"rs1.example.test": "10.1.0.11",
	"a-real-server-with-a-long-name.example.test": "10.1.0.12",
}

var bookPorts = map[string]uint16{
	"http/TCP": 80, "https/TCP": 443, "kerberos/TCP": 88, "http-alt/TCP": 8080, "sip/TCP": 5060,
	"domain/TCP": 53, "domain/UDP": 53, "mdns/UDP": 5353, "sip/UDP": 5060,
}

func (book) LookupAddr(a netip.Addr) (string, bool) {
	for name, addr := range bookHosts {
		if addr == a.String() {
			return name, true
		}
	}
	return "", false
}

func (book) LookupHost(name string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(bookHosts[name])
	return a, err == nil
}

func (book) ServiceName(port uint16, p ipvs.Protocol) (string, bool) {
	for name, n := range bookPorts {
		if base, ok := strings.CutSuffix(name, "/"+p.String()); ok && n == port {
			return base, true
		}
	}
	return "", false
}

func (book) ServicePort(name string, p ipvs.Protocol) (uint16, bool) {
	port, ok := bookPorts[name+"/"+p.String()]
	return port, ok
}

// recordedHost is the director of the recordings.
func recordedHost() *route.Table {
	prefix := netip.MustParsePrefix
	return route.New(route.Config{
		Interfaces: []route.Interface{
			{Name: "eth0", Up: true, Addrs: []netip.Prefix{prefix("10.1.0.1/16"), prefix("fd00:1::1/64"), prefix("10.9.0.1/32"), prefix("fd00:9::1/128")}},
			{Name: "eth1", Up: true, Addrs: []netip.Prefix{prefix("10.2.0.1/16"), prefix("fd00:2::1/64")}},
		},
		Locals: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::1")},
	})
}

// notHere are the recordings that need what a Control alone has not: traffic,
// synchronisation daemons, a shell with pipes.
var notHere = []string{"stats-traffic", "stats-bignum", "sysctl-defaults", "daemon", "save-restore",
	"err-daemon-bad-interface", "err-daemon-no-interface"}

// TestOracle plays the recorded command lines on a Control: the answers of the
// kernel are its own to give.
func TestOracle(t *testing.T) {
	paths, err := filepath.Glob("../testdata/oracle/text/*.txt")
	require.NoError(t, err)
	require.Greater(t, len(paths), 100)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		if slices.Contains(notHere, name) {
			continue
		}
		t.Run(name, func(t *testing.T) { playRecording(t, path) })
	}
}

func playRecording(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	r := newRig(t, func(c *Config) { c.Conns = &listed{noConnections{ipvs.DefaultTimeouts}} })
	r.SetRoutes(recordedHost())
	for _, record := range strings.Split("\n"+string(text), "\n$ ")[1:] {
		line, recorded, _ := strings.Cut(record, "\n")
		line, silent := strings.CutSuffix(line, " >/dev/null 2>&1")
		if !strings.HasPrefix(line, "ipvsadm") || strings.Contains(line, " -c") || strings.Contains(line, "-Lc") || strings.Contains(line, "-Lnc") {
			continue
		}
		got := r.recorded(line, silent)
		require.Equal(t, services(line, recorded), services(line, got), "$ %s", line)
	}
}

// recorded runs an ipvsadm line and writes what it did as recordings do.
func (r *rig) recorded(line string, silent bool) string {
	cmds, err := parseScript("f", strings.NewReader(line))
	r.must(err)
	var stdout, stderr strings.Builder
	status := ipvsadm.Run(cmds[0].words, r.Control, book{}, strings.NewReader(""), &stdout, &stderr)
	if silent {
		return fmt.Sprintf("= %d\n", status)
	}
	var out strings.Builder
	for _, s := range []struct{ mark, text string }{{"|", stdout.String()}, {"!", stderr.String()}} {
		for l := range strings.Lines(s.text) {
			out.WriteString(s.mark + l)
		}
	}
	fmt.Fprintf(&out, "= %d\n", status)
	return out.String()
}

// services sorts an unsorted listing, whose order is that of a hash.
func services(line, text string) string {
	text = strings.TrimRight(text, "\n")
	if !strings.Contains(line, "--nosort") {
		return text
	}
	var blocks []string
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(l, "|  -> ") && len(blocks) > 0 {
			blocks[len(blocks)-1] += "\n" + l
			continue
		}
		blocks = append(blocks, l)
	}
	slices.Sort(blocks)
	return strings.Join(blocks, "\n")
}
