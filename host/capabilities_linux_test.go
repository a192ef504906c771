package host

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

func TestCheckCapabilities(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		assert.NoError(t, CheckCapabilities())
		out, err := helperWithoutCapabilities(lab, "capabilities")
		require.Error(t, err)
		assert.Contains(t, out, "CAP_NET_RAW")
		assert.Contains(t, out, "CAP_NET_ADMIN")
		assert.Contains(t, out, "setcap cap_net_admin,cap_net_raw+ep /")
		assert.Contains(t, out, "AmbientCapabilities=")
	})
}

func TestClaims(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		first, err := claimName("x")
		require.NoError(t, err)
		_, err = claimName("x")
		require.ErrorIs(t, err, errClaimed)
		assert.True(t, claimed("x"))
		lab.Namespace("other").Do(func() { assert.False(t, claimed("x"), "each namespace has its own") })
		require.NoError(t, first.Close())
		assert.False(t, claimed("x"))
	})
}
