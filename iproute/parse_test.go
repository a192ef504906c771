package iproute

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func parse(line string) Entry { return Parse(strings.Fields(line), false) }

// status is the exit status that keepalived -t has for the line.
func status(e *Entry) string {
	s := "0"
	for _, p := range e.Problems {
		switch p.Severity {
		case Missing:
			return "2"
		case Odd, Wrong:
			s = "5"
		}
	}
	return s
}

// otherwise are lines whose status depends on the host, or that are not read to
// their end.
var otherwise = map[string]bool{
	"10.50.0.0/16 via 10.9.0.1 dev nosuch": true, "10.50.0.0/16 dev v0 vrf red": true,
	"10.50.0.0/16 dev v0 pref high": true, "10.50.0.0/16 from 10.0.0.0/8 dev v0": true,
}

// TestRecorded holds the reader against what keepalived 2.2.7 says with -t.
func TestRecorded(t *testing.T) {
	text, err := os.ReadFile("testdata/keepalived.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		want, words, _ := strings.Cut(strings.TrimSpace(line), " ")
		if e := parse(words); !otherwise[words] {
			require.Equal(t, want, status(&e), "%s: %v", words, e.Problems)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"10.50.0.0/16 via 10.9.0.1 dev v0", "10.50.0.0/16 via 10.9.0.1 dev v0"},
		{"src 10.9.0.100 to 10.51.3.0/16 dev v0 via inet 10.9.0.1", "10.51.0.0/16 via 10.9.0.1 dev v0 src 10.9.0.100"},
		{"10.50.0.1", "10.50.0.1/32"},
		{"default via 2001:db8::1", "::/0 via 2001:db8::1"},
		{"any dev v0", "0.0.0.0/0 dev v0"},
		{"unicast 10.50.0.0/33 oif v0", "10.50.0.0/32 dev v0"},
		{"blackhole 10.50.0.0/16 dev v0 preference 7", "blackhole 10.50.0.0/16 metric 7"},
		{"throw 10.50.0.0/16 table 0x64 tos 0x10 scope link", "throw 10.50.0.0/16 table 100 scope 253 tos 16"},
		{"10.50.0.0/16 dev v0 protocol static", "10.50.0.0/16 dev v0"},
		{"10.50.0.0/16 dev v0 protocol static no_track onlink append", "10.50.0.0/16 dev v0 onlink protocol 4 append"},
		{"10.50.0.0/16 gw 10.9.0.1 or 10.9.0.2 dev v0", "10.50.0.0/16 nexthop via 10.9.0.1 dev v0 nexthop via 10.9.0.2 dev v0"},
		{"10.50.0.0/16 nexthop via 10.9.0.1 weight 2 nexthop via 10.9.0.2 dev v1 onlink no_track", "10.50.0.0/16 nexthop via 10.9.0.1 weight 2 nexthop via 10.9.0.2 dev v1 onlink"},
		{"10.50.0.0/16 dev v0 nexthop via 10.9.0.1 weight 9", "10.50.0.0/16 via 10.9.0.1 dev v0"},
		{"10.50.0.0/16 dev v0 mtu lock 1400 rto_min 2s initcwnd 4 initcwnd 5 congctl cubic features ecn", "10.50.0.0/16 dev v0 mtu lock 1400 rto_min 2000ms initcwnd 5 congctl cubic features ecn"},
	} {
		e := parse(tt.line)
		require.True(t, e.Usable, "%s: %v", tt.line, e.Problems)
		require.Equal(t, tt.want, e.String())
	}
}

func TestRefused(t *testing.T) {
	for line, want := range map[string]string{
		"via 10.9.0.1":                       "without a destination",
		"inet6 default dev v0":               "without a destination",
		"10.50.0.0/16 via 2001:db8::1":       "of the other family",
		"10.50.0.0/16 dev v0 weight 2":       "neither a word",
		"10.50.0.0/16 via":                   "via without its value",
		"10.50.0.0/16 dev v0 realms 1/2":     "realms: usvs cannot make",
		"10.50.0.0/16 dev v0 cwnd lock 3":    "cwnd lock: usvs cannot make",
		"10.50.0.0/16 nexthop encap mpls 30": "encap: usvs cannot make",
		"10.50.0.0/16 dev v0 table frob":     "valid is 1 to 4294967295",
		"10.50.0.0/16 dev v0 rto_min soon":   "valid is a time",
		"10.50.0.0/16 dev v0 features x":     "valid is ecn",
		"10.50.0.0/16 dev v0 track_group g":  "neither a word",
	} {
		e := parse(line)
		require.False(t, e.Usable, line)
		require.Contains(t, e.Problems[len(e.Problems)-1].Text, want)
	}
	e := Parse([]string{"10.5.0.0/16", "dev", "v0", "track_group", "g"}, true)
	require.True(t, e.Usable)
	require.Equal(t, "g", e.TrackGroup)
}

func TestInterfaces(t *testing.T) {
	e := parse("10.5.0.0/16 nexthop dev a nexthop dev b nexthop dev a")
	require.Equal(t, []string{"a", "b"}, e.Interfaces())
	e = parse("blackhole 10.5.0.0/16 dev a")
	require.Empty(t, e.Interfaces())
}

// FuzzParse: nothing panics, and what is usable is read again as it was.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/keepalived.txt")
	require.NoError(f, err)
	for line := range strings.Lines(string(text)) {
		f.Add(strings.TrimSpace(line[2:]), true)
	}
	f.Fuzz(func(t *testing.T, line string, static bool) {
		e := Parse(strings.Fields(line), static)
		if !e.Usable {
			require.NotEmpty(t, e.Problems)
			return
		}
		again := Parse(withNoTrack(e.String()), static)
		require.True(t, again.Usable, "%s: %v", e.String(), again.Problems)
		require.Equal(t, e.String(), again.String())
	})
}

// withNoTrack keeps a protocol that is the route's own.
func withNoTrack(line string) []string { return append([]string{"no_track"}, strings.Fields(line)...) }
