package marks

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// services is a Names of the few services the recordings mention.
type services struct{ NoNames }

var wellKnown = map[string]uint16{"ssh": 22, "http": 80, "https": 443, "domain": 53, "echo": 7, "discard": 9}

func (services) Port(name, proto string) (uint16, bool) {
	p, ok := wellKnown[name]
	return p, ok && proto != "sctp"
}

func (services) Service(port uint16, proto string) string {
	for name, p := range wellKnown {
		if p == port && proto != "sctp" {
			return name
		}
	}
	return ""
}

// step is a command of a recording, what it printed and its status.
type step struct {
	command string
	output  string
	status  int
}

func readGolden(t testing.TB, file string) (list []step) {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		line := in.Text()
		if c, ok := strings.CutPrefix(line, "$ "); ok {
			list = append(list, step{command: c})
			continue
		}
		last := &list[len(list)-1]
		if s, ok := strings.CutPrefix(line, "= "); ok {
			last.status, err = strconv.Atoi(s)
			require.NoError(t, err)
			continue
		}
		last.output += line + "\n"
	}
	require.NoError(t, in.Err())
	require.NotEmpty(t, list)
	return list
}

// run carries a command out as the program would.
func run(rs *Ruleset, words []string) (next *Ruleset, output string, status int) {
	c, err := Parser{Family: rs.Family(), Names: services{}}.Parse(words)
	if err == nil {
		rs, output, err = rs.Apply(c)
	}
	if err != nil {
		e := err.(*Error)
		return rs, e.Message(rs.Family().Program()), e.Code
	}
	return rs, output, 0
}

// TestAsIPTables replays recordings of iptables 1.8.9. Where we say more than
// it, because there is less to choose from here, the rest must be the same.
func TestAsIPTables(t *testing.T) {
	for file, family := range map[string]Family{
		"commands4": IPv4, "commands6": IPv6, "errors": IPv4,
	} {
		t.Run(file, func(t *testing.T) {
			rs := New(family)
			for _, s := range readGolden(t, "testdata/"+file+".golden") {
				next, output, status := run(rs, strings.Fields(s.command))
				if head, tail, ok := strings.Cut(output, "; supported are"); ok {
					_, hint, _ := strings.Cut(tail, "\n")
					output = head + "\n" + hint
				}
				// Some messages of iptables end in an empty line.
				want := strings.ReplaceAll(s.output, "\n\nTry", "\nTry")
				require.Equal(t, want, output, "%s", s.command)
				require.Equal(t, s.status, status, "%s", s.command)
				rs = next
			}
		})
	}
}
