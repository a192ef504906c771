package keepalived

import (
	"cmp"
	"fmt"
	"slices"
)

// Pos is a place in a configuration file. The zero Pos is no place.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

// String is file:line.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Class says what keepalived does about a problem.
type Class int

const (
	// Note is for the reader only: keepalived accepts the configuration.
	Note Class = iota
	// Unavailable is a file or interface that is not there.
	Unavailable
	// Invalid is a statement that keepalived reports and does without.
	Invalid
	// Insecure is a script without script security, or a required include
	// that is missing: keepalived files both under its highest class.
	Insecure
	// Fatal is a missing argument, at which keepalived ends at once.
	Fatal
)

// Error reports whether keepalived -t rejects the configuration for it.
func (c Class) Error() bool { return c != Note }

// Problem is one finding.
type Problem struct {
	Pos
	Class Class
	// Found is what is wrong, Valid what would be right; Valid may be empty.
	Found, Valid string

	// late problems are found after all text is read; keepalived tells no line.
	late bool
}

// String is the problem on one line, after its place.
func (p Problem) String() string {
	kind := "warning"
	if p.Class.Error() {
		kind = "error"
	}
	s := fmt.Sprintf("%s: %s: %s", p.Pos, kind, p.Found)
	if p.Valid != "" {
		s += "; " + p.Valid
	}
	return s
}

// Report is what is to be said about a configuration.
type Report struct {
	Problems []Problem
	// Recovered is whether text after a mistake was read in a way that differs
	// from keepalived's: a block closed where its brace is missing, or an
	// unknown block passed over.
	Recovered bool
	// Dropped is the number of problems beyond the limit.
	Dropped int

	classes [Fatal + 1]bool

	// unchecked are the places of what keepalived may reject by what it finds on
	// its host: scripts, interfaces, users, names, numbers of CPUs; and of rules and
	// regular expressions, the words of which are not looked at.
	unchecked []Pos
}

func (r *Report) add(p Problem) {
	r.classes[p.Class] = true
	if len(r.Problems) >= maxProblems {
		r.Dropped++
		return
	}
	r.Problems = append(r.Problems, p)
}

// found is how much was reported so far.
func (r *Report) found() int { return len(r.Problems) + r.Dropped + len(r.unchecked) }

// Status is the exit status of keepalived -t for the configuration: 0 if it is
// accepted, 2 for a missing argument, else 6, 5 or 4 for the highest class of
// problem.
func (r *Report) Status() int {
	switch {
	case r.classes[Fatal]:
		return 2
	case r.classes[Insecure]:
		return 6
	case r.classes[Invalid]:
		return 5
	case r.classes[Unavailable]:
		return 4
	}
	return 0
}

// Count returns how many of the problems are errors, and how many warnings.
func (r *Report) Count() (errors, warnings int) {
	for _, p := range r.Problems {
		if p.Class.Error() {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

// finish puts the problems in the order of the text, files as they were met,
// and drops repetitions.
func (r *Report) finish(files []string) {
	rank := map[string]int{}
	for i, f := range files {
		rank[f] = i
	}
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(uint(a.Line-1), uint(b.Line-1))) // line 0, the whole file, last
	})
	seen := map[Problem]bool{}
	r.Problems = slices.DeleteFunc(r.Problems, func(p Problem) bool {
		again := seen[p]
		seen[p] = true
		return again
	})
}
