package chaos

import (
	"slices"
	"time"
)

// Shrink looks for a schedule that breaks the same rule with less: fewer faults,
// shorter ones, mild ones, at round times. It tries at most so many.
func Shrink(s Schedule, tries int, breaks func(Schedule) bool) Schedule {
	sh := &shrinker{tries: tries, breaks: breaks}
	for {
		next := sh.fewer(s)
		next = sh.simpler(next)
		if sh.tries <= 0 || slices.Equal(next, s) {
			return next
		}
		s = next
	}
}

type shrinker struct {
	tries  int
	breaks func(Schedule) bool
}

func (sh *shrinker) works(s Schedule) bool {
	if sh.tries <= 0 {
		return false
	}
	sh.tries--
	return sh.breaks(s)
}

// fewer leaves faults out, all of them first.
func (sh *shrinker) fewer(s Schedule) Schedule {
	if len(s) > 0 && sh.works(nil) {
		return nil
	}
	for i := 0; i < len(s); {
		rest := slices.Delete(slices.Clone(s), i, i+1)
		if sh.works(rest) {
			s = rest
			continue
		}
		i++
	}
	return s
}

// simpler makes each fault as simple as it can be, one change at a time.
func (sh *shrinker) simpler(s Schedule) Schedule {
	for i := range s {
		for _, f := range simplerFaults(s[i]) {
			next := slices.Clone(s)
			next[i] = f
			next.sort()
			if sh.works(next) {
				s = next
				break
			}
		}
	}
	return s
}

// simplerFaults lists what a fault may be replaced by, the simplest first. Each
// is smaller by some measure, so that shrinking ends.
func simplerFaults(f Fault) []Fault {
	var list []Fault
	change := func(edit func(*Fault)) {
		g := f
		edit(&g)
		if g != f && g.For > 0 {
			list = append(list, g)
		}
	}
	change(func(g *Fault) { g.For = (f.For / 2).Truncate(100 * time.Millisecond) })
	change(func(g *Fault) { g.For = f.For.Truncate(time.Second) })
	change(func(g *Fault) { g.For = (f.For * 3 / 4).Truncate(100 * time.Millisecond) })
	change(func(g *Fault) { g.At = f.At.Truncate(time.Second) })
	return list
}
