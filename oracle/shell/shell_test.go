package shell

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// recorded runs a line and writes what it did as recordings do.
func recorded(sh *Shell, line string) string {
	var out, errs bytes.Buffer
	status := sh.Run(line, &out, &errs)
	text := ""
	for _, s := range []struct{ mark, text string }{{"|", out.String()}, {"!", errs.String()}} {
		for l := range strings.Lines(s.text) {
			if text += s.mark + l; !strings.HasSuffix(l, "\n") {
				text += "\n" + s.mark + "\\\n"
			}
		}
	}
	return fmt.Sprintf("%s= %d", text, status)
}

// TestDash plays what a real shell was recorded doing.
func TestDash(t *testing.T) {
	text, err := os.ReadFile("testdata/dash.txt")
	require.NoError(t, err)
	blocks := strings.Split(strings.TrimSpace(string(text)), "\n$ ")[1:]
	require.Greater(t, len(blocks), 45)
	sh := New(&Memory{}, nil)
	for _, b := range blocks {
		line, want, _ := strings.Cut(b, "\n")
		require.Equal(t, want, recorded(sh, line), "$ %s", line)
	}
}

// settings is a directory of one device, which takes numbers only.
type settings struct{ value string }

func (d *settings) memory() *Memory {
	return &Memory{
		Device: func(name string) (Device, bool) {
			switch name {
			case "/proc/sys/x":
				return Device{
					Read: func() ([]byte, error) { return []byte(d.value), nil },
					Write: func(b []byte) error {
						if strings.Trim(string(b), "0123456789\n") != "" {
							return errors.New("no number")
						}
						d.value = string(b)
						return nil
					}}, true
			case "/proc/sys/y":
				return Device{Read: func() ([]byte, error) { return []byte("y\n"), nil }}, true
			}
			return Device{}, false
		},
		Devices: func(dir string) ([]string, bool) {
			if dir == "/proc/sys" {
				return []string{"x", "y"}, true
			}
			return nil, false
		},
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"echo 1 > /proc/sys/x; cat /proc/sys/x", "|1\n= 0"},
		{"echo no > /proc/sys/x", "!/bin/sh: 1: echo: echo: I/O error\n= 1"},
		{"echo no | cat > /proc/sys/x", "!cat: write error: Invalid argument\n= 1"},
		{"echo 1 > /proc/sys/y", "!/bin/sh: 1: cannot create /proc/sys/y: Permission denied\n= 2"},
		{"echo 1 > /proc/sys/z", "!/bin/sh: 1: cannot create /proc/sys/z: Directory nonexistent\n= 2"},
		{"echo 1 > /proc/sys", "!/bin/sh: 1: cannot create /proc/sys: Is a directory\n= 2"},
		{"cat /proc/sys", "!cat: /proc/sys: Is a directory\n= 1"},
		{"ls /proc/sys", "|x\n|y\n= 0"},
		{"ls /proc/sys/* /none", "|/proc/sys/x\n|/proc/sys/y\n!ls: cannot access '/none': No such file or directory\n= 2"},
		{"ls '/proc/sys/*'", "!ls: cannot access '/proc/sys/*': No such file or directory\n= 2"},
		{"echo /proc/sys/[xq] /proc/sys/q*", "|/proc/sys/x /proc/sys/q*\n= 0"},
		{"echo a > f; echo b >> f; cat f; rm f; cat f", "|a\n|b\n!cat: f: No such file or directory\n= 1"},
		{"printf 'a' > f; cat < f", "|a\n|\\\n= 0"},
		{"A='1 2'; for i in $A 3; do echo \"<$i>\"; done", "|<1>\n|<2>\n|<3>\n= 0"},
		{"for i in $(seq 3 -1 1); do printf '%s ' $i; done; echo", "|3 2 1 \n= 0"},
		{"if test 1 -gt 2; then echo a; elif [ -n x ]; then echo b; else echo c; fi", "|b\n= 0"},
		{"i=; until [ \"$i\" = nnn ]; do i=n$i; done; echo $i", "|nnn\n= 0"},
		{"while true; do :; done", "!/bin/sh: 1: stopped after 100000 commands\n= 124"},
		{"until (false); do (:); done", "!/bin/sh: 1: stopped after 100000 commands\n= 124"},
		{"for i in 1; do done", "!/bin/sh: 1: Syntax error: \"done\" unexpected\n= 2"},
		{"{ echo a; echo b >&2; } 2>/dev/null", "|a\n= 0"},
		{"(exit 3); echo $?; exit 4; echo no", "|3\n= 4"},
		{"A=1; (A=2); echo $A | cat; echo ${A}", "|1\n|1\n= 0"},
		{"! false && echo yes", "|yes\n= 0"},
		{"false || false || echo x", "|x\n= 0"},
		{"nosuch >/dev/null 2>&1; echo $?", "|127\n= 0"},
		{"echo a#b #c", "|a#b\n= 0"},
		{"echo \\a\"\\\\ \\$\" '' | cat -n", "|     1\ta\\ $ \n= 0"},
		{"echo a |", "!/bin/sh: 1: Syntax error: end of file unexpected\n= 2"},
		{"echo a; ; echo b", "!/bin/sh: 1: Syntax error: \";\" unexpected\n= 2"},
		{")", "!/bin/sh: 1: Syntax error: \")\" unexpected\n= 2"},
		{"echo a & echo b", "!/bin/sh: 1: Syntax error: \"&\" unexpected\n= 2"},
		{"echo ${A:-1}", "!/bin/sh: 1: Syntax error: Bad substitution\n= 2"},
		{"if true; then echo", "!/bin/sh: 1: Syntax error: end of file unexpected\n= 2"},
		{"printf 'b 2\\na 10\\nc 1\\n' | sort -k2 -n", "|c 1\n|b 2\n|a 10\n= 0"},
		{"printf 'a\\na\\nb\\n' | sort -u | wc -l", "|2\n= 0"},
		{"printf 'x1y\\nz\\n' | sed -n 's/x\\([0-9]\\)y/<\\1&>/p'", "|<1x1y>\n= 0"},
		{"seq 5 | sed '2,3d;$s/5/five/'", "|1\n|4\n|five\n= 0"},
		{"seq 5 | sed -n '/2/,/4/p'", "|2\n|3\n|4\n= 0"},
		{"seq 5 | sed 2q", "|1\n|2\n= 0"},
		{"sed y/a/b/ < /dev/null", "!sed: -e expression #1: unknown command: `y'\n= 1"},
		{"echo a:b:c | cut -d: -f2-", "|b:c\n= 0"},
		{"echo hello | tr a-y b-z | tr -d f | tee g | head -c 3; cat g", "|immimmp\n= 0"},
		{"seq 3 | tail -n 1 | grep -q 3 && echo found", "|found\n= 0"},
		{"grep -F a.b nofile", "!grep: nofile: No such file or directory\n= 2"},
		{"printf '%03d|%-4s|%b|%%\\n' 7 ab 'x\\ty'", "|007|ab  |x\ty|%\n= 0"},
		{"printf '%d\\n' x", "|0\n!/bin/sh: 1: printf: x: expected numeric value\n= 1"},
		{"[ 1 -eq 1", "!/bin/sh: 1: [: missing ]\n= 2"},
		{"test -e /proc/sys/y -a 1", "!/bin/sh: 1: test: /proc/sys/y: unexpected operator\n= 2"},
		{"test -f /proc/sys/y && test -d /proc/sys && ! test -s /none; echo $?", "|0\n= 0"},
	} {
		d := &settings{value: "0\n"}
		got := recorded(New(d.memory(), nil), c.line)
		if c.line == "echo hello | tr a-y b-z | tr -d f | tee g | head -c 3; cat g" {
			got = strings.ReplaceAll(got, "\n|\\", "")
		}
		require.Equal(t, c.want, got, "$ %s", c.line)
	}
}

// No line is too strange, and every line ends.
func FuzzRun(f *testing.F) {
	text, err := os.ReadFile("testdata/dash.txt")
	require.NoError(f, err)
	for l := range strings.Lines(string(text)) {
		f.Add(strings.TrimPrefix(l, "$ "))
	}
	f.Add("while :; do echo $(echo `echo a`); done")
	f.Add("if (for i in a b; do ! { cat <f >>f; }; done) then fi")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "seq") || strings.Contains(line, "while") || strings.Contains(line, "until") || strings.Count(line, "for") > 2 {
			return // long, though finite
		}
		var out, errs bytes.Buffer
		New(&Memory{}, nil).Run(line, &out, &errs)
	})
}
