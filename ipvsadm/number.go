package ipvsadm

import "strings"

// space is what isspace(3) accepts in the C locale.
const space = " \t\n\v\f\r"

// parseInt reads a decimal number as strtol(3) does: leading white space and
// a sign are allowed, anything after the digits is not.
func parseInt(s string, min, max int64) (int64, bool) {
	s = strings.TrimLeft(s, space)
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	if s == "" || !allDigits(s) {
		return 0, false
	}
	s = strings.TrimLeft(s, "0")
	if len(s) > 18 { // more would not fit; every limit is far below
		return 0, false
	}
	var n int64
	for i := range len(s) {
		n = n*10 + int64(s[i]-'0')
	}
	if negative {
		n = -n
	}
	return n, n >= min && n <= max
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
