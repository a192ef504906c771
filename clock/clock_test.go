package clock

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestInstant(t *testing.T) {
	a := Instant(5)
	require.Equal(t, Instant(8), a.Add(3))
	require.Equal(t, Instant(2), a.Add(-3))
	require.Equal(t, Never, Never.Add(time.Hour), "saturates")
	require.Equal(t, time.Duration(3), a.Sub(2))
	require.True(t, a.Before(6) && a.After(4) && !a.Before(5) && !a.After(5))
	require.Equal(t, Instant(2), a.Min(2))
}

func TestSystemIsMonotonicFromAboutOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewSystem()
		start := c.Now()
		require.Equal(t, Instant(time.Second), start)
		time.Sleep(time.Minute)
		require.Equal(t, time.Minute, c.Now().Sub(start))
	})
}
