package oracle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The player must notice. These tests alter recordings that pass.

func recorded(t *testing.T, name string) []string {
	text, err := os.ReadFile(filepath.Join("..", "testdata", "oracle", name))
	require.NoError(t, err)
	return strings.Split(string(text), "\n")
}

func playLines(t *testing.T, name string, lines []string) error {
	trace, err := ParseTrace(filepath.Base(name), strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		return err
	}
	return Play(trace)
}

// noticed requires that the altered recording differs, and returns the text.
func noticed(t *testing.T, name string, lines []string, what string) string {
	err := playLines(t, name, lines)
	var d *Difference
	require.True(t, errors.As(err, &d), "%s: %s: not noticed (%v)", name, what, err)
	return d.Error()
}

// Every bit of an emitted frame counts, but those that do not repeat.
func TestFrameBytesAreNoticed(t *testing.T) {
	for _, c := range []struct {
		file     string
		nth      int   // emitted frame of the recording
		volatile []int // offsets in it
	}{
		{"fwd/dr.trace", 0, nil},
		{"fwd/nat.trace", 0, nil},
		{"fwd/nat.trace", 1, nil},
		{"fwd/v6-nat.trace", 0, nil},
		{"fwd/tun-ipip.trace", 0, []int{18, 19}},
		{"fwd/tun-gre-csum.trace", 0, []int{18, 19}},
		{"fwd/tun-gue-csum.trace", 0, []int{18, 19, 34, 35}},
		{"fwd/local.trace", 0, []int{18, 19}},
		{"fwd/unreachable.trace", 0, nil},
	} {
		lines := recorded(t, c.file)
		at := nthLine(lines, "< ", c.nth)
		require.Positive(t, at, c.file)
		lines = slices.Clone(lines[:at+1])
		require.NoError(t, playLines(t, c.file, lines))
		frame := lines[at]
		hexAt := strings.LastIndexByte(frame, ' ') + 1
		for i := range (len(frame) - hexAt) / 2 {
			b := []byte(frame)
			k := hexAt + 2*i + 1
			b[k] = "123456789abcdef0"[strings.IndexByte("0123456789abcdef", b[k])]
			lines[at] = string(b)
			if slices.Contains(c.volatile, i) {
				continue // its checksum must follow, so this would differ as well
			}
			noticed(t, c.file, lines, fmt.Sprintf("byte %d of %s", i, frame))
		}
	}
}

// A volatile field may have another value, if the checksum is that one's.
func TestVolatileIdentification(t *testing.T) {
	lines := recorded(t, "fwd/tun-ipip.trace")
	at := nthLine(lines, "< ", 0)
	lines = slices.Clone(lines[:at+1])
	word := func(s string, byteOffset int) string { k := len("< s ") + 2*byteOffset; return s[k : k+4] }
	frame := lines[at]
	put := func(byteOffset int, hex string) {
		k := len("< s ") + 2*byteOffset
		frame = frame[:k] + hex + frame[k+4:]
	}
	var id, sum uint16
	fmt.Sscanf(word(frame, 18), "%04x", &id)
	fmt.Sscanf(word(frame, 24), "%04x", &sum)
	require.Greater(t, id, uint16(0))
	require.Less(t, sum, uint16(0xffff))
	put(18, fmt.Sprintf("%04x", id-1))
	lines[at] = frame
	noticed(t, "tun-ipip", lines, "a checksum of another identification")
	put(24, fmt.Sprintf("%04x", sum+1))
	lines[at] = frame
	require.NoError(t, playLines(t, "tun-ipip", lines))
}

