package ipvsadm

import (
	"errors"
	"strconv"
	"strings"
)

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

// parseLeadingInt reads a number as atoi(3) does: what follows the digits does
// not matter, and without any it is 0.
func parseLeadingInt(s string) int32 {
	s = strings.TrimLeft(s, space)
	end := 0
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		end++
	}
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(s[:end], 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return int32(n) // saturates at 64 bits, wraps at 32
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
