package netsim

import (
	"fmt"
	"io"
	"strings"

	"usvs/clock"
)

// maxLog is how many entries a Net keeps; later ones are counted.
const maxLog = 1 << 16

// Entry is a line of the log: something that happened at a node or link and
// that somebody looking for an error wants to know.
type Entry struct {
	At   clock.Instant
	Who  string // a node, or "link NAME"
	Text string
}

// String is the entry as a line of text.
func (e Entry) String() string {
	return stamp(e.At) + " " + e.Who + ": " + e.Text
}

// stamp writes a time as seconds since the start.
func stamp(t clock.Instant) string {
	d := Since(t)
	return fmt.Sprintf("%4d.%09d", d/1e9, d%1e9)
}

// journal is the log.
type journal struct {
	entries []Entry
	more    int
	see     []func(Entry)
}

// Log lists what happened so far.
func (n *Net) Log() []Entry { return append([]Entry(nil), n.log.entries...) }

// LogText is the log as text, a line for each entry.
func (n *Net) LogText() string {
	var b strings.Builder
	_, _ = n.WriteLog(&b)
	return b.String()
}

// WriteLog writes the log as text.
func (n *Net) WriteLog(w io.Writer) (int, error) {
	total := 0
	for _, e := range n.log.entries {
		k, err := fmt.Fprintln(w, e)
		if total += k; err != nil {
			return total, err
		}
	}
	if n.log.more == 0 {
		return total, nil
	}
	k, err := fmt.Fprintf(w, "(%d more)\n", n.log.more)
	return total + k, err
}

// OnLog makes f hear every entry from now on.
func (n *Net) OnLog(f func(Entry)) { n.log.see = append(n.log.see, f) }

func (n *Net) logf(who, format string, args ...any) {
	if len(n.log.entries) >= maxLog && len(n.log.see) == 0 {
		n.log.more++
		return
	}
	e := Entry{n.now, who, fmt.Sprintf(format, args...)}
	for _, f := range n.log.see {
		f(e)
	}
	if len(n.log.entries) < maxLog {
		n.log.entries = append(n.log.entries, e)
		return
	}
	n.log.more++
}
