package explain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// TestEngine: a service with a persistence engine says what that goes by.
func TestEngine(t *testing.T) {
	b, err := New(Options{}, "rules", strings.NewReader("-A -u 10.9.0.1:5060 -s rr -p 60 --pe sip\n-a -u 10.9.0.1:5060 -r 10.9.0.2:5060 -m\n"))
	require.NoError(t, err)
	for _, c := range []struct{ text, verdict, says string }{
		{"hello", "drop_engine", "sip: no Call-ID"},
		{"X\r\nCall-ID: a@b\r\n", "forwarded", `sip: the call is "a@b"`},
	} {
		p, err := ParsePacket(fmt.Sprintf("udp 198.51.100.7:40000 > 10.9.0.1:5060 len=%d", len(c.text)))
		require.NoError(t, err)
		frame := p.Frames(wire.MAC{2, 9}, wire.MAC{2, 8})[0].Bytes()
		copy(frame[len(frame)-len(c.text):], c.text)
		r, err := b.Answer(&Request{Frames: []Captured{{frame, wire.Ethernet}}})
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(r.Frames[0].Stages), c.says)
		require.Equal(t, c.verdict, r.Frames[0].Verdict)
	}
}
