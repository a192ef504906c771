package ipvs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCopyFrom(t *testing.T) {
	spec := ServerSpec{Method: Tunnel, Weight: 7, UpperThreshold: 3, LowerThreshold: 1, Tunnel: TunnelParams{Type: GUE, Port: 5555}}
	from := server(spec)
	from.SetSpec(ServerSpec{Method: Tunnel, UpperThreshold: 3, LowerThreshold: 1, Tunnel: spec.Tunnel})
	for range 3 {
		from.Bind(true)
	}
	from.Bind(false)
	from.BindTemplate()
	from.LearnPathMTU(1400, 100)
	from.SetAvailable(false)
	rs := server(ServerSpec{Weight: 1})
	rs.CopyFrom(from)
	require.Equal(t, from.Spec(), rs.Spec())
	require.Equal(t, int32(7), rs.LastWeight())
	require.True(t, rs.Overloaded())
	require.False(t, rs.Available())
	require.Equal(t, [3]int32{3, 1, 1}, [3]int32{rs.Active(), rs.Inactive(), rs.Persistent()})
	require.Equal(t, 1400, rs.PathMTU(99))
	rs.Bind(true)
	require.Equal(t, int32(3), from.Active(), "a copy, not a view")
}
