package health

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// The recordings in testdata are of keepalived 2.2.7, under `usvs exec`: what it
// logged, wrote to its FIFO and by mail, and asked of IPVS, and when. The same
// happens here in virtual time: the same lines have to come as often, at the
// same times. (Their order is not in the recordings: they came by four ways.)

// clockTolerance is by how many seconds a busy machine was late.
const clockTolerance = 0.4

const tcp, udp = ipvs.TCP, ipvs.UDP

const half, fifth = 500 * time.Millisecond, 400 * time.Millisecond

// occurrences of a line, in seconds.
type occurrences map[string][]float64

func readLines(lines []string, skip *regexp.Regexp) occurrences {
	all := occurrences{}
	for _, line := range lines {
		at, what, _ := strings.Cut(line, " ")
		seconds, err := strconv.ParseFloat(at, 64)
		if err != nil || skip != nil && skip.MatchString(what) {
			continue
		}
		all[what] = append(all[what], seconds)
	}
	return all
}

// same compares what happened with a recording. Lines that skip matches do not
// count.
func (l *lab) same(t *testing.T, recording, skip string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", recording))
	require.NoError(t, err)
	var not *regexp.Regexp
	if skip != "" {
		not = regexp.MustCompile(skip)
	}
	want, got := readLines(strings.Split(string(text), "\n"), not), readLines(l.take(), not)
	for what, times := range want {
		if !assert.Equal(t, len(times), len(got[what]), "%s\nkeepalived: %v\nhere: %v", what, times, got[what]) {
			continue
		}
		for i := range times {
			assert.Less(t, math.Abs(times[i]-got[what][i]), clockTolerance, "%s\nkeepalived: %v\nhere: %v", what, times, got[what])
		}
	}
	for what, times := range got {
		assert.NotEmpty(t, want[what], "only here, %v: %s", times, what)
	}
}

func url(path string) URL { return URL{Path: path} }

func stopAt(l *lab, seconds float64) {
	l.at(seconds, func() { l.m.Stop(l.now) })
	l.m.Start(0)
	l.run(seconds)
}

func TestRecordedQuorum(t *testing.T) {
	first := virtual([]Service{serviceOf(tcp, "10.9.9.1", 80)}, 1,
		realAt("10.9.1.1:80", 1, checkOf(TCP, 2, half)),
		inhibited(realAt("10.9.1.2:80", 2, checkOf(TCP, 1, half).logsAll())))
	first.SMTPAlert, first.Sorry = true, sorryAt("10.9.1.9:80")

	second := alpha(virtual([]Service{serviceOf(tcp, "10.9.9.2", 80)}, 3,
		realAt("10.9.1.3:80", 2, checkOf(TCP, 0, time.Second)),
		inhibited(realAt("10.9.1.4:80", 2, checkOf(TCP, 0, time.Second)))))
	second.Hysteresis, second.Omega, second.Sorry = 1, true, sorryAt("10.9.1.9:81")
	second.Sorry.Inhibit = true

	fast := checkOf(HTTP, 2, 700*time.Millisecond).pages(url("/a"), url("/b"))
	fast.FastRecovery = true
	third := virtual([]Service{serviceOf(tcp, "10.9.9.3", 80)}, 1,
		realAt("10.9.1.5:80", 1, checkOf(HTTP, 1, half).logsAll().pages(url("/a"), URL{Path: "/b", Digest: "9"}, URL{Path: "/c", Regex: "abc"})),
		realAt("10.9.1.6:80", 1, fast))

	l := newLab(t, &Config{RouterID: "lvs1", VirtualServers: []*VirtualServer{first, second, third}})
	l.does["10.9.1.4:80"] = "failed"
	l.set(5.4, "10.9.1.1:80", "failed")
	for _, server := range []string{"10.9.1.5:80/b", "10.9.1.6:80/b"} {
		l.set(5.4, server, "HTTP status code error to")
		l.set(16, server, "ok")
	}
	l.set(6, "10.9.1.4:80", "ok")
	l.set(17, "10.9.1.2:80", "failed")
	l.set(17, "10.9.1.3:80", "failed")
	l.set(24, "10.9.1.2:80", "ok")
	l.set(24, "10.9.1.3:80", "ok")
	l.set(29, "10.9.1.1:80", "ok")
	l.set(30, "10.9.1.4:80", "failed")
	stopAt(l, 34)
	l.same(t, "quorum.txt", "")
}

