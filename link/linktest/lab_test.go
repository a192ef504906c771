package linktest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/wire"
)

func TestLab(t *testing.T) {
	a, b := NewPair("a", "b", wire.IP)
	WaitWakeClose(t, a, Batch(1)[0])
	c, d := NewPair("c", "d", wire.IP)
	KeepReading(t, d)
	f := Batch(2)[1]
	f.SetBytes([]byte{0x45})
	_, err := c.NewWriter().WriteBatch([]*link.Frame{f})
	require.NoError(t, err)
	Eventually(t, "the frame is read", func() bool { return d.Stats().RxFrames == 1 })
	require.NoError(t, b.Close())
	var log Log
	log.Logger().Info("well")
	require.True(t, log.Has("well"))
	require.False(t, log.Has("ill"))
}
