package differential

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"usvs/oracle"
)

// The kernel's timers are late by up to an eighth of their time. A connection's
// does not matter: time passes until it is gone. But a template that controls
// connections starts another minute whenever it fires, so it stays late, and
// becomes later every minute; and whether it finds its last connection gone may
// depend on which was late more.
const (
	slackSecs       = 9
	slackPerMinute  = 6
	secondsInMinute = 60
)

// lateness is by how many seconds a template may be late at a line.
func lateness(trace string, line int) int {
	waited := 0.0
	for i, text := range strings.Split(trace, "\n") {
		if wait, ok := strings.CutPrefix(text, "@ "); ok && i < line {
			secs, _ := strconv.ParseFloat(wait, 64)
			waited += secs
		}
	}
	return slackSecs + slackPerMinute*int(waited/secondsInMinute)
}

// isTemplate reports whether a row of -Lnc is a persistence template's.
func isTemplate(row []string) bool {
	return len(row) > 3 && strings.HasSuffix(row[3], ":0") && (row[2] == "NONE" || row[2] == "ASSURED")
}

// slack looks at a difference in a listing of connections. If it is only that
// the kernel's templates are late, or a second began in between, the recording is
// changed to say what usvs says, and is to be compared again. If templates may be
// gone or not because timers are late, nothing can be said about the scenario.
func slack(trace string, d *oracle.Difference) (adjusted string, unclear bool) {
	recorded, here := rows(d.What, "  - "), rows(d.What, "  + ")
	adjusted, late := trace, lateness(trace, d.Line)
	for i := 0; i < len(recorded); i++ {
		j := slices.IndexFunc(here, func(other string) bool { return lateTwin(recorded[i], other, late) })
		if j < 0 {
			continue
		}
		adjusted = replaceAfter(adjusted, d.Line, "|"+recorded[i], "|"+here[j])
		recorded, here = slices.Delete(recorded, i, i+1), slices.Delete(here, j, j+1)
		i--
	}
	recorded = slices.DeleteFunc(recorded, func(row string) bool {
		gone := expires(strings.Fields(row)) == 0 // ended by a packet: its timer has yet to find out
		if gone {
			adjusted = replaceAfter(adjusted, d.Line, "|"+row, "# "+row)
		}
		return gone
	})
	left := slices.Concat(recorded, here)
	if len(left) == 0 {
		return adjusted, false
	}
	for _, row := range left {
		if !isTemplate(strings.Fields(row)) {
			return "", false
		}
	}
	return "", true
}

// rows are a difference's lines that begin with a mark.
func rows(what, mark string) (found []string) {
	for line := range strings.Lines(what) {
		if row, ok := strings.CutPrefix(line, mark); ok {
			found = append(found, strings.TrimSuffix(row, "\n"))
		}
	}
	return found
}

// lateTwin reports whether a recorded row is one that is here, only late: a
// template by at most so many seconds, or any if only one lies between.
func lateTwin(recorded, here string, most int) bool {
	a, b := strings.Fields(recorded), strings.Fields(here)
	late := expires(a) - expires(b)
	return sameButTime(a, b) && (late == -1 || late == 1 || late > 0 && late <= most && isTemplate(a))
}

func sameButTime(a, b []string) bool {
	return len(a) == len(b) && len(a) > 2 && a[0] == b[0] && slices.Equal(a[2:], b[2:])
}

// expires is the time left of a row, in seconds.
func expires(row []string) int {
	var minutes, secs int
	if len(row) > 1 {
		_, _ = fmt.Sscanf(row[1], "%d:%d", &minutes, &secs)
	}
	return minutes*60 + secs
}

// replaceAfter replaces the first line that equals old after line n.
func replaceAfter(trace string, n int, old, new string) string {
	lines := strings.Split(trace, "\n")
	for i := min(n, len(lines)); i < len(lines); i++ {
		if lines[i] == old {
			lines[i] = new
			break
		}
	}
	return strings.Join(lines, "\n")
}
