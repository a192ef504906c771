package sysctl

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// step is a recorded command.
type step struct {
	line     int
	args     []string
	out, err string
	status   int
	anew     bool
}

// recorded reads testdata/procps.txt: `$` commands, `|` lines of output, `!` of
// errors, `=` the exit status; a lone \ takes the newline before it away.
func recorded(t *testing.T) []step {
	text, err := os.ReadFile("testdata/procps.txt")
	require.NoError(t, err)
	var steps []step
	anew := true
	for n, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if line == "# anew" {
			anew = true
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		if cmd, ok := strings.CutPrefix(line, "$ sysctl "); ok {
			steps = append(steps, step{line: n + 1, args: words(cmd), anew: anew})
			anew = false
			continue
		}
		s := &steps[len(steps)-1]
		switch line[0] {
		case '|':
			s.out = joined(s.out, line[1:])
		case '!':
			s.err = joined(s.err, line[1:])
		case '=':
			_, err := fmt.Sscan(line[1:], &s.status)
			require.NoError(t, err)
		}
	}
	return steps
}

func joined(text, line string) string {
	if line == `\` {
		return strings.TrimSuffix(text, "\n")
	}
	return text + line + "\n"
}

// words splits at blanks outside quotes.
func words(s string) []string {
	var out []string
	var cur strings.Builder
	var quote rune
	for _, c := range s + " " {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == ' ':
			if cur.Len() > 0 {
				out = append(out, cur.String())
			}
			cur.Reset()
		default:
			cur.WriteRune(c)
		}
	}
	return out
}

func TestRecordedCommands(t *testing.T) {
	steps := recorded(t)
	require.Greater(t, len(steps), 80)
	var s ipvs.Sysctls
	for _, c := range steps {
		if c.anew {
			s = ipvs.DefaultSysctls()
		}
		var out, errs bytes.Buffer
		status := Run(c.args, &s, &out, &errs)
		at := fmt.Sprintf("procps.txt:%d: %q", c.line, c.args)
		require.Equal(t, c.out, out.String(), at)
		require.Equal(t, c.err, errs.String(), at)
		require.Equal(t, c.status, status, at)
	}
}

func TestOwnWords(t *testing.T) {
	for _, c := range []struct {
		args   string
		out    string
		err    string
		status int
	}{
		{"", "", "Usage:", 1},
		{"-h", "Usage:", "", 0},
		{"-V", "procps", "", 0},
		{"-y", "Usage:", "invalid option -- 'y'", 0},
		{"-wy a=1", "Usage:", "invalid option -- 'y'", 0},
		{"--nosuch", "Usage:", "unrecognized option '--nosuch'", 0},
		{"-r", "Usage:", "option requires an argument -- 'r'", 0},
		{"--pattern", "Usage:", "option '--pattern' requires an argument", 0},
		{"-p /etc/sysctl.conf", "", "rules file", 1},
		{"net.ipv4.vs", "net.ipv4.vs.lblc_expiration = 86400\n", "", 0},
		{"-rvs.amem -a", "net.ipv4.vs.amemthresh = 1024\n", "", 0},
		{"--pattern vs.amem -a", "net.ipv4.vs.amemthresh = 1024\n", "", 0},
		{"net.ipv4.ip_forward", "", "cannot stat /proc/sys/net/ipv4/ip_forward", 1},
		{"-e net.ipv4.ip_forward=1", "", "", 0},
	} {
		s := ipvs.DefaultSysctls()
		var out, errs bytes.Buffer
		require.Equal(t, c.status, Run(strings.Fields(c.args), &s, &out, &errs), c.args)
		for _, pair := range [][2]string{{c.out, out.String()}, {c.err, errs.String()}} {
			require.Contains(t, pair[1], pair[0], c.args)
			require.Equal(t, pair[0] == "", pair[1] == "", "%s: %q", c.args, pair[1])
		}
	}
}

// unreachable are the settings of a director that does not answer.
type unreachable struct{}

var errAway = errors.New("nobody answers")

func (unreachable) Sysctl(string) (string, error)  { return "", errAway }
func (unreachable) SetSysctl(string, string) error { return errAway }

// away can be read only.
type away struct{ ipvs.Sysctls }

func (*away) SetSysctl(string, string) error { return errAway }

func TestOtherErrorsAreTold(t *testing.T) {
	var out, errs bytes.Buffer
	require.Equal(t, 1, Run([]string{"net.ipv4.vs.drop_entry"}, unreachable{}, &out, &errs))
	require.Equal(t, "sysctl: nobody answers\n", errs.String())
	errs.Reset()
	require.Equal(t, 1, Run([]string{"net.ipv4.vs.drop_entry=1"}, &away{ipvs.DefaultSysctls()}, &out, &errs))
	require.Equal(t, "sysctl: setting key \"net.ipv4.vs.drop_entry\": nobody answers\n", errs.String())
	require.Empty(t, out.String())
}

func TestOurs(t *testing.T) {
	for word, want := range map[string]bool{
		"net.ipv4.vs.drop_entry": true, "net/ipv4/vs/drop_entry=1": true, "net.ipv4.vs": true, "-net.ipv4.vs.nosuch=1": true,
		"net.ipv4.ip_forward=1": false, "net.ipv4.vsx": false, "": false, "-w": false,
	} {
		require.Equal(t, want, Ours(word), word)
	}
}

func FuzzRun(f *testing.F) {
	f.Add("-w net.ipv4.vs.drop_entry=1")
	f.Add("-a -n --pattern vs.*")
	f.Add("net/ipv4/vs/sync_threshold=3\t50 -- -x=")
	f.Fuzz(func(t *testing.T, line string) {
		s := ipvs.DefaultSysctls()
		var out, errs bytes.Buffer
		status := Run(words(line), &s, &out, &errs)
		require.Contains(t, []int{0, 1}, status)
	})
}
