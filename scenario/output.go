package scenario

import (
	"slices"
	"strings"
)

// compare looks for the wanted lines in what a command wrote: each of them,
// in this order, other lines between them allowed; and for the unwanted ones.
func (x *Exec) compare(text, world string) error {
	lines := strings.Split(text, "\n")
	at := 0
	for _, want := range x.Output {
		if len(want.Worlds) > 0 && !slices.Contains(want.Worlds, world) {
			continue
		}
		if want.No {
			if find(want, lines) < len(lines) {
				return &unmet{line: want.Line, msg: "the output has a line `" + want.String() + "`" + wrote(text)}
			}
			continue
		}
		k := find(want, lines[at:])
		if at+k == len(lines) {
			return &unmet{line: want.Line, msg: "the output has no line `" + want.String() + "`" + behind(at) + wrote(text)}
		}
		at += k + 1
	}
	return nil
}

// find returns the index of the first line that is wanted, or their number.
func find(want OutputLine, lines []string) int {
	for i, line := range lines {
		if sameWords(want.Words, strings.Fields(line)) {
			return i
		}
	}
	return len(lines)
}

func behind(at int) string {
	if at == 0 {
		return ""
	}
	return " after the lines above it"
}

// sameWords compares a line word by word. "*" in a word is any text; as the
// last word it is any number of words.
func sameWords(want, have []string) bool {
	for i, w := range want {
		if w == "*" && i == len(want)-1 {
			return true
		}
		if i >= len(have) || !glob(w, have[i]) {
			return false
		}
	}
	return len(want) == len(have)
}

// wrote shows what there was instead, indented below a message.
func wrote(text string) string {
	const most = 40
	text = strings.TrimRight(text, "\n ")
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	if len(lines) > most {
		lines = append(lines[:most:most], "...")
	}
	return ":\n\t| " + strings.Join(lines, "\n\t| ")
}

// glob reports whether a word is like a pattern in which "*" is any text.
func glob(pattern, word string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == word
	}
	word, ok := strings.CutPrefix(word, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		_, rest, found := strings.Cut(word, part)
		if !found {
			return false
		}
		word = rest
	}
	return strings.HasSuffix(word, last)
}
