package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// world is a World that says what it is told to.
type world struct {
	World
	out     Output
	replies []Reply
	frames  []Frame
	counter map[string]uint64
	log     string
	mac     wire.MAC
	now     time.Duration
	waited  time.Duration
	did     []string
	err     error
}

func (w *world) Build(*Topology) error { return w.err }
func (w *world) Exec(node, command string, stdin []byte) (Output, error) {
	w.did = append(w.did, fmt.Sprintf("%s$ %s%s", node, command, stdin))
	return w.out, w.err
}
func (w *world) Traffic(*Traffic) ([]Reply, error) { return w.replies, w.err }
func (w *world) Again(*Again) ([]Reply, error)     { return w.replies, w.err }
func (w *world) Hangup(name string) error          { w.did = append(w.did, "close "+name); return w.err }
func (w *world) Inject(i Interface, b []byte) error {
	w.did = append(w.did, "inject "+i.String())
	return w.err
}
func (w *world) Fault(f *Fault) error              { w.did = append(w.did, "fault "+f.Link.String()); return w.err }
func (w *world) Wait(d time.Duration) error        { w.waited += d; return w.err }
func (w *world) Now() time.Duration                { return w.now }
func (w *world) Frames(Interface) ([]Frame, error) { return w.frames, w.err }
func (w *world) Log(string) (string, error)        { return w.log, w.err }
func (w *world) Counters(string) (map[string]uint64, error) {
	return w.counter, w.err
}
func (w *world) Neighbour(string, netip.Addr) (wire.MAC, bool, error) {
	return w.mac, !w.mac.IsZero(), w.err
}

// play runs lines in the lab and returns the message of the failure, if any.
func play(t *testing.T, w *world, lines string) string {
	t.Helper()
	f, err := Parse("x.txt", []byte(lab+lines))
	require.NoError(t, err)
	err = Run(f, w, Options{World: "sim"})
	if err == nil {
		return ""
	}
	var at *Error
	require.ErrorAs(t, err, &at, "not a failed expectation: %v", err)
	require.Equal(t, labLines+strings.Count(strings.TrimRight(lines, "\n"), "\n")+1, at.Line)
	return at.Msg
}

// answers makes replies of names; "!timeout" is a failure.
func answers(names string) []Reply {
	var list []Reply
	for _, name := range strings.Fields(names) {
		if fail, ok := strings.CutPrefix(name, "!"); ok {
			list = append(list, Reply{Fail: Failure(fail)})
			continue
		}
		list = append(list, Reply{Server: name})
	}
	return list
}

func TestJudgeTraffic(t *testing.T) {
	for _, c := range []struct{ got, expect, want string }{
		{"rs1 rs2 rs1", "answered 3", ""},
		{"rs1 rs2 !timeout", "answered 3", "2 requests were answered, not 3: failed: timeout 1, rs1 1, rs2 1"},
		{"rs1 rs2 rs1", "answered rs1 2 rs2 1", ""},
		{"rs1 rs2 rs1", "answered rs1 1..2 rs2 1..", ""},
		{"rs1 rs2 rs1", "answered rs1 3", "rs1 answered 2 requests, not 3: rs1 2, rs2 1"},
		{"rs1 rs2 rs1", "answered rs1 2", "others answered too: rs1 2, rs2 1"},
		{"rs1 rs2 rs1", "answered rs1 3..5 rs2 1", "rs1 answered 2 requests, not 3 to 5: rs1 2, rs2 1"},
		{"rs1 rs2 rs1", "order rs1 rs2 ...", ""},
		{"rs1 rs2 rs1", "order rs1 rs2 rs1", ""},
		{"rs1 rs2 rs1", "order rs1 rs2", "3 requests were made, not 2: rs1 rs2 rs1"},
		{"rs1 rs2", "order rs1 rs2 rs1 ...", "2 requests were made, not 3: rs1 rs2"},
		{"rs1 !reset", "order rs1 rs2", "request 2 was answered by nobody (reset), not by rs2: rs1 nobody (reset)"},
		{"rs1 rs1", "one server", ""},
		{"rs1 rs2", "one server", "not all requests were answered by one server: rs1 1, rs2 1"},
		{"rs1 !timeout", "one server", "not all requests were answered by one server: failed: timeout 1, rs1 1"},
		{"rs1 !timeout !reset", "failed 2", ""},
		{"rs1 !timeout !reset", "failed 1 reset", ""},
		{"rs1 !timeout !reset", "failed 0 refused", ""},
		{"rs1 !timeout !reset", "failed 2 reset", "1 requests failed (reset), not 2: failed: reset 1, failed: timeout 1, rs1 1"},
	} {
		w := &world{replies: answers(c.got)}
		lines := fmt.Sprintf("http client -> $VIP:80 x%d\nexpect %s\n", len(w.replies), c.expect)
		require.Equal(t, c.want, play(t, w, lines), "%s | %s", c.got, c.expect)
	}
}

func TestJudgeSameServer(t *testing.T) {
	again := "http client -> $VIP:80 x2 hold as a\nagain a\nexpect "
	w := &world{replies: answers("rs1 rs1")}
	require.Empty(t, play(t, w, again+"same server as a\n"))
	require.Equal(t, "rs1 answered again", play(t, w, again+"other server as a\n"))
}

