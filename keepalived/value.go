package keepalived

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Value is a setting with the place that set it.
type Value[T any] struct {
	V  T
	At Pos
}

// Set reports whether the text sets the value. Otherwise V is the default.
func (v Value[T]) Set() bool { return v.At.Line > 0 }

func (v *Value[T]) set(x T, at Pos) { *v = Value[T]{x, at} }

// orElse gives a value that is not set another's, place and all.
func (v *Value[T]) orElse(other Value[T]) {
	if !v.Set() {
		*v = other
	}
}

// orDefault gives a value that is not set a default.
func (v *Value[T]) orDefault(x T) {
	if !v.Set() {
		v.V = x
	}
}

// FIFO is a named pipe and who owns it; without a user keepalived does.
type FIFO struct {
	Path string
	User User
}

// Script is a command with its arguments and the user it runs as.
type Script struct {
	Args        []string
	User, Group string
}

func (p *parser) integer(word string, least, most int, what string) (int, bool) {
	text := trimLeft(word)
	if text == "" {
		text = "0" // as strtol(3) has it
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.invalid(fmt.Sprintf("%s %s: not a number", what, shown(word)), fmt.Sprintf("valid is %d to %d", least, most))
		return 0, false
	}
	if v < int64(least) || v > int64(most) {
		p.invalid(fmt.Sprintf("%s %d is out of range", what, v), fmt.Sprintf("valid is %d to %d", least, most))
		return 0, false
	}
	return int(v), true
}

// duration is a decimal number of seconds, with six decimals at most.
func (p *parser) duration(word string, least, most time.Duration, what string) (time.Duration, bool) {
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(trimLeft(word), "+"), ".")
	ok := strings.Trim(whole+fraction, "0123456789") == ""
	n, err := strconv.ParseInt("0"+whole, 10, 64)
	ok = ok && err == nil && n <= math.MaxUint64/1_000_000 // it counts microseconds
	n = min(n, int64(longest/time.Second))
	micros, _ := strconv.Atoi((digitsOf(fraction) + "000000")[:6])
	d := time.Duration(n)*time.Second + time.Duration(micros)*time.Microsecond
	wrong := func(what string) { p.invalid(what, "valid is "+secondsRange(least, most)) }
	switch {
	case !ok:
		wrong(fmt.Sprintf("%s %s: not a number of seconds", what, shown(word)))
		return 0, false
	case len(fraction) > 6:
		wrong(fmt.Sprintf("%s %s: more than 6 decimals", what, shown(word)))
	case d < least || d > most:
		wrong(fmt.Sprintf("%s %s is out of range", what, shown(word)))
		return 0, false
	}
	return d, true
}

// secondsRange is a range of times in words.
func secondsRange(least, most time.Duration) string {
	text := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
	return text(least) + " to " + text(most) + " seconds"
}

// longest is the longest time that a Duration keeps. Longer ones, which
// keepalived takes, become this.
const longest = 9_223_372_035 * time.Second

// digitsOf is s if it is made of digits only.
func digitsOf(s string) string {
	if strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

// boolean is the word after a keyword, or absent.
func (p *parser) boolean(s statement, absent bool) (v, ok bool) {
	if len(s.words) < 2 {
		return absent, true
	}
	switch w := s.words[1]; w {
	case "on", "true", "yes":
		return true, true
	case "off", "false", "no":
		return false, true
	default:
		p.invalid(fmt.Sprintf("%s %s", s.words[0], shown(w)), "valid is on, off, true, false, yes or no")
		return false, false
	}
}

func (p *parser) address(word, what string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(word)
	if err != nil || a.Zone() != "" {
		p.invalid(fmt.Sprintf("%s %s: not an address", what, shown(word)), "valid is an IPv4 or IPv6 address")
		return netip.Addr{}, false
	}
	return a, true
}

// port is a port number, 0 if the word is missing or all zeros.
func (p *parser) port(word, what string) (uint16, bool) {
	if strings.Trim(word, "0") == "" {
		return 0, true
	}
	v, ok := p.integer(word, 1, math.MaxUint16, what)
	return uint16(v), ok
}

// script reads a command that will be run.
func (p *parser) script(s statement) (Script, bool) {
	c, ok := p.command(s)
	if _, whole := argv(s.rest()); !ok || !whole {
		return Script{}, false
	}
	p.mention(c, s.at)
	return c, true
}

// command reads a command in quotes or without, then user and group.
func (p *parser) command(s statement) (Script, bool) {
	all, ok := argv(s.rest())
	if !ok {
		p.invalid(fmt.Sprintf("%s: a quote without its partner", s.words[0]), "")
	}
	if len(all) == 0 { // where a command is optional
		return Script{}, false
	}
	args, ok := argv(all[0])
	switch {
	case !ok:
		p.invalid(fmt.Sprintf("%s: a quote without its partner in %s", s.words[0], shown(all[0])), "")
		return Script{}, false
	case len(args) == 0:
		p.note(fmt.Sprintf("%s: there is no command in %s", s.words[0], shown(all[0])), "")
		return Script{}, false
	}
	c := Script{Args: args}
	if len(all) > 1 {
		c.User = all[1]
	}
	if len(all) > 2 {
		c.Group = all[2]
	}
	return c, true
}
