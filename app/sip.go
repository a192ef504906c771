package app

import "strings"

// MaxCallID is the longest Call-ID, in bytes, that tells a call.
const MaxCallID = 255

// CallID returns the value of a SIP message's Call-ID header or of its compact
// form (RFC 3261 20.8), as a part of message. The first one counts: if it is
// malformed or too long, the message has none. Lines may end with CR, LF or
// both, and the header's must end (ipvs.md 2.5).
func CallID(message []byte) ([]byte, bool) {
	r := reader{text: message}
	for r.nextLine() {
		if r.isCallID() {
			return r.callID()
		}
	}
	return nil, false
}

// nextLine goes to the start of the next line that no header before goes on in.
func (r *reader) nextLine() bool {
	for r.pos < len(r.text) {
		c := r.text[r.pos]
		r.pos++
		if isLineEnd(c) && r.pos < len(r.text) && !isLineEnd(r.text[r.pos]) && !isBlank(r.text[r.pos]) {
			return true
		}
	}
	return false
}

// isCallID goes past the header's name. One letter is the compact form unless
// another follows.
func (r *reader) isCallID() bool {
	if r.word("CALL-ID") {
		return true
	}
	start := r.pos
	if r.word("I") && (r.pos == len(r.text) || !isLetter(r.text[r.pos])) {
		return true
	}
	r.pos = start
	return false
}

// callID reads what follows the header's name.
func (r *reader) callID() ([]byte, bool) {
	r.blanks()
	if !r.byte(':') {
		return nil, false
	}
	r.blanks()
	r.fold()
	start := r.pos
	if !r.token() || r.byte('@') && !r.token() {
		return nil, false
	}
	id := r.text[start:r.pos]
	ended := r.pos < len(r.text) && isLineEnd(r.text[r.pos])
	return id, ended && len(id) <= MaxCallID
}

// fold goes past the end of a line if the next one continues it (RFC 3261 7.3.1).
func (r *reader) fold() {
	next := *r
	if next.byte('\r') {
		next.byte('\n')
	} else if !next.byte('\n') {
		return
	}
	if at := next.pos; next.blanks() > at {
		*r = next
	}
}

// blanks goes past spaces and tabs and returns where it is then.
func (r *reader) blanks() int {
	for r.pos < len(r.text) && isBlank(r.text[r.pos]) {
		r.pos++
	}
	return r.pos
}

// token goes past the characters of a word (RFC 3261 25.1).
func (r *reader) token() bool {
	start := r.pos
	for r.pos < len(r.text) && isWord(r.text[r.pos]) {
		r.pos++
	}
	return r.pos > start
}

func isWord(c byte) bool {
	return isLetter(c) || isDigit(c) || strings.IndexByte("-.!%*_+`'~()<>:\\\"/[]?{}", c) >= 0
}

func isLetter(c byte) bool  { return upper(c) >= 'A' && upper(c) <= 'Z' }
func isLineEnd(c byte) bool { return c == '\r' || c == '\n' }
func isBlank(c byte) bool   { return c == ' ' || c == '\t' }
