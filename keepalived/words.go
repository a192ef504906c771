package keepalived

import (
	"strings"
	"unicode/utf8"
)

// blanks separate words.
const blanks = " \t\f\n\r\v"

func isBlank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// trim removes blanks around text.
func trim(text string) string { return trimLeft(trimRight(text)) }

func trimLeft(text string) string {
	for text != "" && isBlank(text[0]) {
		text = text[1:]
	}
	return text
}

func trimRight(text string) string {
	for text != "" && isBlank(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

// wordEnd is the length of the word that text begins with.
func wordEnd(text string) int {
	for i := 0; i < len(text); i++ {
		if isBlank(text[i]) {
			return i
		}
	}
	return len(text)
}

// words splits a statement at blanks. A double quote begins a word that ends
// at the next one; ok is false if there is none.
func words(text string) (all []string, ok bool) {
	for {
		text = trimLeft(text)
		if text == "" {
			return all, true
		}
		if all == nil {
			all = make([]string, 0, 3)
		}
		if quoted, found := strings.CutPrefix(text, `"`); found {
			end := strings.IndexByte(quoted, '"')
			if end < 0 {
				return all, false
			}
			all = append(all, quoted[:end])
			text = quoted[end+1:]
			continue
		}
		end := wordEnd(text)
		if quote := strings.IndexByte(text[:end], '"'); quote >= 0 {
			end = quote
		}
		all = append(all, text[:end])
		text = text[end:]
	}
}

// argv splits text as keepalived does for scripts: both kinds of quotes may
// stand anywhere in a word, and a backslash escapes.
func argv(text string) (all []string, ok bool) {
	var word []byte
	in, quote := false, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			var b byte
			b, i = unescape(text, i+1)
			word, in = append(word, b), true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && strings.IndexByte(blanks, c) >= 0:
			if in {
				all = append(all, string(word))
			}
			word, in = nil, false
		default:
			word, in = append(word, c), true
		}
	}
	if in {
		all = append(all, string(word))
	}
	return all, quote == 0
}

// unescape returns the byte that the escape at i stands for, and its last index.
func unescape(text string, i int) (byte, int) {
	c := text[i]
	if named := strings.IndexByte("abEfnrtv", c); named >= 0 {
		return "\a\b\x1b\f\n\r\t\v"[named], i
	}
	switch {
	case c == 'x':
		return digits(text, i+1, 16, 2, i)
	case '0' <= c && c <= '7':
		return digits(text, i, 8, 3, i)
	case c == 'c' && i+1 < len(text):
		return text[i+1] & 0x1f, i + 1
	}
	return c, i
}

// digits reads up to most digits at i; last is the index if there are none.
func digits(text string, i, base, most, last int) (byte, int) {
	v := 0
	for n := 0; n < most && i < len(text); n++ {
		d := strings.IndexByte("0123456789abcdef", text[i]|0x20)
		if isDigit(text[i]) {
			d = int(text[i] - '0')
		}
		if d < 0 || d >= base {
			break
		}
		v, last = v*base+d, i
		i++
	}
	return byte(v), last
}

// oddBlanks look like blanks or like nothing, but are parts of words for
// keepalived: they come from texts that were copied out of web pages.
const oddBlanks = "\u3000\u00a0\u2003\u2002\u2009\u200b\u200c\u200d\u202f\ufeff"

func ascii(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// plain replaces odd blanks outside double quotes with blanks.
func plain(text string) string {
	if ascii(text) || !strings.ContainsAny(text, oddBlanks) {
		return text
	}
	quoted := false
	return strings.Map(func(c rune) rune {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted && c != utf8.RuneError && strings.ContainsRune(oddBlanks, c) {
			return ' '
		}
		return c
	}, text)
}
