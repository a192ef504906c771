package ipvs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeepDoesNotJudgeThresholds(t *testing.T) {
	rs := new(RealServer)
	rs.SetSpec(ServerSpec{Weight: 1, UpperThreshold: 2})
	rs.Bind(true)
	rs.Keep(true)
	require.False(t, rs.Overloaded(), "kept, not new")
	require.EqualValues(t, 2, rs.Active())
	rs.Bind(false)
	require.True(t, rs.Overloaded())
	rs.Unbind(true)
	rs.Unbind(true)
	require.False(t, rs.Overloaded())
	rs.Keep(false)
	require.EqualValues(t, 2, rs.Inactive())
}
