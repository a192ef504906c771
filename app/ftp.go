package app

import (
	"bytes"
	"net/netip"
)

// Command is what a client asked its FTP server for that concerns the director.
type Command uint8

const (
	CommandNone     Command = iota
	Passive                 // PASV: the server will say where it listens (RFC 959)
	ExtendedPassive         // EPSV: likewise, by port (RFC 2428)
	Active                  // PORT, EPRT: the client says where it listens
)

// ParseCommand reads what a client sent on a control connection of the given
// family. With Active it returns where the client listens.
//
// PASV and EPSV are recognised at any offset, PORT and EPRT at the start.
func ParseCommand(text []byte, v6 bool) (Command, netip.AddrPort) {
	if c := findPassive(text, v6); c != CommandNone {
		return c, netip.AddrPort{}
	}
	r := reader{text: text}
	switch {
	case !v6 && r.word("PORT "):
		r.spaces()
		if at, ok := r.numbers(); ok {
			return Active, at
		}
	case r.word("EPRT "):
		r.spaces()
		if at, ok := r.extended(v6); ok && at.Addr().IsValid() {
			return Active, at
		}
	}
	return CommandNone, netip.AddrPort{}
}

// findPassive looks for PASV, which is IPv4's only, or an EPSV that the
// server may grant. EPSV ALL asks for nothing yet.
func findPassive(text []byte, v6 bool) Command {
	for r := (reader{text: text}); r.pos < len(text); r.pos++ {
		switch upper(text[r.pos]) {
		case 'P':
			if !v6 && r.word("PASV\r\n") {
				return Passive
			}
		case 'E':
			if r.word("EPSV\r") || !v6 && r.word("EPSV 1\r") || v6 && r.word("EPSV 2\r") {
				return ExtendedPassive
			}
		}
	}
	return CommandNone
}

// Announcement is where a server's reply says that it listens.
type Announcement struct {
	At         netip.AddrPort // its address is invalid if the reply says none
	Start, End int            // of the text that says so, in the reply
}

// ParseReply reads a server's reply to command on a control connection of the
// given family.
func ParseReply(text []byte, command Command, v6 bool) (Announcement, bool) {
	r := reader{text: text}
	switch {
	case command == Passive && r.word("227 "):
		r.pos += skipToDigit(text[r.pos:])
		start := r.pos
		at, ok := r.numbers()
		return Announcement{At: at, Start: start, End: r.pos}, ok
	case command == ExtendedPassive && r.word("229 "):
		open := bytes.IndexByte(text[r.pos:], '(')
		if open < 0 {
			return Announcement{}, false
		}
		r.pos += open + 1
		start := r.pos
		at, ok := r.extended(v6)
		return Announcement{At: at, Start: start, End: r.pos}, ok
	}
	return Announcement{}, false
}

func skipToDigit(text []byte) int {
	for i, c := range text {
		if isDigit(c) {
			return i
		}
	}
	return len(text)
}

// Announce appends what a reply to command is to say in place of an
// announcement, so that clients connect to at.
func Announce(text []byte, command Command, at netip.AddrPort) []byte {
	if command == ExtendedPassive {
		return append(appendNumber(append(text, "|||"...), at.Port()), '|')
	}
	for _, b := range at.Addr().As4() {
		text = append(appendNumber(text, uint16(b)), ',')
	}
	text = append(appendNumber(text, at.Port()>>8), ',')
	return appendNumber(text, at.Port()&0xff)
}
