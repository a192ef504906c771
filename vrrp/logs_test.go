package vrrp

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The files of testdata/logs are what two keepalived 2.2.7 logged of their
// instances, without announcements and with equal lines once, while the same
// was done to them: the Routers have to say the same.

// act is something done to a LAN at a time.
type act struct {
	at time.Duration
	do func(l *lan)
}

func TestLogsAreKeepaliveds(t *testing.T) {
	status := map[string]int{}
	run := func(name string, n int) func(*lan) { return func(*lan) { status[name] = n } }
	face := func(name string, up bool) func(*lan) {
		return func(l *lan) {
			f := faceOf(1)
			f.Name, f.Up = name, up
			l.nodes[0].SetInterface(l.now, f)
			l.nodes[0].next = 0
		}
	}
	lost := func(l *lan) {
		l.nodes[0].AddressLost(l.now, "eth0", prefixes("10.9.0.102")[0].Prefix.Addr())
		l.nodes[0].next = 0
	}
	apart := func(yes bool) func(*lan) {
		return func(l *lan) {
			l.lose = func(_, _ *node) (bool, time.Duration) { return yes, time.Millisecond }
		}
	}
	withScripts := one(basic(150))
	withScripts.Instances[0].Tracks.Scripts = []Track{{Name: "chk"}, {Name: "chkw"}}
	withScripts.Scripts = []Script{{Name: "chk", Rise: 2, Fall: 2}, {Name: "chkw", Weight: -60}}
	delayed := one(basic(150))
	delayed.Instances[0].PreemptDelay = 2500 * time.Millisecond
	quick, slow := one(basic(150)), one(basic(100))
	quick.Instances[0].Version, quick.Instances[0].AdvertInterval = 3, 500*time.Millisecond
	slow.Instances[0].Version, slow.Instances[0].AdvertInterval = 3, 2*time.Second

	s := time.Second
	for _, c := range []struct {
		name string
		a, b Config
		acts []act
		end  time.Duration
	}{
		{"scripts", withScripts, one(basic(100)), []act{
			{5500 * time.Millisecond, run("chkw", 1)}, {10500 * time.Millisecond, run("chkw", 0)},
			{16500 * time.Millisecond, run("chk", 1)}, {21500 * time.Millisecond, run("chk", 0)},
			{27 * s, apart(true)}, {27 * s, face("eth0", false)}, {32 * s, apart(false)}, {32 * s, face("eth0", true)},
		}, 40 * s},
		{"partition", delayed, one(basic(100)), []act{{6 * s, apart(true)}, {12 * s, apart(false)}}, 24 * s},
		{"group", pairConfig(150), pairConfig(100), []act{
			{6 * s, face("eth1", false)}, {12 * s, face("eth1", true)}, {17 * s, lost},
		}, 25 * s},
		{"interval", quick, slow, nil, 8 * s},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLAN(t)
			for n, cfg := range []Config{c.a, c.b} {
				node := &node{recorder: newRecorder(), name: string(rune('a' + n))}
				l.nodes = append(l.nodes, node)
				node.Router = New(&cfg, node.recorder)
				node.recorder.send = func(_ string, packet []byte) { l.carry(node, packet) }
				node.SetInterface(l.now, Interface{Name: "eth1", Up: true})
				node.SetInterface(l.now, faceOf(n+1))
				node.Start(l.now)
			}
			start := l.now
			for _, a := range append(c.acts, act{c.end, func(l *lan) { l.nodes[0].Stop(l.now) }}, act{c.end + s, func(l *lan) { l.nodes[1].Stop(l.now) }}) {
				for end := start.Add(a.at); l.step(end); {
					l.answerScripts(status)
				}
				a.do(l)
			}
			for _, n := range l.nodes {
				text, err := os.ReadFile("testdata/logs/" + c.name + "." + n.name + ".txt")
				require.NoError(t, err)
				want := strings.Split(strings.TrimSpace(string(text)), "\n")
				if c.name == "group" { // which member hears the better master first is chance
					first := func(line string) bool { return strings.Contains(line, "Master received advert") }
					want, n.log = slices.DeleteFunc(want, first), slices.DeleteFunc(n.log, first)
				}
				for _, of := range []string{"(VI_1)", "(VI_2)", "VRRP_", "Script", "Netlink"} {
					require.Equal(t, linesOf(want, of), linesOf(told(n.log), of), n.name)
				}
			}
		})
	}
}

// linesOf is what a log says of one instance or group: which of two at the same
// time comes first is chance.
func linesOf(log []string, of string) (out []string) {
	for _, line := range log {
		if strings.HasPrefix(line, of) {
			out = append(out, line)
		}
	}
	return slices.Compact(out)
}

// answerScripts has every script that was begun end with its status.
func (l *lan) answerScripts(status map[string]int) {
	for _, n := range l.nodes {
		for _, name := range n.runs {
			n.SetScript(l.now, name, ScriptResult{Status: status[name]})
			n.next = 0
		}
		n.runs = nil
	}
}

// told is a log without announcements, and with equal lines once. The names are
// those of the recording.
func told(log []string) (out []string) {
	for _, line := range log {
		line = strings.NewReplacer("eth1", "dum0", "10.9.0.102", "10.9.0.101").Replace(line)
		if !strings.Contains(line, "ratuitous") && !strings.Contains(line, "Neighbour") {
			out = append(out, line)
		}
	}
	return slices.Compact(out)
}
