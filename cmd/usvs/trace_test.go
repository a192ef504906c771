package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/wire"
)

// synSegment is a SYN of 192.0.2.1:4000 to 10.9.0.1:80.
const synSegment = "E\x00\x00\x28\x00\x00\x00\x00\x40\x06\x00\x00\xc0\x00\x02\x01\x0a\x09\x00\x01" +
	"\x0f\xa0\x00\x50\x00\x00\x00\x00\x00\x00\x00\x00\x50\x02\x10\x00\x00\x00\x00\x00"

// The trace names interfaces, and knows what their frames begin with.
func TestTraceLines(t *testing.T) {
	syn := []byte(synSegment)
	wire.IPv4(syn).UpdateChecksum()
	framed := append([]byte("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x08\x00"), syn...)
	where := func(port int) (string, wire.Medium) {
		return []string{"lvs0", "eth1"}[port], []wire.Medium{wire.IP, wire.Ethernet}[port]
	}
	ev := newTraceEvent(&director.Event{
		Port: 0, Before: syn, Reason: director.Forwarded, Server: "10.1.0.1:80", Method: "Masq",
		After: []director.Emitted{{Port: 1, Data: framed}, {Port: 0, Host: true, Data: syn}},
	}, where)
	raw, err := json.Marshal(ev)
	require.NoError(t, err)
	var got traceEvent
	require.NoError(t, json.Unmarshal(raw, &got))
	var out strings.Builder
	got.write(&out)
	require.Equal(t, `in   lvs0  tcp 192.0.2.1:4000 > 10.9.0.1:80 S, 40 bytes, ttl 64
out  eth1  02:00:00:00:00:01 > 02:00:00:00:00:02  tcp 192.0.2.1:4000 > 10.9.0.1:80 S, 40 bytes, ttl 64
out  host  tcp 192.0.2.1:4000 > 10.9.0.1:80 S, 40 bytes, ttl 64
     forwarded, real server 10.1.0.1:80 (Masq)
`, out.String())
}