func TestRecordedKinds(t *testing.T) {
	g := group("G", virtual([]Service{
		serviceOf(tcp, "10.9.9.10", 80), serviceOf(tcp, "10.9.9.11", 80), serviceOf(tcp, "10.9.9.12", 80), serviceOf(tcp, "10.9.9.20", 81),
	}, 1,
		realAt("10.9.1.1:80", 3, checkOf(SMTP, 2, fifth).logsAll()),
		realAt("10.9.1.2:80", 3, checkOf(SMTP, 2, fifth).logsAll().to("10.9.1.2:2525"))))
	f := group("F", virtual([]Service{markOf(7), markOf(8)}, 1,
		realAt("10.9.1.3:0", 3, checkOf(DNS, 2, fifth).logsAll().to("10.9.1.3:53")),
		realAt("10.9.1.4:0", 1, checkOf(DNS, 0, fifth).to("10.9.1.4:53"))))
	mark := virtual([]Service{markOf(9)}, 1,
		realAt("10.9.1.5:0", 1, checkOf(UDP, 2, fifth).logsAll().to("10.9.1.5:53")),
		realAt("10.9.1.6:0", 1, checkOf(UDP, 2, fifth).to("10.9.1.6:53")),
		realAt("10.77.0.7:0", 1, checkOf(Ping, 2, fifth).logsAll()))
	scripts := virtual([]Service{serviceOf(udp, "10.9.9.30", 80)}, 1,
		realAt("10.9.1.8:80", 5, checkOf(Misc, 2, fifth).logsAll().dynamic().runs("/tmp/hk/e2/misc.sh", "m8")),
		realAt("10.9.1.9:80", 5, checkOf(Misc, 0, fifth).runs("/tmp/hk/e2/misc.sh", "m9")),
		realAt("10.9.1.10:80", 5, checkOf(File, 0, 0).follows("tf", "tf", 2)),
		realAt("10.9.1.11:80", 5, checkOf(File, 0, 0).follows("tf0", "tf0", 0)))
	suspended := virtual([]Service{serviceOf(tcp, "10.9.9.40", 80)}, 1,
		realAt("10.9.1.12:80", 1, checkOf(TCP, 1, fifth).logsAll(), checkOf(TCP, 1, fifth).to("10.9.1.12:81")),
		realAt("10.9.77.13:80", 1, checkOf(TCP, 1, fifth).logsAll(), checkOf(Ping, 1, fifth).logsAll().to("10.9.77.13:0")))
	suspended.HASuspend, suspended.Sorry = true, sorryAt("10.9.1.29:80")
	suspended.Sorry.Inhibit = true

	l := newLab(t, &Config{RouterID: "lvs1", VirtualServers: []*VirtualServer{g, f, mark, scripts, suspended}})
	l.does["10.9.77.13:80"], l.does["10.9.77.13:0"] = "timeout", "timeout"
	for _, s := range []struct {
		at         float64
		what, does string
	}{
		{4, "tf", "value 10"}, {4, "m8", "exit 9"}, {4, "m9", "exit 3"}, {4, "tf0", "value 1"},
		{4, "10.9.1.1:80", "Bad greeting banner from server"}, {4, "10.9.1.2:2525", "timeout"},
		{4.1, "10.9.1.3:53", "timeout"}, {4.1, "10.9.1.4:53", "read error occurred. (rcode = 2)"}, {4.1, "10.9.1.6:53", "timeout"},
		{4.2, "10.77.0.7:0", "failed"}, {9, "tf", "value -5"}, {8.9, "m8", "timeout"},
		{12, "10.9.1.1:80", "Bad HELO response from server"}, {12, "10.9.1.2:2525", "ok"},
		{14, "m8", "exit 1"}, {14, "tf0", "value 0"}, {14, "tf", "value 3"},
		{16, "10.9.1.3:53", "ok"}, {16, "10.9.1.4:53", "ok"}, {16, "10.9.1.6:53", "ok"}, {16.2, "10.77.0.7:0", "ok"},
		{16, "m8", "exit 2"}, {16, "m9", "exit 0"}, {16, "10.9.1.1:80", "ok"},
		{17, "10.9.1.12:80", "failed"}, {18, "10.9.1.12:81", "failed"}, {21, "10.9.1.12:80", "ok"},
		{22, "10.9.1.1:80", "Read failure from server"}, {22, "10.9.1.12:81", "ok"}, {22.1, "m8", "timeout"},
	} {
		l.set(s.at, s.what, s.does)
	}
	vip := netip.MustParseAddr("10.9.9.40")
	l.at(5, func() { l.m.SetAddress(l.now, vip, true) })
	l.at(25, func() { l.m.SetAddress(l.now, vip, false) })
	stopAt(l, 28)
	// keepalived forgets the weight that a script has set when the script runs
	// for too long, but not when it fails; and it cannot reach 10.77.0.7 at all,
	// which it says in other words.
	l.same(t, "kinds.txt", `10\.9\.1\.8:80 of UDP .* w=|Changing weight .*10\.9\.1\.8\]|ICMP connection to \[10\.77\.0\.7\].*failed`)
}