func nthLine(lines []string, prefix string, n int) int {
	for i, l := range lines {
		if strings.HasPrefix(l, prefix) {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return -1
}

// Every line of a command's output counts, and every word of it.
func TestOutputIsNoticed(t *testing.T) {
	for _, file := range []string{"text/persist.txt", "text/names.txt", "text/daemon.txt", "text/err-set-huge.txt"} {
		lines := recorded(t, file)
		for i, l := range lines {
			if l == "" || strings.IndexByte("|!=", l[0]) < 0 {
				continue
			}
			words := strings.Fields(l[1:])
			if len(words) > 0 {
				word := words[i%len(words)]
				altered := slices.Clone(lines)
				altered[i] = l[:1] + strings.Replace(l[1:], word, word[:len(word)-1]+"7", 1)
				if altered[i] == l {
					altered[i] += "8"
				}
				noticed(t, file, altered, altered[i])
			}
			altered := slices.Delete(slices.Clone(lines), i, i+1)
			if l[0] != '=' || l != "= 0" {
				noticed(t, file, altered, "without "+l)
			}
		}
	}
}

func TestAlterations(t *testing.T) {
	for _, c := range []struct {
		file, old, new string
		say            []string
	}{
		{"sched/rr-plain.trace", "-> 10.1.0.12", "-> 10.1.0.13", []string{"recorded [10.1.0.13], here [10.1.0.12]", "tcp S"}},
		{"sched/rr-plain.trace", "-> 10.1.0.12", "-> none", []string{"recorded [none]"}},
		{"text/stats-bignum.txt", "-> 1600 frames", "-> 1599 frames", []string{"recorded 1599 frames, here 1600"}},
		{"text/stats-bignum.txt", "96044800", "96044801", []string{"standard output differs", "- UDP  10.9.0.1:9                          1     1600        0 96044801", "+ UDP"}},
		{"text/stats-traffic.txt", "                 CPS    InPPS", "                  CPS   InPPS", []string{"standard output differs"}},
		{"text/sysctl-defaults.txt", "am_droprate = 10", "am_droprate = 11", []string{"- net.ipv4.vs.am_droprate = 11\n  + net.ipv4.vs.am_droprate = 10"}},
		{"text/sysctl-defaults.txt", "|ip_vs_conn_sync", "|ip_vs_conn_synch", []string{"ls /proc/net"}},
		{"text/names.txt", "rs1.example.test:http ", "rs2.example.test:http ", []string{"rs2.example.test"}},
		{"text/err-weight-huge.txt", "= 2", "= 1", []string{"exit status: recorded 1, here 2"}},
		{"fwd/local.trace", "|UDP 04:59  UDP ", "|UDP 04:53  UDP ", []string{"- UDP 04:53", "+ UDP 0"}},
		{"regress/proc.trace", "SYN_RECV         57", "SYN_RECV         58", []string{"ip_vs_conn"}},
		{"regress/proc.trace", "|       6        7        1              11C               28", "|       6        7        1              11D               28", []string{"- ", "11D"}},
		{"regress/local-sockets.trace", "= 0\n@ 2.5", "|x\n= 0\n@ 2.5", []string{"- x"}},
		{"sync/backup-default.trace", "|TCP 14:59  ESTABLISHED 198.51.100.50:1000", "|TCP 14:59  ESTABLISHED 198.51.100.51:1000", []string{"198.51.100.51:1000"}},
	} {
		text := strings.Join(recorded(t, c.file), "\n")
		require.Contains(t, text, c.old, c.file)
		got := noticed(t, c.file, strings.Split(strings.Replace(text, c.old, c.new, 1), "\n"), c.new)
		for _, s := range c.say {
			require.Contains(t, got, s, c.file)
		}
	}
}

// Of a daemon's message every entry counts, and that there is one.
func TestMessagesAreNoticed(t *testing.T) {
	lines := recorded(t, "sync/master-default.trace")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "< s 01005e") })
	require.Positive(t, at)
	altered := slices.Clone(lines)
	altered[at] = lines[at][:len(lines[at])-2] + "ff"
	require.Contains(t, noticed(t, "master", altered, "the last byte"), "udp 10.2.0.1:")
	require.Contains(t, noticed(t, "master", slices.Delete(slices.Clone(lines), at, at+1), "a message less"), "differ")
}

// The difference between two frames names the field.
func TestSideBySide(t *testing.T) {
	lines := recorded(t, "fwd/nat.trace")
	at := nthLine(lines, "< ", 0)
	lines = slices.Clone(lines[:at+1])
	k := len("< s ") + 2*(14+8) // the TTL
	lines[at] = lines[at][:k] + "1f" + lines[at][k+2:]
	got := noticed(t, "fwd/nat.trace", lines, "the TTL")
	require.Regexp(t, `(?m)^  ! IPv4 ttl +31 +63$`, got)
	require.Regexp(t, `(?m)^    IPv4 src +198\.51\.100\.\d+ +198\.51\.100\.\d+$`, got)
	require.Contains(t, got, "first difference at byte 22")
	require.Contains(t, got, "recorded on link s to 02:00:0a:02:")
}

// A recording that cannot be understood is no recording that passes.
func TestNotUnderstood(t *testing.T) {
	for _, c := range []struct{ text, say string }{
		{"what is this", "neither a step nor an answer"},
		{"|x", "an answer before any step"},
		{"> c", "wants a link and hex"},
		{"> q 00", `no link "q"`},
		{"> c 0g", "invalid byte"},
		{"$ true\n< q 00", `no link "q"`},
		{"$ true\n= x", "invalid syntax"},
		{"@ -1", "bad pause"},
		{"mtu q 1", "mtu wants a link"},
		{"tcp S 1.2.3.4 5.6.7.8:1 -> none", "bad address"},
		{"tcp S 1.2.3.4:1 -> none", "wants a source and a destination"},
		{"sctp WHAT 1.2.3.4:1 1.2.3.4:1 -> none", "unknown SCTP chunk"},
		{"udp 1.2.3.4:1 1.2.3.4:2 len=x -> none", "invalid syntax"},
		{"rep x udp 1.2.3.4:1 1.2.3.4:2 -> 1 frames", "invalid syntax"},
		{"udp 1.2.3.4:1 1.2.3.4:2 -> none\n> c 00", "not the frame of the line before"},
		{"& nc -lu 80", "a program that the player cannot be"},
		{"& python3 -c 'import time'", "binds no socket"},
		{"& python3 -c \"s=socket.socket(2,1); s.bind(('',80)); s.sendto(d,a)\"", "not for datagrams"},
		{"& python3 -c \"s.bind(('',80)); s.sendto(d.upper(),a)\"", "a program that the player cannot be"},
		{"% nosuch", "the set-up command ended with status 127"},
		{"$ nosuch\n= 0", "exit status: recorded 0, here 127"},
	} {
		err := playLines(t, "x", strings.Split(c.text, "\n"))
		require.ErrorContains(t, err, c.say, c.text)
	}
}
