package netns

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"ip addr add 10.0.0.1/32 dev lo": {"ip", "addr", "add", "10.0.0.1/32", "dev", "lo"},
		"  a \t b  ":                     {"a", "b"},
		`a "b c" 'd "e'`:                 {"a", "b c", `d "e`},
		`a\ b c\\ '\'`:                   {"a b", `c\`, `\`},
		`a ""`:                           {"a", ""},
		`a"b"c`:                          {"abc"},
		`"a\"b"`:                         {`a"b`},
	} {
		got, err := split(line)
		require.NoError(t, err, line)
		require.Equal(t, want, got, line)
	}
	for _, line := range []string{"", "  ", `a "b`, `a 'b`, `a\`} {
		_, err := split(line)
		require.Error(t, err, line)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(`a "b c" d\ e 'f'`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		if err != nil {
			return
		}
		if strings.ContainsAny(line, `"'\`) {
			return
		}
		// without quotes it is what blanks separate
		plain := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		require.Equal(t, plain, words)
	})
}

func TestParseStatus(t *testing.T) {
	const text = "director\n  drop_no_server                           2\n  malformed: bad length                    3\n" +
		"link eth0\n  rx_frames                                10\nlink eth1\n  rx_frames                                5\n"
	require.Equal(t, map[string]uint64{"drop_no_server": 2, "malformed: bad length": 3, "rx_frames": 15}, parseStatus(text))
	require.Empty(t, parseStatus("nothing here\n"))
}

func FuzzParseStatus(f *testing.F) {
	f.Add("director\n  drop 2\n")
	f.Fuzz(func(t *testing.T, text string) {
		for name := range parseStatus(text) {
			require.Equal(t, strings.TrimSpace(name), name)
		}
	})
}
