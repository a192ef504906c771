package netns

import (
	"fmt"
	"strconv"
	"strings"
)

// split splits a command line as a shell would: blanks, quotes, backslashes.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote byte
	begun, escaped := false, false
	for i := range len(line) {
		c := line[i]
		switch {
		case escaped:
			word.WriteByte(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, begun = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("%q: a quote that does not end", line)
	}
	if begun {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("no command")
	}
	return words, nil
}

// parseStatus reads what `usvs status` prints: a group's name, and below it the
// names and values of its counters. Counters of one name are added up.
func parseStatus(text string) map[string]uint64 {
	counters := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, value, ok := cutLast(strings.TrimSpace(line))
		if n, err := strconv.ParseUint(value, 10, 64); ok && err == nil {
			counters[name] += n
		}
	}
	return counters
}

// cutLast takes the last word off.
func cutLast(line string) (before, last string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", line, false
	}
	return strings.TrimSpace(line[:i]), line[i+1:], true
}
