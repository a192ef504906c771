package integration

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// A decapsulator that runs already makes way for one that unpacks more.
func TestDecapsulatorUnpacksMore(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		rs := lab.Home
		dir := t.TempDir()
		up := "realserver up --vip 10.9.0.1 --mode tun --userspace --state-dir " + dir
		unpacksGRE := func() bool {
			sockets, err := rs.Try("grep", "-c", ":002F 00000000:0000", "/proc/net/raw") // protocol 47
			return err == nil && sockets != "0\n"
		}
		usvs(t, rs, up)
		assert.False(t, unpacksGRE())
		usvs(t, rs, up+" --gre")
		assert.True(t, unpacksGRE())
		usvs(t, rs, up)
		assert.True(t, unpacksGRE(), "another address takes nothing away")
		out, err := rs.Try(program(), "realserver", "up", "--vip", "10.9.0.1", "--gre", "--state-dir", dir)
		require.Error(t, err)
		assert.Contains(t, out, "--mode tun")
		usvs(t, rs, "realserver down --state-dir "+dir)
		assert.False(t, unpacksGRE())
	})
}
