package fuzz

import (
	"errors"
	"strings"
)

// Shrink leaves out lines of a case for as long as it breaks the same invariant
// with the same seed: halves first, then quarters, down to single lines. It
// plays at most tries cases.
func Shrink(text string, seed uint64, rule string, tries int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	fails := func(list []string) bool {
		tries--
		var v *Violation
		err := Play(strings.Join(list, "\n")+"\n", seed, NewCoverage())
		return errors.As(err, &v) && v.Rule == rule
	}
	for size := len(lines) / 2; size > 0 && tries > 0; {
		shorter := without(lines, size, fails, &tries)
		if len(shorter) == len(lines) {
			size /= 2
			continue
		}
		lines = shorter
		size = min(size, len(lines)/2)
		if len(lines) < 2 {
			break
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// without leaves out every stretch of lines that a failure does not need.
func without(lines []string, size int, fails func([]string) bool, tries *int) []string {
	for at := 0; at < len(lines) && *tries > 0; {
		end := min(at+size, len(lines))
		rest := append(append([]string{}, lines[:at]...), lines[end:]...)
		if fails(rest) {
			lines = rest
			continue
		}
		at = end
	}
	return lines
}
