package conntrack

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// TestSpecStartsElsewhere inserts connections that do not begin at the beginning:
// expected ones and those another director told of.
func TestSpecStartsElsewhere(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	rs := all[0]
	table := New(Config{Servers: reg})
	n := tcpSpec(1, rs)
	n.State, n.Timeout, n.Flags = TCPEstablished, 900*time.Second, FlagSync|FlagActive
	var c Conn
	require.Equal(t, Inserted, table.Insert(t0, n, &c))
	require.Equal(t, FlagSync|FlagHashed|FlagNoOutput, c.Flags)
	require.Equal(t, uint8(TCPEstablished), c.State)
	require.Equal(t, at(900*time.Second), c.Expires)
	require.EqualValues(t, 1, rs.Active())
	require.Equal(t, Exists, table.Insert(t0, n, &c))
	require.EqualValues(t, 1, rs.Active())
	require.True(t, table.Packet(t0, &c, DirIn, TCPEvent(1)), "FIN")
	require.EqualValues(t, 0, rs.Active())
	require.EqualValues(t, 1, rs.Inactive())

	n = tcpSpec(2, rs)
	n.State, n.Timeout, n.Flags = TCPListen, 120*time.Second, FlagNoCPort
	require.Equal(t, Inserted, table.Insert(t0, n, &c))
	require.Equal(t, FlagNoCPort|FlagHashed|FlagNoOutput|FlagInactive, c.Flags)
	require.Equal(t, "LISTEN", c.StateName())
	checkEmpty(t, table, at(time.Hour), all)
}
