package app

import (
	"bytes"
	"net/netip"
	"regexp"
	"strconv"
	"testing"
)

// A slow twin of the passive and the active commands.
var (
	slowPASV = regexp.MustCompile(`(?i)PASV\r\n|EPSV( 1)?\r`)
	slowPORT = regexp.MustCompile(`(?i)^PORT  *([0-9]+),([0-9]+),([0-9]+),([0-9]+),([0-9]+),([0-9]+)[^0-9]`)
	slow227  = regexp.MustCompile(`^227 [^0-9]*([0-9]+),([0-9]+),([0-9]+),([0-9]+),([0-9]+),([0-9]+)[^0-9]`)
	slowCall = regexp.MustCompile("[\r\n](?:(?i:call-id)|[iI](?:[^a-zA-Z]|$))")
)

func slowNumbers(m [][]byte) (netip.AddrPort, bool) {
	var b [6]byte
	for i, s := range m[1:] {
		n, err := strconv.Atoi(string(s))
		if err != nil || n > 255 {
			return netip.AddrPort{}, false
		}
		b[i] = byte(n)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), uint16(b[4])*256+uint16(b[5]))
	return at, at.Port() != 0
}

func FuzzFTP(f *testing.F) {
	for _, s := range []string{
		"PASV\r\n", "EPSV 1\r\n", "PORT 1,2,3,4,5,6\r\n", "EPRT |2|fd00::1|40204|\r\n",
		"227 Entering Passive Mode (10,2,0,13,20,1)\r\n", "229 Ok (|1|10.2.0.13|5202|)\r\n", "229 Ok (|||5200|)\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		command, at := ParseCommand(text, false)
		if passive := command == Passive || command == ExtendedPassive; passive != slowPASV.Match(text) {
			t.Fatalf("%q: %v", text, command)
		}
		if m := slowPORT.FindSubmatch(text); m != nil && !slowPASV.Match(text) {
			want, ok := slowNumbers(m)
			if ok != (command == Active) || ok && want != at {
				t.Fatalf("%q: %v, not %v", text, at, want)
			}
		}
		if command == Active && (!at.Addr().Is4() || at.Port() == 0) {
			t.Fatalf("%q: %v", text, at)
		}
		a, ok := ParseReply(text, Passive, false)
		m := slow227.FindSubmatch(text)
		want, wanted := netip.AddrPort{}, false
		if m != nil {
			want, wanted = slowNumbers(m)
		}
		if ok != wanted || ok && want != a.At {
			t.Fatalf("%q: %v, not %v", text, a, want)
		}
		for _, c := range []Command{Passive, ExtendedPassive} {
			checkRewrite(t, text, c)
		}
		ParseCommand(text, true)
		ParseReply(text, ExtendedPassive, true)
		if !bytes.Equal(before, text) {
			t.Fatal("changed")
		}
	})
}

// checkRewrite: what a reply was rewritten to announces what it should.
func checkRewrite(t *testing.T, text []byte, c Command) {
	a, ok := ParseReply(text, c, false)
	if !ok {
		return
	}
	if a.Start > a.End || a.End > len(text) || a.At.Port() == 0 {
		t.Fatalf("%q: %+v", text, a)
	}
	vip := netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), a.At.Port())
	out := append(Announce(bytes.Clone(text[:a.Start]), c, vip), text[a.End:]...)
	b, ok := ParseReply(out, c, false)
	if !ok || b.At.Port() != vip.Port() || c == Passive && b.At != vip {
		t.Fatalf("%q became %q, which says %+v", text, out, b)
	}
}

func FuzzCallID(f *testing.F) {
	for _, s := range []string{
		"INVITE sip:x SIP/2.0\r\nCall-ID: a@b\r\n\r\n", "x\r\ni: a\n", "x\nCall-ID:\r\n b5\r\n", "x\rCall-ID\t: b\r",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		id, ok := CallID(text)
		if !ok {
			return
		}
		if len(id) == 0 || len(id) > MaxCallID || !slowCall.Match(text) {
			t.Fatalf("%q: %q", text, id)
		}
		at := bytes.Index(text, id)
		if at < 0 || bytes.ContainsAny(id, " \t\r\n;,=&\x00") || bytes.Count(id, []byte("@")) > 1 {
			t.Fatalf("%q: %q", text, id)
		}
	})
}
