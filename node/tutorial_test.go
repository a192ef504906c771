package node

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTutorialLog: a pair by the tutorial logs what two keepalived 2.2.7 logged in
// the same events, with their IPVS answered by usvs exec. The recording is
// without the lines about processes and the host's netlink; those of different
// processes or of different servers came in any order.
func TestTutorialLog(t *testing.T) {
	l, a, b := tutorialPair(t)
	a.boot()
	b.boot()
	phase := func(name string) {
		a.log, b.log = append(a.log, "### "+name), append(b.log, "### "+name)
	}
	l.run(15 * time.Second)
	phase("server dies")
	l.serve(false, "192.168.1.11:80")
	l.run(30 * time.Second)
	phase("server returns")
	l.serve(true, "192.168.1.11:80")
	l.run(12 * time.Second)
	phase("master dies")
	a.crash()
	l.run(8 * time.Second)
	phase("master returns")
	a.boot()
	l.run(10 * time.Second)
	phase("stop")
	a.node.Stop(l.now)
	l.run(3 * time.Second)
	b.node.Stop(l.now)
	for _, m := range []struct {
		file string
		of   *machine
	}{{"testdata/tutorial_a.recorded", a}, {"testdata/tutorial_b.recorded", b}} {
		recorded, err := os.ReadFile(m.file)
		require.NoError(t, err)
		want := streams(strings.Split(strings.TrimSpace(string(recorded)), "\n"))
		got := streams(m.of.log)
		require.Equal(t, len(want), len(got), m.file)
		for name := range want {
			require.Equal(t, want[name], got[name], "%s: %s", m.file, name)
		}
	}
}

// streams parts lines by who logs them: the instances, each server's checks, and
// the rest.
func streams(lines []string) map[string][]string {
	of := map[string][]string{}
	for _, line := range lines {
		names := []string{"other"}
		switch {
		case strings.HasPrefix(line, "###"):
			names = []string{"vrrp", "server 11", "server 12", "other"}
		case strings.HasPrefix(line, "(VI_1)"), strings.HasPrefix(line, "Sending gratuitous"):
			names = []string{"vrrp"}
		case strings.Contains(line, "192.168.1.11"):
			names = []string{"server 11"}
		case strings.Contains(line, "192.168.1.12"):
			names = []string{"server 12"}
		}
		for _, n := range names {
			of[n] = append(of[n], line)
		}
	}
	return of
}
