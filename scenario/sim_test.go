package scenario

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/hashes.txt anew")

// fingerprint plays a scenario and hashes its frames and its log.
func fingerprint(t *testing.T, f *File, seed uint64) string {
	t.Helper()
	w := NewSim(seed)
	require.NoError(t, Run(f, w, Options{World: "sim"}))
	h := sha256.New()
	require.NoError(t, w.Net().WritePcapng(h, w.Recorder().Records))
	_, err := w.Net().WriteLog(h)
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// TestSameSeedSameBytes: a run is a function of scenario and seed, at any
// GOMAXPROCS.
func TestSameSeedSameBytes(t *testing.T) {
	files, err := Load("../scenarios")
	require.NoError(t, err)
	for _, f := range files {
		hash := fingerprint(t, f, 7)
		old := runtime.GOMAXPROCS(1)
		require.Equal(t, hash, fingerprint(t, f, 7), f.Name)
		runtime.GOMAXPROCS(old)
	}
}

// recorded are the scenarios whose hashes are in testdata: one for each method,
// kind of traffic and family.
var recorded = []string{"dr-two-servers", "nat-two-networks", "tun", "ipv6-nat", "udp-service", "fragments-nat", "icmp-related-nat"}

// frames hashes what passed the links, and when, but none of the words about it.
func frames(t *testing.T, f *File, seed uint64) string {
	t.Helper()
	w := NewSim(seed)
	require.NoError(t, Run(f, w, Options{World: "sim"}))
	h := sha256.New()
	for _, r := range w.Recorder().Records {
		fmt.Fprintf(h, "%d %d %v %v %d %x\n", r.Sent, r.Arrived, r.From, r.To, r.Fate, r.Data)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// TestRecordedHashes: a run is the same on every machine. After a change that
// is meant to change frames, run it with -update.
func TestRecordedHashes(t *testing.T) {
	var b strings.Builder
	for _, name := range recorded {
		f, err := loadFile("../scenarios/" + name + ".txt")
		require.NoError(t, err)
		fmt.Fprintf(&b, "%s %s\n", frames(t, f, 7), name)
	}
	const golden = "testdata/hashes.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// TestSeedsDecideWhatIsRandom and nothing else.
func TestSeedsDecideWhatIsRandom(t *testing.T) {
	load := func(name string) *File {
		f, err := loadFile(filepath.Join("../scenarios", name))
		require.NoError(t, err)
		return f
	}
	lossy := load("lossy-link.txt")
	require.NotEqual(t, fingerprint(t, lossy, 1), fingerprint(t, lossy, 2))
}

// TestManySeeds: what the scenarios want does not depend on luck.
func TestManySeeds(t *testing.T) {
	files, err := Load("../scenarios")
	require.NoError(t, err)
	s := &Suite{
		World: "sim", Files: files, From: 100, To: 104, Parallel: 2,
		Open:   func(seed uint64) (World, error) { return NewSim(seed), nil },
		Report: func(v *Verdict) { require.NoError(t, v.Err, v.Replay()) },
	}
	counts, err := s.Run()
	require.NoError(t, err)
	require.Zero(t, counts[Failed])
}

func TestSimSpeaksHTTP(t *testing.T) {
	play := func(lines string) error {
		f, err := Parse("x.txt", []byte("switch lan\nclient a lan 10.0.0.1/24\nserver b lan 10.0.0.2/24\nserver c lan 10.0.0.3/24 serves nothing\n"+lines))
		require.NoError(t, err)
		return Run(f, NewSim(1), Options{World: "sim"})
	}
	for _, lines := range []string{
		"http a -> b:80 x3 size 300000 upload 300000\nexpect answered b 3\n",
		"http a -> b:80 x5 concurrency 5\nexpect answered b 5\n",
		"http a -> c:80 x2\nexpect failed 2 refused\n",
		"http a -> 10.0.0.9:80 timeout 10s\nexpect failed 1 unreachable\n",
		"http a -> 192.0.2.1:80\nexpect failed 1 unreachable\n",
		"link b down\nhttp a -> b:80 timeout 500ms\nexpect failed 1 timeout\n",
		"udp a -> c:53\nexpect failed 1 refused\n",
		"udp a -> b:53 x3 size 20000\nexpect answered b 3\n",
		"ping a -> b size 20000\nexpect answered 1\n",
		"ping a -> 10.0.0.9\nexpect failed 1\n",
		"http a -> b:80 hold as h\nin 1s link b down\nwait 2s\nagain h\nexpect failed 1 timeout\nagain h\nexpect failed 1 reset\n",
		"http a -> b:80 port 4000 from 10.0.0.1\nexpect frame at b in tcp 10.0.0.1:4000 > b:80 S\n",
		"http a -> b:80 x3 every 1s\nexpect frame at b in tcp S after 1900ms\nexpect answered 3\n",
		"link b delay 10ms jitter 5ms duplicate 20% reorder 20% rate 1mbit\nhttp a -> b:80 x3 size 20000 timeout 20s\nexpect answered 3\n",
		"link b corrupt 10%\nhttp a -> b:80 x3 size 20000 timeout 60s\nexpect answered 3\n",
	} {
		require.NoError(t, play(lines), lines)
	}
}

func TestServersAnswerWithTheirName(t *testing.T) {
	require.Equal(t, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nrs1\n..", string(named("rs1")("/6").Bytes()))
	require.Equal(t, "rs1\n", string(named("rs1")("nonsense").Body))
	require.Equal(t, "rs1\n", string(named("rs1")("/-5").Body))
}

// TestSimFindsWhatIsWrong: each expectation can fail in a real run, with what
// was found instead.
func TestSimFindsWhatIsWrong(t *testing.T) {
	const net = `VIP=10.0.0.100
switch lan
client a lan 10.0.0.9/24
director lvs lan 10.0.0.1/24
server b lan 10.0.0.2/24
b$ usvs realserver up --vip $VIP
lvs$ ipvsadm -A -t $VIP:80 -s rr
lvs$ ipvsadm -a -t $VIP:80 -r 10.0.0.2 -g
http a -> $VIP:80 x3
`
	for lines, want := range map[string]string{
		"expect answered b 2":                                               "b answered 3 requests, not 2: b 3",
		"expect failed 1":                                                   "0 requests failed, not 1: b 3",
		"expect neighbour a $VIP b":                                         "a believes that 10.0.0.100 is at lvs, not at b",
		"expect neighbour a 10.0.0.77 lvs":                                  "a believes that 10.0.0.77 is at nobody, not at lvs",
		"expect counter lvs drop_ttl 1":                                     "drop_ttl is 0, not 1",
		"expect log lvs another host answers":                               "the log of lvs has no such line",
		"expect 2 frames at b in tcp S":                                     "3 frames fit, not 2",
		"expect frame at b in tcp a > $VIP:80 S ttl=64":                     "ttl is 63, not 64",
		"expect no frame at a in tcp $VIP:80 > a SA":                        "3 frames fit, not 0",
		"lvs$ ipvsadm -Ln\n| -> 10.0.0.2:80 Route 1 1 2":                    "the output has no line",
		"lvs$ ipvsadm -d -t $VIP:81 -r 10.0.0.2":                            "the command failed",
		"! lvs$ ipvsadm -C":                                                 "the command should fail",
		"inject a tcp a:1 > $VIP:80 S ttl=1\nexpect counter lvs drop_ttl 0": "drop_ttl is 1, not 0",
		"inject b arp request $VIP > $VIP eth.dst=broadcast\nexpect no log lvs another host": "has such a line",
	} {
		f, err := Parse("x.txt", []byte(net+lines+"\n"))
		require.NoError(t, err, lines)
		err = Run(f, NewSim(1), Options{World: "sim"})
		require.ErrorContains(t, err, want, lines)
		require.ErrorContains(t, err, "x.txt:")
	}
}

func TestSimRestores(t *testing.T) {
	for _, command := range []string{"ipvsadm-restore", "ipvsadm -R", "ipvsadm --restore", "usvs ipvsadm-restore"} {
		text := "switch lan\ndirector lvs lan 10.0.0.1/24\nlvs$ " + command + " < r\nlvs$ ipvsadm -Sn\n| -A -t 10.0.0.100:80 -s wlc\n-- r --\n-A -t 10.0.0.100:80\n"
		f, err := Parse("x.txt", []byte(text))
		require.NoError(t, err)
		require.NoError(t, Run(f, NewSim(1), Options{World: "sim"}), command)
	}
}
