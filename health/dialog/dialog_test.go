package dialog

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/health"
)

// play has a dialogue with a server that says a text, cut into pieces, and then
// closes the connection. It returns what was said to the server.
func play(t testing.TB, p *health.Probe, text string, piece int) (said string, r health.Result) {
	t.Helper()
	d, err := New(p, 1)
	require.NoError(t, err)
	move := d.Begin()
	for said = string(move.Say); !move.Done; said += string(move.Say) {
		if text == "" {
			return said, d.End()
		}
		n := min(piece, len(text))
		b := []byte(text[:n])
		move, text = d.Take(b), text[n:]
		clear(b) // it must not be kept
	}
	return said, move.Result
}

// fuzzed plays a text whole and in pieces, which must come to the same.
func fuzzed(t *testing.T, p *health.Probe, text string, piece int) health.Result {
	saidWhole, whole := play(t, p, text, len(text)+1)
	said, cut := play(t, p, text, max(1, piece%100))
	require.Equal(t, whole, cut)
	require.Equal(t, saidWhole, said)
	return whole
}

func TestReach(t *testing.T) {
	d, err := New(&health.Probe{Kind: health.TCP}, 0)
	require.NoError(t, err)
	assert.Equal(t, over(success), d.Begin(), "to be connected is enough")
	d, err = New(&health.Probe{Kind: health.Ping}, 0)
	require.NoError(t, err)
	assert.Equal(t, Move{}, d.Begin())
	assert.Equal(t, over(success), d.Take(nil))
}

// TestFailures has keepalived's words for what does not come about.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		probe health.Probe
		at    Stage
		late  string
		fails string
	}{
		{health.Probe{Kind: health.TCP}, Connecting, "timeout", "failed"},
		{health.Probe{Kind: health.Ping}, Reading, "timeout", "failed"},
		{health.Probe{Kind: health.HTTP}, Connecting, "Timeout connecting", "Connection failed"},
		{health.Probe{Kind: health.HTTP}, Writing, "Timeout WEB write", "Cannot send get request to"},
		{health.Probe{Kind: health.HTTP}, Reading, "Timeout WEB read", "Read error with"},
		{health.Probe{Kind: health.SSL}, Securing, "Timeout connecting", "SSL handshake/communication error connecting to"},
		{health.Probe{Kind: health.SSL}, Reading, "Timeout WEB read", "SSL read error from"},
		{health.Probe{Kind: health.SMTP}, Connecting, "Connection timeout to server", "Could not connect to server"},
		{health.Probe{Kind: health.SMTP}, Writing, "Write timeout to server", "Error connecting to server"},
		{health.Probe{Kind: health.SMTP}, Reading, "Read timeout from server", "Read failure from server"},
		{health.Probe{Kind: health.DNS}, Connecting, "connection timeout.", "connection failed."},
		{health.Probe{Kind: health.DNS}, Reading, "read timeout from socket", "failed to read socket; why"},
		{health.Probe{Kind: health.UDP}, Connecting, "timeout", "failed"},
		{health.Probe{Kind: health.UDP}, Reading, "", "failed"},
		{health.Probe{Kind: health.UDP, UDP: &health.UDPExchange{RequireReply: true}}, Reading, "failed", "failed"},
	} {
		c.probe.HTTP = &health.HTTPRequest{}
		for reason, err := range map[string]error{c.late: nil, c.fails: errors.New("why")} {
			d, newErr := New(&c.probe, 1)
			require.NoError(t, newErr)
			got := d.Fail(c.at, err)
			if err != nil || reason != c.fails {
				assert.Equal(t, reason, got.Reason, "%v %v", c.probe.Kind, c.at)
			}
			assert.Equal(t, reason == "", got.Outcome == health.Success)
		}
	}
}

func TestLateAfterTheHeader(t *testing.T) {
	for kind, want := range map[health.Kind]string{health.HTTP: "Timeout HTTP read", health.SSL: "Timeout SSL read"} {
		d, err := New(&health.Probe{Kind: kind, HTTP: &health.HTTPRequest{}}, 0)
		require.NoError(t, err)
		require.Equal(t, Move{}, d.Take([]byte("H")))
		assert.Equal(t, want, d.Fail(Reading, nil).Reason)
	}
}

func TestNoDialog(t *testing.T) {
	for _, p := range []*health.Probe{
		{Kind: health.BFD}, {Kind: health.Misc}, {Kind: health.File}, {Kind: health.HTTP},
		{Kind: health.SSL, HTTP: &health.HTTPRequest{URL: health.URL{Regex: "(?=perl)"}}},
		{Kind: health.DNS, DNS: &health.DNSQuestion{Type: "ANY"}},
		{Kind: health.DNS, DNS: &health.DNSQuestion{Name: strings.Repeat("x", 300)}},
		{Kind: health.DNS, DNS: &health.DNSQuestion{Name: strings.Repeat("x", 64)}},
		{Kind: health.DNS, DNS: &health.DNSQuestion{Name: "a..b"}},
	} {
		_, err := New(p, 0)
		assert.Error(t, err, p.Kind)
	}
}

func TestBufferSize(t *testing.T) {
	assert.Equal(t, streamBuffer, BufferSize(&health.Probe{Kind: health.HTTP}))
	for x, want := range map[*health.UDPExchange]int{
		nil:                                    1,
		{MaxReply: 255}:                        1,
		{RequireReply: true, MaxReply: 255}:    256,
		{RequireReply: true, Reply: []byte{7}}: 2,
		{RequireReply: true, MaxReply: 1e6}:    64 << 10,
	} {
		assert.Equal(t, want, BufferSize(&health.Probe{Kind: health.UDP, UDP: x}))
	}
}

var target = netip.MustParseAddrPort("192.0.2.1:80")
