package waiter

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func newPipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

func TestWait(t *testing.T) {
	r, wr := newPipe(t)
	w, err := New(func() {})
	require.NoError(t, err)
	assert.Equal(t, Nothing, w.Wait(r, time.Millisecond))
	assert.Equal(t, Nothing, w.Wait(-1, 0))

	go w.Wake()
	assert.Equal(t, Woken, w.Wait(r, -1))
	w.Wake()
	w.Wake()
	assert.Equal(t, Woken, w.Wait(-1, -1), "a wake-up before the wait counts")
	assert.Equal(t, Nothing, w.Wait(r, 0), "two wake-ups are one")

	_, err = unix.Write(wr, []byte("x"))
	require.NoError(t, err)
	w.Wake()
	assert.Equal(t, Woken, w.Wait(r, -1), "the wake-up first")
	assert.Equal(t, Ready, w.Wait(r, -1), "then the data")
	assert.True(t, w.Close())
}

// WaitAny says which of several descriptors is readable.
func TestWaitAny(t *testing.T) {
	w, err := New(func() {})
	require.NoError(t, err)
	defer w.Close()
	var a, b [2]int
	require.NoError(t, unix.Pipe(a[:]))
	require.NoError(t, unix.Pipe(b[:]))
	fds := []unix.PollFd{{}, {Fd: int32(a[0]), Events: unix.POLLIN}, {Fd: int32(b[0]), Events: unix.POLLIN}}
	assert.Equal(t, Nothing, w.WaitAny(fds, 0))
	_, err = unix.Write(b[1], []byte{1})
	require.NoError(t, err)
	assert.Equal(t, Ready, w.WaitAny(fds, -1))
	assert.Zero(t, fds[1].Revents)
	assert.NotZero(t, fds[2].Revents)
	w.Wake()
	assert.Equal(t, Woken, w.WaitAny(fds, -1), "a wake-up comes first")
	assert.Equal(t, Ready, w.WaitAny(fds, -1))
	for _, fd := range append(a[:], b[:]...) {
		unix.Close(fd)
	}
}

func TestLeft(t *testing.T) {
	w, err := New(func() {})
	require.NoError(t, err)
	defer w.Close()
	w.Begin(-1)
	left, more := w.Left()
	assert.Negative(t, left)
	assert.True(t, more)
	w.Begin(0)
	_, more = w.Left()
	assert.False(t, more)
	w.Begin(time.Hour)
	left, more = w.Left()
	assert.Equal(t, time.Hour, left)
	assert.True(t, more)
	left, more = w.Left()
	assert.Less(t, left, time.Hour)
	assert.True(t, more)
	w.Begin(time.Nanosecond)
	_, _ = w.Left()
	time.Sleep(time.Microsecond)
	_, more = w.Left()
	assert.False(t, more)
}

func TestCloseWaitsForTheLastOut(t *testing.T) {
	released := 0
	w, err := New(func() { released++ })
	require.NoError(t, err)
	require.True(t, w.Enter())
	require.True(t, w.Enter())
	assert.True(t, w.Close())
	assert.False(t, w.Close(), "second close")
	assert.True(t, w.Closed())
	assert.False(t, w.Enter())
	w.Wake()
	w.Leave()
	assert.Zero(t, released)
	w.Leave()
	assert.Equal(t, 1, released)
	assert.False(t, w.Enter())
	assert.Equal(t, 1, released)
}

// Many goroutines use the descriptors while they are closed: none sees them
// released, and they are released once.
func TestCloseUnderUse(t *testing.T) {
	for range 200 {
		var released atomic.Int32
		w, err := New(func() { released.Add(1) })
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for w.Enter() {
					assert.Zero(t, released.Load())
					w.Wake()
					w.Leave()
				}
			})
		}
		wg.Go(func() { w.Close() })
		wg.Wait()
		assert.EqualValues(t, 1, released.Load())
	}
}

func TestNoAllocations(t *testing.T) {
	r, _ := newPipe(t)
	w, err := New(func() {})
	require.NoError(t, err)
	defer w.Close()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		w.Enter()
		w.Wake()
		w.Begin(time.Millisecond)
		left, _ := w.Left()
		w.Wait(r, left)
		w.Leave()
	}))
}
