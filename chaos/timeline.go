package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// around is how much of a story is told before and after an outage.
const around = 5 * time.Second

// maxLines bounds a timeline.
const maxLines = 120

// episode tells what happened around an outage: faults, what the machines
// logged, and what clients saw.
func (r *runner) episode(h *History, o Outage) *Episode {
	from, to := o.From-around, o.To+around
	for _, f := range h.Schedule {
		from = min(from, f.At)
	}
	e := &Episode{Seed: h.Seed, Schedule: h.Schedule, Outage: o, history: h}
	for _, line := range slices.Concat(faultLines(h), logLines(h), r.clientLines(h)) {
		if line.At >= from && line.At <= to {
			e.Timeline = append(e.Timeline, line)
		}
	}
	slices.SortStableFunc(e.Timeline, func(a, b Line) int { return int(a.At - b.At) })
	if n := len(e.Timeline); n > maxLines {
		e.Timeline = append(e.Timeline[:maxLines:maxLines], Line{e.Timeline[maxLines].At, "", fmt.Sprintf("(%d more lines)", n-maxLines)})
	}
	return e
}

// faultLines tell when faults begin and end.
func faultLines(h *History) []Line {
	var list []Line
	for _, f := range h.Schedule {
		text := fmt.Sprintf(f.Kind.info().text, f.target())
		list = append(list, Line{f.At, "FAULT", text}, Line{f.End(), "FAULT", "over: " + text})
	}
	return list
}

// repeated is how soon something that is said again is said in vain.
const repeated = 3 * time.Second

// logLines are the logs without what repeats: single announcements, what is said
// at every advert, and what the faults themselves say of links.
func logLines(h *History) []Line {
	var list []Line
	last := map[Line]time.Duration{} // when something was said last
	for _, line := range h.Log {
		said := Line{Who: line.Who, Text: line.Text}
		before, repeats := last[said]
		last[said] = line.At
		if line.announces() || strings.HasPrefix(line.Who, "link ") || repeats && line.At-before < repeated {
			continue
		}
		list = append(list, line)
	}
	return list
}

// announces reports whether a line tells of a single announcement.
func (l Line) announces() bool {
	return strings.Contains(l.Text, "Sending gratuitous ARP on") || strings.Contains(l.Text, "unsolicited Neighbour Advert on")
}

// clientLines tell when requests began to fail and to succeed. Outages that
// follow each other closely are one, in which some requests succeeded.
func (r *runner) clientLines(h *History) []Line {
	var list []Line
	outages := h.Outages()
	for len(outages) > 0 {
		first, last, failed, n := outages[0], outages[0], 0, 0
		for n < len(outages) && outages[n].Service == first.Service && outages[n].From <= last.To+seldom {
			last = outages[n]
			failed += last.Failed
			n++
		}
		outages = outages[n:]
		s, what := r.lab.Services[first.Service], "does not answer any more"
		if n > 1 {
			what = "answers some requests only"
		}
		list = append(list, Line{first.From, "client", fmt.Sprintf("%v %s", s, what)},
			Line{last.To, "client", fmt.Sprintf("%v answers again, after %v; %s failed", s, (last.To - first.From).Round(10*time.Millisecond), plural(failed, "request"))})
	}
	return list
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
