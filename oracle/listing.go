package oracle

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lateSeconds is by how much the recorded remaining time of a connection may
// be below the replay's: recording took real time.
const lateSeconds = 4

// listing compares output. Its rows of connections come in the order of a hash,
// and so do services where nobody sorted them; rates are moving averages that
// started at another moment.
type listing struct {
	nosort, rate bool
	slowSecs     int // by how much remaining times may be below the recorded
}

// Compare says how the output and exit status that a recorded command had
// elsewhere differ from the recording, as far as either repeats; "" if they do
// not. Elsewhere may have been up to slow behind the recording's pauses.
func (s *Step) Compare(out, errs string, status int, slow time.Duration) string {
	l := listing{
		nosort: strings.Contains(s.Text, "--nosort"), rate: strings.Contains(s.Text, "--rate"),
		slowSecs: int(slow / time.Second),
	}
	what := l.compare("standard output", s.Out, out) + l.compare("standard error", s.Err, errs)
	if status != s.Exit {
		what = fmt.Sprintf("exit status: recorded %d, here %d\n", s.Exit, status) + what
	}
	return what
}

// Rows whose order or numbers do not repeat.
var (
	connRow     = regexp.MustCompile(`^((?:TCP|UDP|SCTP|ICMP|ICMPv6|IP|IP_\d+) +)(\d{2,}):(\d\d)( +\S+ .*)$`)
	procConnRow = regexp.MustCompile(`^((?:TCP|UDP|SCTP|ICMP|ICMPv6|IP|IP_\d+) +[0-9A-Fa-f:]+ [0-9A-F]{4} [0-9A-Fa-f:]+ [0-9A-F]{4} [0-9A-Fa-f:]+ [0-9A-F]{4} \S+ *(?:LOCAL |SYNC  )?) +(\d+)( .*)?$`)
	serviceRow  = regexp.MustCompile(`^(?:TCP|UDP|SCTP|FWM) `)
	serverRow   = regexp.MustCompile(`^  -> \S`)
	saveRow     = regexp.MustCompile(`^-[Aa] `)
	rateHead    = regexp.MustCompile(`^(?:Prot .* CPS |.*Conns/s )`)
	rateRow     = regexp.MustCompile(`^(.*?)((?: +[0-9A-F]+[KMGT]?){5})$`)
)

// unsorted is the header of /proc/net/ip_vs, whose services are never sorted.
const unsorted = "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn"

func (l listing) compare(what, recorded, here string) string {
	want, have := l.canonical(recorded), l.canonical(here)
	want, have = l.alignConns(want, have)
	if slices.Equal(want, have) {
		return ""
	}
	return fmt.Sprintf("%s differs (- recorded, + here)\n", what) + diffLines(want, have)
}