func TestRecordedRetries(t *testing.T) {
	script := func(name string) []string { return []string{"/tmp/hk/e3/misc.sh", name} }
	g := group("G", virtual([]Service{serviceOf(tcp, "10.9.9.10", 80), serviceOf(tcp, "10.9.9.11", 80)}, 3,
		realAt("10.9.1.1:80", 3, checkOf(SMTP, 1, fifth)),
		realAt("10.9.1.2:80", 3, checkOf(TCP, 1, fifth).to("10.9.1.2:81"), checkOf(TCP, 1, fifth).to("10.9.1.2:82"))))
	g.SMTPAlert, g.Hysteresis = true, 1
	g2 := group("G", virtual([]Service{serviceOf(udp, "10.9.9.10", 80), serviceOf(udp, "10.9.9.11", 80)}, 1,
		realAt("10.9.1.3:80", 3, checkOf(DNS, 2, fifth).to("10.9.1.3:53")),
		realAt("10.9.1.7:80", 3, checkOf(DNS, 2, fifth).to("10.9.1.7:53"))))
	scripts := virtual([]Service{serviceOf(udp, "10.9.9.30", 80)}, 1,
		realAt("10.9.1.8:80", 5, checkOf(Misc, 0, fifth).dynamic().runs(script("m8")...)),
		realAt("10.9.1.9:80", 5, checkOf(Misc, 1, fifth).runs(script("m9")...)),
		realAt("10.9.1.10:80", 5, checkOf(Misc, 1, fifth).logsAll().runs(script("m10")...)))
	web := virtual([]Service{serviceOf(tcp, "10.9.9.3", 80)}, 1,
		realAt("10.9.1.5:80", 1, checkOf(HTTP, 2, half).logsAll().pages(url("/a"), url("/b"))),
		realAt("10.9.1.6:80", 1, checkOf(HTTP, 1, 3*time.Second).logsAll().pages(url("/a"))),
		realAt("10.9.77.14:80", 1, checkOf(HTTP, 1, 700*time.Millisecond).logsAll().pages(url("/a"))),
		realAt("10.9.77.15:80", 1, checkOf(SMTP, 1, time.Second).logsAll()))
	alpha1 := alpha(virtual([]Service{serviceOf(tcp, "10.9.9.51", 80)}, 1, realAt("10.9.1.16:80", 1, checkOf(Misc, 2, time.Second).runs(script("m11")...))))
	alpha1.Omega = true
	alpha2 := alpha(virtual([]Service{serviceOf(tcp, "10.9.9.52", 80)}, 1, realAt("10.9.1.16:80", 1, checkOf(UDP, 2, time.Second))))
	alpha2.SMTPAlert, alpha2.Sorry = true, sorryAt("10.9.1.17:80")
	last := virtual([]Service{serviceOf(tcp, "10.9.9.53", 80)}, 2,
		realAt("10.9.1.16:80", 3, checkOf(Misc, 1, time.Second).runs(script("m11")...)),
		inhibited(realAt("10.9.1.18:80", 0, checkOf(Misc, 0, time.Second).runs(script("m11")...))))
	last.SMTPAlert = true

	l := newLab(t, &Config{RouterID: "lvs1", InitNotifies: true, NoCheckerEmails: true,
		VirtualServers: []*VirtualServer{alpha(g), g2, scripts, web, alpha1, alpha2, last}})
	for what, does := range map[string]string{
		"10.9.1.7:53": "timeout", "m11": "exit 1", "10.9.1.16:80": "failed",
		"10.9.77.14:80/a": "Timeout connecting", "10.9.77.15:80": "Connection timeout to server",
	} {
		l.does[what] = does
	}
	for i, exit := range []int{9, 2, 12, 1, 0, 9, 0, 9, 9} {
		l.set(float64(2+2*i), "m8", fmt.Sprintf("exit %d", exit))
	}
	for _, s := range []struct {
		at         float64
		what, does string
	}{
		{4, "m9", "exit 1"}, {4, "m10", "exit 1"}, {9, "m9", "exit 0"}, {9, "m10", "signal 9"}, {6, "m11", "exit 0"},
		{4, "10.9.1.1:80", "Bad greeting banner from server"}, {12, "10.9.1.1:80", "ok"}, {4, "10.9.1.3:53", "timeout"},
		{5, "10.9.1.2:81", "failed"}, {8, "10.9.1.2:81", "ok"}, {5, "10.9.1.2:82", "failed"}, {12, "10.9.1.2:82", "ok"},
		{4, "10.9.1.5:80/a", "HTTP status code error to"}, {5.4, "10.9.1.5:80/a", "ok"}, {8.1, "10.9.1.5:80/a", "HTTP status code error to"},
		{13, "10.9.1.5:80/a", "ok"}, {6.1, "10.9.1.5:80/b", "HTTP status code error to"}, {10.2, "10.9.1.5:80/b", "ok"},
		{4, "10.9.1.6:80/a", "timeout"},
	} {
		l.set(s.at, s.what, s.does)
	}
	stopAt(l, 20)
	// keepalived edits weight 0 to weight 0.
	l.same(t, "retries.txt", `^ipvs edit server 10\.9\.1\.18:80 .* w=0$`)
}

