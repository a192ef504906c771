package marks

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFirst(t *testing.T) {
	rs := New(IPv4)
	for _, port := range []string{"80", "443"} {
		cmd, err := Parser{}.Parse([]string{"-t", "mangle", "-A", "PREROUTING", "-p", "tcp", "--dport", port, "-j", "MARK", "--set-mark", "1"})
		require.NoError(t, err)
		rs, _, err = rs.Apply(cmd)
		require.NoError(t, err)
	}
	require.Zero(t, rs.First(0).Len())
	require.Equal(t, rs.Commands()[:1], rs.First(1).Commands())
	twin := rs.First(2)
	twin.rules[0].counter.packets.Add(1)
	require.Zero(t, rs.rules[0].counter.packets.Load(), "counters of its own")
}
