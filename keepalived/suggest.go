package keepalived

import (
	"slices"
	"strings"
)

// nearest is the candidate with the smallest edit distance to word, or "" if
// none is near enough to be meant. The first in the alphabet wins.
func nearest(word string, candidates []string) string {
	best, least := "", 1+min(3, len(word)/2)
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if strings.EqualFold(c, word) {
			return c
		}
		if len(c)-len(word) >= least || len(word)-len(c) >= least {
			continue
		}
		if d := distance(word, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the bytes to insert, delete, replace or swap with their
// neighbour to make a into b.
func distance(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := above[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
