package netsim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHostsGiveUpHalfADatagram: whoever sent it is told, as Linux does (RFC 792,
// RFC 8200 4.5).
func TestHostsGiveUpHalfADatagram(t *testing.T) {
	for _, c := range []struct {
		to, said string
		after    time.Duration
	}{
		{"10.0.0.2:7", "10.0.0.2: ICMP reassembly time exceeded", 30 * time.Second},
		{"[2001:db8:2::2]:7", "2001:db8:2::2: ICMP reassembly time exceeded", 60 * time.Second},
	} {
		p := newPath(t, 1500)
		echo(t, p.server, "[::]:7")
		u, err := p.client.UDP(addrPort("0.0.0.0:0"))
		if c.to[0] == '[' {
			u, err = p.client.UDP(addrPort("[::]:0"))
		}
		require.NoError(t, err)
		require.NoError(t, u.Send(addrPort(c.to), []byte("hello"))) // neighbours are known
		p.Run(time.Second)
		out := p.client.ports[0]
		out.link.Set(LinkOptions{Bandwidth: 1e6}) // 12 ms for each fragment
		require.NoError(t, u.Send(addrPort(c.to), make([]byte, 4000)))
		p.Run(18 * time.Millisecond)
		out.link.Cut(out, true)
		p.Run(time.Second)
		out.link.Cut(out, false)
		p.Run(c.after - 2*time.Second)
		require.Empty(t, p.errors)
		p.Run(2 * time.Second)
		require.Equal(t, []string{c.said}, p.errors)
		require.EqualValues(t, 1, p.server.counts["reassembly timed out"])
	}
}
