package lab

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBusy(t *testing.T) {
	busy, err := busyOf(" 10 20 30 1000 50 60 70 80 0 0")
	require.NoError(t, err)
	require.Equal(t, 1900*time.Millisecond, busy, "neither idle, nor waiting, nor stolen")
	_, err = busyOf(" 10 x")
	require.Error(t, err)
	got, err := Busy(0)
	require.NoError(t, err)
	require.Positive(t, got)
	_, err = Busy(9999)
	require.ErrorContains(t, err, "core 9999")
}
