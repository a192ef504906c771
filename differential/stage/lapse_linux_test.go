package stage

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLapses(t *testing.T) {
	fragment, err := hex.DecodeString("0200000000010200000000fe08004500001c0001200040112692c63364010a09000103e8005000100000")
	require.NoError(t, err)
	var l lapses
	l.sent(fragment, 5*time.Second)
	l.sent(fragment[:20], 0)
	require.Equal(t, lapses{35 * time.Second}, l, "what is no fragment does not count")
	for at, near := range map[time.Duration]bool{33: false, 35: true, 40: true, 44: false} {
		require.Equal(t, near, l.near(at*time.Second), at)
	}
	fragment[20] = 0 // no fragment; the checksum is wrong as well
	l.sent(fragment, 9*time.Second)
	require.Len(t, l, 1)
}
