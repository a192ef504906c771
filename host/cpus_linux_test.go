package host

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// onThread calls f on a thread of its own.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		f()
	}()
	<-done
}

func TestPinThread(t *testing.T) {
	allowed, err := CPUs()
	require.NoError(t, err)
	require.NotEmpty(t, allowed)
	for _, cpu := range allowed {
		onThread(func() {
			assert.NoError(t, PinThread(cpu))
			now, err := CPUs()
			assert.NoError(t, err)
			assert.Equal(t, []int{cpu}, now)
		})
	}
	onThread(func() { assert.ErrorContains(t, PinThread(MaxCPUs-1), "run on CPU 1023") })
	still, err := CPUs()
	require.NoError(t, err)
	assert.Equal(t, allowed, still)
}
