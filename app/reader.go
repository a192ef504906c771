package app

import (
	"net/netip"
	"strconv"
)

// reader is a place in a text.
type reader struct {
	text []byte
	pos  int
}

// word goes past s, in upper case, if the text goes on with it in any case.
func (r *reader) word(s string) bool {
	rest := r.text[r.pos:]
	if len(rest) < len(s) {
		return false
	}
	for i := range len(s) {
		if upper(rest[i]) != s[i] {
			return false
		}
	}
	r.pos += len(s)
	return true
}

func (r *reader) spaces() {
	for r.pos < len(r.text) && r.text[r.pos] == ' ' {
		r.pos++
	}
}

// byte goes past b.
func (r *reader) byte(b byte) bool {
	if r.pos < len(r.text) && r.text[r.pos] == b {
		r.pos++
		return true
	}
	return false
}

// number goes past a decimal number of at most most that something follows.
func (r *reader) number(most int) (int, bool) {
	start, n := r.pos, 0
	for ; r.pos < len(r.text) && isDigit(r.text[r.pos]); r.pos++ {
		if n = n*10 + int(r.text[r.pos]-'0'); n > most {
			return 0, false
		}
	}
	return n, r.pos > start && r.pos < len(r.text)
}

// numbers reads h1,h2,h3,h4,p1,p2 (RFC 959).
func (r *reader) numbers() (netip.AddrPort, bool) {
	var b [6]byte
	for i := range b {
		if i > 0 && !r.byte(',') {
			return netip.AddrPort{}, false
		}
		n, ok := r.number(255)
		if !ok {
			return netip.AddrPort{}, false
		}
		b[i] = byte(n)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), uint16(b[4])<<8|uint16(b[5]))
	return at, at.Port() != 0
}

// extended reads |family|address|port| with any delimiter (RFC 2428). Family
// and address may both be left out; the address returned is then invalid.
func (r *reader) extended(v6 bool) (at netip.AddrPort, ok bool) {
	if r.pos >= len(r.text) || !isDelimiter(r.text[r.pos]) {
		return at, false
	}
	delimiter := r.text[r.pos]
	r.pos++
	var addr netip.Addr
	if r.byte(delimiter) {
		ok = r.byte(delimiter)
	} else {
		addr, ok = r.address(delimiter, v6)
	}
	if !ok {
		return at, false
	}
	port, ok := r.number(65535)
	if !ok || port == 0 || !r.byte(delimiter) {
		return at, false
	}
	return netip.AddrPortFrom(addr, uint16(port)), true
}

// address reads a family and an address of it, each with its delimiter.
func (r *reader) address(delimiter byte, v6 bool) (netip.Addr, bool) {
	family := byte('1')
	if v6 {
		family = '2'
	}
	if !r.byte(family) || !r.byte(delimiter) {
		return netip.Addr{}, false
	}
	const longest = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
	start := r.pos
	for r.pos < len(r.text) && r.pos-start <= longest && r.text[r.pos] != delimiter {
		r.pos++
	}
	a, err := netip.ParseAddr(string(r.text[start:r.pos]))
	if err != nil || a.Is6() != v6 || a.Is4In6() || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a, r.byte(delimiter)
}

// isDelimiter: RFC 2428 allows the printable characters.
func isDelimiter(c byte) bool { return c >= 33 && c <= 126 && !isDigit(c) }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

func appendNumber(text []byte, n uint16) []byte { return strconv.AppendUint(text, uint64(n), 10) }