func TestRecordedFirst(t *testing.T) {
	at := func(port uint16) []Service { return []Service{serviceOf(tcp, "10.9.9.1", port)} }
	web := func() *Check { return checkOf(HTTP, 1, fifth).pages(url("/a"), url("/b")) }
	first := alpha(virtual(at(80), 1,
		realAt("10.9.1.1:80", 1, web()), realAt("10.9.1.2:80", 1, web().logsAll()),
		realAt("10.9.1.3:80", 1, checkOf(TCP, 2, fifth).logsAll()), realAt("10.9.1.4:80", 1, checkOf(SMTP, 1, fifth))))
	second := virtual(at(81), 1, realAt("10.9.1.1:81", 1, web()), realAt("10.9.1.2:81", 1, checkOf(UDP, 1, fifth).logsAll()))
	twin := virtual(at(82), 2,
		inhibited(realAt("10.9.1.1:82", 2, checkOf(File, 0, 0).follows("tf", "tf", 1))),
		realAt("10.9.1.9:82", 1, checkOf(TCP, 1, fifth)), realAt("10.9.1.3:82", 1, checkOf(TCP, 1, fifth)))
	twin.Sorry = sorryAt("10.9.1.9:82")
	inhibitedTwin := virtual(at(83), 2,
		inhibited(realAt("10.9.1.9:83", 1, checkOf(TCP, 1, fifth))), inhibited(realAt("10.9.1.3:83", 1, checkOf(TCP, 1, fifth))))
	inhibitedTwin.Sorry = sorryAt("10.9.1.9:83")
	inhibitedTwin.Sorry.Inhibit = true
	last := virtual(at(84), 1,
		realAt("10.9.1.1:84", 1, checkOf(File, 0, 0).follows("t1", "t1", 0)), realAt("10.9.1.2:84", 1, checkOf(TCP, 0, fifth)))
	last.Omega, last.SMTPAlert = true, true

	l := newLab(t, &Config{RouterID: "lvs1", OnStop: StopServices, VirtualServers: []*VirtualServer{first, second, twin, inhibitedTwin, last}})
	for what, does := range map[string]string{
		"10.9.1.2:80/b": "HTTP status code error to", "10.9.1.1:81/b": "HTTP status code error to",
		"10.9.1.3:80": "failed", "10.9.1.4:80": "Could not connect to server", "t1": "value 1",
	} {
		l.does[what] = does
	}
	for _, s := range []struct {
		at         float64
		what, does string
	}{
		{3, "10.9.1.9:82", "failed"}, {3, "10.9.1.9:83", "failed"}, {7, "tf", "value -9"},
		{8.9, "10.9.1.3:82", "failed"}, {8.9, "10.9.1.3:83", "failed"}, {12, "tf", "value 0"},
		{13, "10.9.1.3:82", "ok"}, {13, "10.9.1.3:83", "ok"}, {13, "10.9.1.2:80/b", "ok"}, {13, "10.9.1.1:81/b", "ok"},
		{16.5, "10.9.1.9:82", "ok"}, {16.5, "10.9.1.9:83", "ok"}, {17, "t1", "value 0"},
	} {
		l.set(s.at, s.what, s.does)
	}
	stopAt(l, 21)
	// Whether a tracked file is well is known here a moment after the start only.
	// Of a server that is the sorry server, too, IPVS is told in fewer words.
	l.same(t, "first.txt", `ctivating|10\.9\.1\.1\]:tcp:84|10\.9\.1\.1:84|10\.9\.9\.1\]:tcp:84 - UP|Gained quorum .*:84$|tracked file|ipvs \w+ server 10\.9\.1\.(1:82|9:83) `)
}
