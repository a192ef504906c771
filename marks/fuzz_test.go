package marks

import (
	"strings"
	"testing"

	"usvs/wire"
)

// FuzzCommand: no command line panics; an error has a text and a code; rules
// that were accepted are printed as commands that make the same rules; and
// they can be asked for marks.
func FuzzCommand(f *testing.F) {
	for _, file := range []string{"commands4", "commands6", "errors"} {
		for _, s := range readGolden(f, "testdata/"+file+".golden") {
			f.Add(s.command, file == "commands6")
		}
	}
	f.Add("-t mangle -A PREROUTING -d 10.0.0.1,10.0.0.2/255.0.255.0 ! -i + ! -p 6 -w -j MARK --set-mark 010/0x8", false)
	f.Fuzz(func(t *testing.T, line string, six bool) {
		family := IPv4
		if six {
			family = IPv6
		}
		base := New(family)
		c, err := Parser{Family: family, Names: services{}}.Parse(strings.Split(line, " "))
		if err != nil {
			if e := err.(*Error); e.Text == "" || e.Code < 1 || e.Code > 3 {
				t.Fatalf("%q: %+v", line, e)
			}
			return
		}
		rs, _, err := base.Apply(c)
		if err != nil {
			return
		}
		if len(rs.Commands()) > 100 || strings.ContainsAny(line, "\t\n ") && strings.Contains(line, "-i") {
			return // an interface name may contain white space, which Fields would cut
		}
		again := must(t, family, rs.Commands()...)
		if got, want := strings.Join(again.Commands(), "\n"), strings.Join(rs.Commands(), "\n"); got != want {
			t.Fatalf("%q: %q became %q", line, want, got)
		}
		for _, p := range []*wire.Packet{
			pkt("198.51.100.7", "10.0.0.1", 6, 1, 80), pkt("2001:db8::1", "fd00:9::1", 17, 1, 53),
		} {
			if rs.Mark("eth0", p, 1) != again.Mark("eth0", p, 1) {
				t.Fatalf("%q: the printed rules mark differently", line)
			}
		}
	})
}
