package control

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScript(t *testing.T) {
	type commands = []command
	tests := []struct {
		name, text string
		want       []command
		err        string
	}{
		{"empty", "", nil, ""},
		{"blank lines and comments", "\n  \n# a\n\t# b\n", nil, ""},
		{"words", "-A -t  1.2.3.4:80\t-s rr", commands{{1, []string{"-A", "-t", "1.2.3.4:80", "-s", "rr"}, ""}}, ""},
		{"line numbers", "#!/bin/sh\n\na\n\nb\n", commands{{3, []string{"a"}, ""}, {5, []string{"b"}, ""}}, ""},
		{"CRLF", "a b\r\nc\r\n", commands{{1, []string{"a", "b"}, ""}, {2, []string{"c"}, ""}}, ""},
		{"no newline at the end", "a\nb", commands{{1, []string{"a"}, ""}, {2, []string{"b"}, ""}}, ""},
		{"semicolons", "a; b;;c ;\nd", commands{{1, []string{"a"}, ""}, {1, []string{"b"}, ""}, {1, []string{"c"}, ""}, {2, []string{"d"}, ""}}, ""},
		{"comment behind a command", "a b # c; d\ne", commands{{1, []string{"a", "b"}, ""}, {2, []string{"e"}, ""}}, ""},
		{"hash within a word", "a b#c", commands{{1, []string{"a", "b#c"}, ""}}, ""},
		{"comment ends with its line", "# a \\\nb", commands{{2, []string{"b"}, ""}}, ""},
		{"continued line", "a \\\n  b \\\r\n c\nd", commands{{1, []string{"a", "b", "c"}, ""}, {4, []string{"d"}, ""}}, ""},
		{"continued word", "a\\\nb", commands{{1, []string{"ab"}, ""}}, ""},
		{"continued at the end", "a \\", commands{{1, []string{"a"}, ""}}, ""},
		{"escapes", `a\ b \$c \"`, commands{{1, []string{"a b", "$c", `"`}, ""}}, ""},
		{"single quotes", `a 'b $c "d" \' ''`, commands{{1, []string{"a", `b $c "d" \`, ""}, ""}}, ""},
		{"double quotes", `a "b 'c' \"d\" \$e \\ \x" ""`, commands{{1, []string{"a", `b 'c' "d" $e \ \x`, ""}, ""}}, ""},
		{"joined quotes", `a'b'"c"d`, commands{{1, []string{"abcd"}, ""}}, ""},
		{"brackets", "a [2001:db8::80]:80", commands{{1, []string{"a", "[2001:db8::80]:80"}, ""}}, ""},
		{"variables", "VIP=10.0.0.1\nPORT=80\na $VIP:$PORT ${VIP}x \"$VIP\" '$VIP'", commands{{3, []string{"a", "10.0.0.1:80", "10.0.0.1x", "10.0.0.1", "$VIP"}, ""}}, ""},
		{"export", "export VIP=10.0.0.1 P=80\nexport VIP\na $VIP:$P", commands{{3, []string{"a", "10.0.0.1:80"}, ""}}, ""},
		{"two assignments", "A=1 B=2\na $A$B", commands{{2, []string{"a", "12"}, ""}}, ""},
		{"reassigned", "A=1; a $A; A=2; a $A", commands{{1, []string{"a", "1"}, ""}, {1, []string{"a", "2"}, ""}}, ""},
		{"value with blanks splits", "O='-s rr'\na $O \"$O\"", commands{{2, []string{"a", "-s", "rr", "-s rr"}, ""}}, ""},
		{"empty value vanishes", "O=\na $O b \"$O\"", commands{{2, []string{"a", "b", ""}, ""}}, ""},
		{"assigned without splitting", "O='-s rr'\nP=$O\na \"$P\"", commands{{3, []string{"a", "-s rr"}, ""}}, ""},
		{"quoted value", "V=\"1.2.3.4\"\na $V", commands{{2, []string{"a", "1.2.3.4"}, ""}}, ""},
		{"options are no assignments", "a --dport=80 -s=rr", commands{{1, []string{"a", "--dport=80", "-s=rr"}, ""}}, ""},
		{"assignment before a command", "A=1 b", commands{{1, []string{"A=1", "b"}, ""}}, ""},
		{"lone dollar", "a $ b", commands{{1, []string{"a", "$", "b"}, ""}}, ""},
		{"unset variable", "\n a $NOPE", nil, "2: variable NOPE is not set"},
		{"set too late", "a $V\nV=1", nil, "1: variable V is not set"},
		{"command substitution", "a $(date)", nil, "1: `$(' of the shell is not supported here"},
		{"backquotes", "a `date`", nil, "1: ``' of the shell is not supported here"},
		{"backquotes quoted", "a \"`date`\"", nil, "1: ``' of the shell is not supported here"},
		{"positional", "a $1", nil, "1: `$1' of the shell is not supported here"},
		{"default value", "a ${A:-1}", nil, "1: `${' is supported only as ${NAME}"},
		{"redirection", "a\n\nb > /dev/null", nil, "3: " + errRedirect.Error()},
		{"a setting", "V=1\necho $V >/proc/sys/net/x\n b c\t> \"/proc/sys/a b\"; d",
			commands{{2, []string{"echo", "1"}, "/proc/sys/net/x"}, {3, []string{"b", "c"}, "/proc/sys/a b"}, {3, []string{"d"}, ""}}, ""},
		{"quoted redirection", "a '>' \\> \">\"", commands{{1, []string{"a", ">", ">", ">"}, ""}}, ""},
		{"redirection without a command", "> /proc/sys/a", nil, "1: " + errRedirect.Error()},
		{"redirection to nowhere", "a >", nil, "1: " + errRedirect.Error()},
		{"redirection to two", "a > /proc/sys/a b", nil, "1: " + errRedirect.Error()},
		{"appending", "a >> /proc/sys/a", nil, "1: " + errRedirect.Error()},
		{"two redirections", "a > /proc/sys/a > /proc/sys/b", nil, "1: " + errRedirect.Error()},
		{"a descriptor's redirection", "a 2>/dev/null", nil, "1: " + errRedirect.Error()},
		{"pipe", "a | b", nil, "1: `|' of the shell is not supported here"},
		{"and", "a && b", nil, "1: `&' of the shell is not supported here"},
		{"function", "f() {", nil, "1: `(' of the shell is not supported here"},
		{"error in a continued line", "a \\\nb \\\n<c", nil, "3: `<' of the shell is not supported here"},
		{"open single quote", "a 'b\nc'", nil, "1: unterminated '"},
		{"open double quote", "a \"b\nc\"", nil, "1: unterminated \""},
		{"open at the end", "a \"b", nil, "1: unterminated \""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseScript("f", strings.NewReader(tt.text))
			if tt.err != "" {
				require.EqualError(t, err, "f:"+tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

// Variables that double with every line do not eat the machine.
func TestScriptBounds(t *testing.T) {
	var b strings.Builder
	b.WriteString("A=xxxxxxxxxxxxxxxx\n")
	for range 60 {
		b.WriteString("A=$A$A\n")
	}
	_, err := parseScript("f", strings.NewReader(b.String()))
	require.ErrorContains(t, err, "too long after expansion")
	_, err = parseScript("f", strings.NewReader(strings.Repeat("#", maxScript+1)))
	require.ErrorContains(t, err, "longer than")
}

// Whatever the text, words come from it or from variables, lines count up, and
// text without special characters and words splits as strings.Fields does.
func FuzzScript(f *testing.F) {
	for _, s := range []string{"a b", "A=1\nb $A", "a 'b' \"c $d\"", "a \\\nb", "x;y # z", "export A=b C", "export A", "${", "$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cmds, err := parseScript("f", strings.NewReader(text))
		last := 1
		for _, c := range cmds {
			if c.line < last || c.line > strings.Count(text, "\n")+1 || len(c.words) == 0 {
				t.Fatalf("%q: line %d after %d, %d words", text, c.line, last, len(c.words))
			}
			last = c.line
		}
		if strings.ContainsAny(text, "\\'\"$#;=<>|&()`\v\f\u0085\u00a0") || strings.Contains(text, "export") || err != nil {
			return
		}
		for _, r := range text {
			if r > 127 {
				return
			}
		}
		var want, got []string
		want = strings.Fields(text)
		for _, c := range cmds {
			got = append(got, c.words...)
		}
		if strings.Join(want, " ") != strings.Join(got, " ") {
			t.Fatalf("%q: got %q", text, got)
		}
	})
}
