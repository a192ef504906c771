package host

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestThreadTimes(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skip("the kernel does not say: ", err)
	}
	before, err := ThreadTimesOf(syscall.Gettid())
	require.NoError(t, err)
	for start := time.Now(); time.Since(start) < 30*time.Millisecond; {
	}
	require.NoError(t, unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil))
	after, err := ThreadTimesOf(syscall.Gettid())
	require.NoError(t, err)
	assert.Greater(t, after.Ran+after.Waited, before.Ran+before.Waited)
	assert.Greater(t, after.Turns, before.Turns)
	assert.GreaterOrEqual(t, after.Waited, before.Waited)
	_, err = ThreadTimesOf(1 << 30)
	assert.Error(t, err)
}

func TestIdleTime(t *testing.T) {
	cpus, err := CPUs()
	require.NoError(t, err)
	idle, err := IdleTime(cpus)
	require.NoError(t, err)
	assert.Positive(t, idle)
}

func TestIdleOf(t *testing.T) {
	const text = "cpu  9 9 9 9 9 9 0 0 0 0\ncpu0 1 2 3 100 5 6 7 8 9 10\ncpu1 1 2 3 1000 0 6 7 8 9 10\ncpu12 0 0 0 7 0 0\nintr 5 5\ncpu3 1 1 1 1 1\n"
	for _, tc := range []struct {
		cpus []int
		want time.Duration
	}{
		{[]int{0}, 1050 * time.Millisecond},
		{[]int{1, 0}, 11050 * time.Millisecond},
		{[]int{12}, 70 * time.Millisecond},
		{nil, 0},
	} {
		got, err := idleOf(text, tc.cpus)
		require.NoError(t, err)
		assert.Equal(t, tc.want, got, "%v", tc.cpus)
	}
	for _, cpus := range [][]int{{2}, {0, 3}, {1, 13}} {
		_, err := idleOf(text, cpus)
		assert.Error(t, err, "%v", cpus)
	}
}

func FuzzIdleOf(f *testing.F) {
	f.Add("cpu0 1 2 3 4 5\ncpu1 x\n")
	f.Fuzz(func(t *testing.T, text string) { _, _ = idleOf(text, []int{0, 1}) })
}
