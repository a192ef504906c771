package dialog

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/health"
)

func TestSMTP(t *testing.T) {
	const helo, quit = "HELO me\r\n", "QUIT\r\n"
	for _, c := range []struct {
		name, text, said string
		reason, cause    string
	}{
		{name: "as it should be", text: "220 hello\r\n250 hi\r\n221 bye\r\n", said: helo + quit},
		{name: "several lines", text: "220-hello\r\n220-you\r\n220 there\r\n250-hi\n250 hi\n221 bye\r\n", said: helo + quit},
		{name: "any line at the end", text: "220 hello\r\n250 hi\r\n\n", said: helo + quit},
		{name: "not now", text: "421 busy\r\n", reason: "Bad greeting banner from server", cause: `it says "421 busy"`},
		{name: "not you", text: "220 hello\r\n550 no\r\n", said: helo, reason: "Bad HELO response from server", cause: `it says "550 no"`},
		{name: "nothing", reason: "Read failure from server", cause: io.EOF.Error()},
		{name: "half a line", text: "220 hel", reason: "Read failure from server", cause: io.EOF.Error()},
		{name: "no farewell", text: "220 hello\r\n250 hi\r\n", said: helo + quit, reason: "Read failure from server", cause: io.EOF.Error()},
		{name: "line of 512 bytes", text: "220 " + strings.Repeat("x", 507) + "\n250 hi\n221 bye\n", said: helo + quit},
		{name: "line of 513 bytes", text: "220 " + strings.Repeat("x", 508) + "\n", reason: "Read failure from server", cause: errLong.Error()},
		{name: "64 lines", text: strings.Repeat("220-x\r\n", 63) + "220 x\n250 hi\n221 bye\n", said: helo + quit},
		{name: "endless line", text: "220 " + strings.Repeat("x", 100000), reason: "Read failure from server", cause: errLong.Error()},
		{name: "endless answer to what was said", text: "220 hello\r\n" + strings.Repeat("x", 1000), said: helo, reason: "Read failure from server", cause: errLong.Error()},
		{name: "endless lines", text: strings.Repeat("220-x\r\n", 10000), reason: "Read failure from server", cause: errLong.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, piece := range []int{1, 5, 512, 1 << 20} {
				said, got := play(t, &health.Probe{Kind: health.SMTP, Helo: "me"}, c.text, piece)
				assert.Equal(t, c.said, said)
				assert.Equal(t, health.Result{Outcome: got.Outcome, Reason: c.reason, Cause: c.cause}, got)
				assert.Equal(t, c.reason == "", got.Outcome == health.Success)
			}
		})
	}
	said, _ := play(t, &health.Probe{Kind: health.SMTP}, "220 a\n", 1)
	assert.Equal(t, "HELO smtpchecker.keepalived.org\r\n", said)
}

func FuzzSMTP(f *testing.F) {
	f.Add("220 a\r\n250 b\r\n221 c\r\n", 1)
	f.Add("220-a\n220", 2)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		if fuzzed(t, &health.Probe{Kind: health.SMTP}, text, piece) == success {
			require.True(t, strings.HasPrefix(text, "220") || strings.Contains(text, "\n220"), "%q is no greeting", text)
			require.Contains(t, text, "\n250")
		}
	})
}
