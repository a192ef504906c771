package explain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const webRules = `
-A -t 10.9.0.1:80 -s wlc
-a -t 10.9.0.1:80 -r 10.2.0.11:80 -g -w 1
-a -t 10.9.0.1:80 -r 10.2.0.12:80 -g -w 2
`

func ask(t *testing.T, o Options, rules string, packets ...string) *Report {
	t.Helper()
	b, err := New(o, "rules", strings.NewReader(rules))
	require.NoError(t, err)
	r, err := b.Answer(&Request{Packets: packets})
	require.NoError(t, err)
	return r
}

func TestPrint(t *testing.T) {
	var s strings.Builder
	ask(t, Options{}, webRules, "tcp 198.51.100.7:40000 > 10.9.0.1:80 S", "tcp 198.51.100.7:40000 > 10.9.0.1:80 A",
		"udp 1.2.3.4:5 > 10.9.0.1:53 len=30", "icmp 1.2.3.4 > 10.9.0.1").WriteTo(&s)
	t.Log("\n" + s.String())
}