func TestJudgeCommands(t *testing.T) {
	w := &world{out: Output{Stdout: "TCP  10.0.0.1:80 rr\n  -> 10.0.0.2:80   Route 1 0 15\n", Stderr: "note\n"}}
	run := "lvs$ ipvsadm -Ln\n"
	require.Empty(t, play(t, w, run+"| TCP 10.0.0.1:80 rr\n| -> *:80 Route *\n| note\n"))
	require.Empty(t, play(t, w, run+"[ipvs] | not here\n|! UDP *\n"))
	require.Contains(t, play(t, w, run+"| -> 10.0.0.2:80 Route 1 0 16\n"), "the output has no line `-> 10.0.0.2:80 Route 1 0 16`:\n\t| TCP")
	require.Contains(t, play(t, w, run+"| note\n| TCP *\n"), "after the lines above it")
	require.Contains(t, play(t, w, run+"|! -> *\n"), "the output has a line `-> *`")
	require.Contains(t, play(t, w, "! lvs$ ipvsadm -Ln\n"), "should fail")
	w.out.Exit = 2
	require.Contains(t, play(t, w, run), "exit status 2:\n\t| TCP")
	require.Empty(t, play(t, w, "! lvs$ ipvsadm -Ln\n"))
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, word string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"*b", "ab", true}, {"a*c", "abc", true},
		{"a*b*c", "a1b2c", true}, {"a*b*c", "a1c", false}, {"10.0.0.2:*", "10.0.0.2:80", true}, {"ab*b", "ab", false},
		{"*", "", true}, {"[::1]:*", "[::1]:80", true},
	} {
		require.Equal(t, c.want, glob(c.pattern, c.word), "%s %s", c.pattern, c.word)
	}
}

func TestJudgeFrames(t *testing.T) {
	frame := func(at time.Duration, dir Direction, packet string) Frame {
		return Frame{At: at, Dir: dir, Data: made(t, packet)}
	}
	w := &world{now: 2 * time.Second, frames: []Frame{
		frame(time.Second, In, "tcp client:1 > $VIP:80 S"),
		frame(3*time.Second, In, "tcp client:2 > $VIP:80 S ttl=2"),
		frame(3*time.Second, Out, "tcp $VIP:80 > client:2 SA"),
		{At: 4 * time.Second, Dir: In, Data: []byte{1, 2, 3}},
	}}
	lines := "moment m\nexpect %s\n"
	for expect, want := range map[string]string{
		"frame at rs1": "",
		"frame at rs1 in tcp client > $VIP:80 S ttl=2": "",
		"2 frames at rs1 in tcp client > $VIP:80 S":    "",
		"1 frames at rs1 in tcp S after m":             "",
		"1 frames at rs1 in tcp S after 2s":            "",
		"no frame at rs1 tcp S after 3500ms":           "",
		"no frame at rs1 out tcp S":                    "",
		"frame at rs1 in udp":                          "no frame fits, among 4 at rs1:eth0",
		"no frame at rs1 out":                          "1 frames fit, not 0:\n\t| 3s out: tcp 10.0.0.100:80 > 10.0.0.9:2 SA ttl=64 len=40 eth.src=client eth.dst=lvs:eth0",
		"frame at rs1 in tcp *:2 > * ttl=3":            "no frame fits; nearest:\n\t| 3s in: tcp 10.0.0.9:2 > 10.0.0.100:80 S ttl=2 len=40 eth.src=client eth.dst=lvs:eth0\n\t|     ttl is 2, not 3",
		"3.. frames at rs1 in tcp *:2 > *":             "1 frames fit, not 3 or more:\n\t| 3s in: tcp 10.0.0.9:2 > 10.0.0.100:80 S ttl=2 len=40 eth.src=client eth.dst=lvs:eth0",
	} {
		require.Equal(t, want, play(t, w, fmt.Sprintf(lines, expect)), expect)
	}
}

func TestJudgeState(t *testing.T) {
	w := &world{counter: map[string]uint64{"drop_no_server": 3, "zero": 0}, log: "INFO all is well\nWARN another host\n", mac: MAC(1, 0)}
	for expect, want := range map[string]string{
		"counter lvs drop_no_server 3":   "",
		"counter lvs zero 0":             "",
		"counter lvs drop_no_server 4..": "drop_no_server is 3, not 4 or more:\n\t| drop_no_server 3",
		"log lvs another WARN":           "",
		"no log lvs panic":               "",
		"log lvs panic":                  "the log of lvs has no such line:\n\t| INFO all is well\n\t| WARN another host",
		"no log lvs well":                "the log of lvs has such a line:\n\t| INFO all is well\n\t| WARN another host",
		"neighbour client $VIP lvs":      "",
		"neighbour client $VIP rs1":      "client believes that 10.0.0.100 is at lvs:eth0, not at rs1",
		"neighbour client $VIP nobody":   "client believes that 10.0.0.100 is at lvs:eth0, not at nobody",
	} {
		require.Equal(t, want, play(t, w, "expect "+expect+"\n"), expect)
	}
}

func TestRunDoesAllAndOnlyForItsWorld(t *testing.T) {
	w := &world{replies: answers("rs1")}
	require.Empty(t, play(t, w, `http client -> $VIP:80 hold as a
close a
inject client tcp client:1 > $VIP:80 S
link rs1 down
[ipvs] lvs$ kernel only
[sim] lvs$ sim only
wait 3s
`))
	require.Equal(t, []string{"close a", "inject client:eth0", "fault rs1:eth0", "lvs$ sim only"}, w.did)
	require.Equal(t, 3*time.Second, w.waited)
}

// TestRunTellsAWorldsOwnFailure from an expectation that is not met.
func TestRunTellsAWorldsOwnFailure(t *testing.T) {
	f, err := Parse("x.txt", []byte(lab+"lvs$ ls\n"))
	require.NoError(t, err)
	err = Run(f, &world{err: ErrUnsupported}, Options{World: "ipvs"})
	require.ErrorIs(t, err, ErrUnsupported)
	var at *Error
	require.False(t, errors.As(err, &at))
}
