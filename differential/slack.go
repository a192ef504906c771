package differential

import (
	"fmt"
	"slices"
	"strings"

	"usvs/oracle"
)

// The kernel's timers are late by up to an eighth of their time. A connection's
// does not matter: time passes until it is gone. But a template that controls
// connections starts another minute whenever it fires, so it stays late; and
// whether it finds its last connection gone may depend on which was late more.
const slackSecs = 9

// isTemplate reports whether a row of -Lnc is a persistence template's.
func isTemplate(row []string) bool {
	return len(row) > 3 && strings.HasSuffix(row[3], ":0") && (row[2] == "NONE" || row[2] == "ASSURED")
}

// slack looks at a difference in a listing of connections. If it is only that
// the kernel's template is late, the recording is changed to say what usvs says,
// and is to be compared again. If a template may be gone or not for the same
// reason, nothing can be said about the scenario.
func slack(trace string, d *oracle.Difference) (adjusted string, unclear bool) {
	parts := strings.Split(d.What, "\n")
	if strings.HasPrefix(parts[0], "entries too many") {
		return "", slices.ContainsFunc(parts[1:], func(row string) bool { return isTemplate(strings.Fields(row)) })
	}
	if parts[0] != "no entry like" || len(parts) < 3 {
		return "", false
	}
	recorded := strings.Fields(parts[1])
	if !isTemplate(recorded) {
		return "", false
	}
	for _, row := range parts[3:] {
		here := strings.Fields(row)
		late := expires(recorded) - expires(here)
		if sameButTime(recorded, here) && late > 0 && late <= slackSecs {
			return replaceAfter(trace, d.Line, "|"+parts[1], "|"+row), false
		}
	}
	return "", true
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
