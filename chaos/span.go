package chaos

import (
	"slices"
	"time"
)

// span is a stretch of time.
type span struct{ from, to time.Duration }

func (s span) length() time.Duration { return s.to - s.from }

// spans are stretches in order that do not touch.
type spans []span

// joinedSpans puts stretches into order and joins those that touch.
func joinedSpans(list []span) spans {
	list = slices.DeleteFunc(slices.Clone(list), func(s span) bool { return s.to <= s.from })
	slices.SortFunc(list, func(a, b span) int { return int(a.from - b.from) })
	var out spans
	for _, s := range list {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// and is what is in both.
func (a spans) and(b spans) spans {
	var out spans
	for _, x := range a {
		for _, y := range b {
			if s := (span{max(x.from, y.from), min(x.to, y.to)}); s.to > s.from {
				out = append(out, s)
			}
		}
	}
	return joinedSpans(out)
}

// without is what is in a and not in b.
func (a spans) without(b spans) spans {
	var out spans
	for _, x := range a {
		for _, y := range b {
			if y.to <= x.from || y.from >= x.to {
				continue
			}
			if y.from > x.from {
				out = append(out, span{x.from, y.from})
			}
			x.from = y.to
		}
		if x.to > x.from {
			out = append(out, x)
		}
	}
	return out
}

// longer makes each stretch end later.
func (a spans) longer(by time.Duration) spans {
	list := slices.Clone(a)
	for i := range list {
		list[i].to += by
	}
	return joinedSpans(list)
}

// has reports whether a moment is in a stretch.
func (a spans) has(t time.Duration) bool {
	return slices.ContainsFunc(a, func(s span) bool { return s.from <= t && t < s.to })
}

// touches reports whether any of a stretch is there.
func (a spans) touches(from, to time.Duration) bool {
	return slices.ContainsFunc(a, func(s span) bool { return s.from < to && from < s.to })
}
