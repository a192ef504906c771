package scenario

import "strings"

// compare looks for the wanted lines in what a command wrote: each of them,
// in this order, other lines between them allowed.
func (x *Exec) compare(text string) error {
	lines := strings.Split(text, "\n")
	at := 0
	for i, want := range x.Output {
		for at < len(lines) && !sameWords(want, strings.Fields(lines[at])) {
			at++
		}
		if at == len(lines) {
			return &unmet{line: x.Lines[i], msg: "the output has no line `" + strings.Join(want, " ") + "`" + after(i) + wrote(text)}
		}
		at++
	}
	return nil
}

func after(i int) string {
	if i == 0 {
		return ""
	}
	return " after the lines above it"
}

// sameWords compares a line word by word; "*" is any word, and at the end any
// number of words.
func sameWords(want, have []string) bool {
	for i, w := range want {
		if w == "*" && i == len(want)-1 {
			return true
		}
		if i >= len(have) || w != "*" && w != have[i] {
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