// canonical makes lines of a text that are equal if they mean the same, as far
// as one side alone tells.
func (l listing) canonical(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	} else {
		lines[len(lines)-1] += `\` // no newline at its end
	}
	lines = l.maskRates(lines)
	if l.nosort || slices.Contains(lines, unsorted) {
		lines = sortBlocks(lines)
	}
	return lines
}

// maskRates hides the numbers of a listing of rates; not whether there are any,
// nor how they are set.
func (l listing) maskRates(lines []string) []string {
	rates := l.rate
	for i, line := range lines {
		switch {
		case rateHead.MatchString(line):
			rates = true
		case strings.HasPrefix(line, "Prot ") || strings.HasPrefix(line, "   Total"):
			rates = false
		case rates:
			if m := rateRow.FindStringSubmatch(line); m != nil {
				lines[i] = m[1] + l.maskNumbers(m[2])
			}
		}
	}
	return lines
}

// maskNumbers keeps the columns: each number becomes a # where it ends. Rates in
// real time may need more digits, and more room, than the recorded.
func (l listing) maskNumbers(s string) string {
	if l.slowSecs > 0 {
		return strings.Repeat(" #", len(strings.Fields(s)))
	}
	var b strings.Builder
	for i := range len(s) {
		switch {
		case s[i] == ' ' && (i+1 == len(s) || s[i+1] == ' '):
			b.WriteByte(' ')
		case i+1 == len(s) || s[i+1] == ' ':
			b.WriteByte('#')
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// sortBlocks sorts services, each with its servers in their own order.
func sortBlocks(lines []string) []string {
	var out []string
	var blocks []string
	flush := func() {
		slices.Sort(blocks)
		for _, b := range blocks {
			out = append(out, strings.Split(b, "\n")...)
		}
		blocks = nil
	}
	for _, line := range lines {
		switch {
		case serviceRow.MatchString(line) && !connRow.MatchString(line) && !procConnRow.MatchString(line), saveRow.MatchString(line):
			blocks = append(blocks, line)
		case serverRow.MatchString(line) && len(blocks) > 0:
			blocks[len(blocks)-1] += "\n" + line
		default:
			flush()
			out = append(out, line)
		}
	}
	flush()
	return out
}

// conn is a row of a connection listing: what it says, and the seconds left.
type conn struct {
	text string
	secs int
}

func parseConn(line string) (conn, bool) {
	if m := connRow.FindStringSubmatch(line); m != nil {
		minutes, err1 := strconv.Atoi(m[2])
		secs, err2 := strconv.Atoi(m[3])
		return conn{m[1] + "*" + m[4], minutes*60 + secs}, err1 == nil && err2 == nil
	}
	if m := procConnRow.FindStringSubmatch(line); m != nil {
		secs, err := strconv.Atoi(m[2])
		return conn{m[1] + "*" + m[3], secs}, err == nil
	}
	return conn{}, false
}

// alignConns puts each run of connection rows of have into the order of the
// rows of want that they are as good as, and gives those the text of want.
func (l listing) alignConns(want, have []string) (a, b []string) {
	out := slices.Clone(have)
	for i, j := 0, 0; i < len(want) && j < len(out); {
		n, m := connRun(want[i:]), connRun(out[j:])
		if n > 0 && m > 0 {
			l.match(want[i:i+n], out[j:j+m])
		}
		i, j = i+max(n, 1), j+max(m, 1)
	}
	return want, out
}

// connRun is how many connection rows lines starts with.
func connRun(lines []string) int {
	n := 0
	for n < len(lines) {
		if _, ok := parseConn(lines[n]); !ok {
			break
		}
		n++
	}
	return n
}

// match reorders have. Of equal rows those nearest in time go together: both
// sides are taken in the order of the time that is left.
func (l listing) match(want, have []string) {
	byTime := func(rows []string) []int {
		idx := make([]int, len(rows))
		for i := range idx {
			idx[i] = i
		}
		slices.SortStableFunc(idx, func(x, y int) int {
			cx, _ := parseConn(rows[x])
			cy, _ := parseConn(rows[y])
			return cx.secs - cy.secs
		})
		return idx
	}
	free := byTime(have)
	placed := make([]string, len(want))
	for _, i := range byTime(want) {
		w, _ := parseConn(want[i])
		for k, j := range free {
			if h, _ := parseConn(have[j]); h.text == w.text && w.secs-l.slowSecs <= h.secs && h.secs <= w.secs+lateSeconds {
				placed[i] = want[i]
				free = slices.Delete(free, k, k+1)
				break
			}
		}
	}
	// What is left of have goes where nothing was placed, then to the end.
	var rest []string
	slices.Sort(free)
	for _, j := range free {
		rest = append(rest, have[j])
	}
	var merged []string
	for _, line := range placed {
		switch {
		case line != "":
			merged = append(merged, line)
		case len(rest) > 0:
			merged = append(merged, rest[0])
			rest = rest[1:]
		}
	}
	copy(have, append(merged, rest...))
}
