package differential

import (
	"slices"
	"strings"

	"usvs/oracle"
)

// Finding is a difference and the fewest steps found that show it.
type Finding struct {
	Scenario   Scenario
	Trace      string
	Difference *oracle.Difference
	Tried      int // recordings made to get there
}

// shrinker reduces one finding.
type shrinker struct {
	kernel Kernel
	best   Finding
	kind   string
	budget int
}

// Shrink removes from a scenario what its difference does not need, step by
// step, then word by word. It asks the kernel at most budget times; an error is
// the kernel's, and the best so far is returned with it.
func Shrink(k Kernel, f Finding, budget int) (Finding, error) {
	s := &shrinker{kernel: k, best: f, kind: kind(f.Difference), budget: budget}
	for size := len(f.Scenario.Lines) / 2; size > 0; size /= 2 {
		if err := s.lines(size); err != nil {
			return s.best, err
		}
	}
	for _, pass := range []func() error{s.words, func() error { return s.lines(1) }} {
		if err := pass(); err != nil {
			return s.best, err
		}
	}
	return s.best, nil
}

// kind is what must stay of a difference while its scenario gets shorter.
func kind(d *oracle.Difference) string {
	step, _, _ := strings.Cut(d.Step, " ")
	what := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, d.What)
	first, _, _ := strings.Cut(what, "\n")
	if i := strings.IndexByte(first, '['); i >= 0 {
		first = first[:i]
	}
	return step + " " + first
}

// try keeps a candidate if it shows the difference.
func (s *shrinker) try(lines []string) (better bool, err error) {
	if s.best.Tried >= s.budget {
		return false, nil
	}
	s.best.Tried++
	candidate := s.best.Scenario
	candidate.Lines = lines
	trace, d, err := Check(s.kernel, candidate)
	if err != nil || d == nil || kind(d) != s.kind {
		return false, ignoreRefusal(err)
	}
	s.best.Scenario, s.best.Trace, s.best.Difference = candidate, trace, d
	return true, nil
}

// lines tries to do without each run of size lines, from the end.
func (s *shrinker) lines(size int) error {
	for at := len(s.best.Scenario.Lines); at > 0; {
		at = max(0, at-size)
		now := s.best.Scenario.Lines
		if at >= len(now) {
			continue
		}
		end := min(at+size, len(now))
		if slices.ContainsFunc(now[at:end], essential) && size > 1 {
			continue
		}
		if essential(now[at]) {
			continue
		}
		if _, err := s.try(slices.Delete(slices.Clone(now), at, end)); err != nil {
			return err
		}
	}
	return nil
}

// essential lines are the machine itself.
func essential(line string) bool {
	return line == "brief" || strings.HasPrefix(line, "% ip ")
}

// words tries to do without each option of a command and of a macro.
func (s *shrinker) words() error {
	for i := range s.best.Scenario.Lines {
		for at := 1; ; at++ {
			if essential(s.best.Scenario.Lines[i]) {
				break
			}
			words := strings.Fields(s.best.Scenario.Lines[i])
			if at >= len(words) {
				break
			}
			shorter, ok := without(words, at)
			if !ok {
				continue
			}
			lines := slices.Clone(s.best.Scenario.Lines)
			lines[i] = shorter
			better, err := s.try(lines)
			if err != nil {
				return err
			}
			if better {
				at--
			}
		}
	}
	return nil
}

// without leaves an option out, with its value, and says whether there is one.
func without(words []string, at int) (string, bool) {
	n := 0
	switch {
	case words[0] == "$" && strings.HasPrefix(words[at], "-") && at > 2:
		n = 1
		if at+1 < len(words) && !strings.HasPrefix(words[at+1], "-") {
			n = 2
		}
	case len(words[0]) > 1 && strings.Contains(words[at], "="):
		n = 1
	}
	return strings.Join(slices.Delete(slices.Clone(words), at, at+n), " "), n > 0
}
