package bench

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestResidentGrows(t *testing.T) {
	before := Resident()
	require.Positive(t, before)
	b := make([]byte, 64<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	require.Greater(t, Resident(), before+(50<<20))
	runtime.KeepAlive(b)
}

func TestThreadTimeStandsStillAsleep(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := ThreadTime()
	for ThreadTime() == begin { // until it moves
	}
	begin = ThreadTime()
	time.Sleep(50 * time.Millisecond)
	require.Less(t, ThreadTime()-begin, 40*time.Millisecond)
}
