package seccomp

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

// Replies come in order, whatever the room, and what does not fit is kept until
// there is some.
func TestOutbox(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
		require.NoError(t, err)
		defer unix.Close(fd)
		port, errno := (&caller{notification: notification{tid: os.Getpid()}, pidfd: -1}).portOf(fd)
		require.Zero(t, errno)
		assert.Equal(t, uint32(os.Getpid()), port, "the port that the kernel would choose")
		require.NoError(t, unix.Connect(fd, &unix.SockaddrNetlink{}), "connected sockets too")
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1))

		box := outbox{waiting: map[uint64]*queue{}}
		const count, size = 300, 1000
		for first := 0; first < count; first += 100 {
			var replies [][]byte
			for i := range 100 {
				b := make([]byte, size)
				native.PutUint32(b, uint32(first+i))
				replies = append(replies, b)
			}
			require.Zero(t, box.send(fd, port, replies, os.Getpid()))
		}
		require.Len(t, box.waiting, 1)
		buf := make([]byte, 2*size)
		for i := range count {
			require.True(t, nextIsOurs(fd), "reply %d is there before it is asked for", i)
			n, err := unix.Read(fd, buf)
			require.NoError(t, err)
			require.Equal(t, size, n)
			require.Equal(t, uint32(i), native.Uint32(buf))
			box.resume(fd)
		}
		assert.Empty(t, box.waiting)
		assert.False(t, nextIsOurs(fd))
		box.resume(fd)
	})
}

// Nobody makes us keep more than so much, nor keep it when he is gone.
func TestOutboxIsBounded(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		box := outbox{waiting: map[uint64]*queue{77: {pid: 1 << 30}}}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
		require.NoError(t, err)
		defer unix.Close(fd)
		port, errno := (&caller{notification: notification{tid: os.Getpid()}, pidfd: -1}).portOf(fd)
		require.Zero(t, errno)
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
		sent := 0
		for ; sent < 10*maxWaiting; sent++ {
			if errno = box.send(fd, port, [][]byte{make([]byte, 100)}, os.Getpid()); errno != 0 {
				break
			}
		}
		assert.Equal(t, unix.ENOBUFS, errno)
		assert.Less(t, sent, 2*maxWaiting)
		assert.NotContains(t, box.waiting, uint64(77), "of a process that is gone")
		assert.NotZero(t, box.send(-1, port, nil, 0))
	})
}

// What a thread asked for another thread of its process may read.
func TestOutboxOutlivesThreads(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		box := outbox{waiting: map[uint64]*queue{}}
		fill := func(tid int) (cookie uint64) {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
			require.NoError(t, err)
			t.Cleanup(func() { unix.Close(fd) })
			require.NoError(t, unix.Bind(fd, &unix.SockaddrNetlink{}))
			port, errno := (&caller{notification: notification{tid: tid}, pidfd: -1}).portOf(fd)
			require.Zero(t, errno)
			require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
			for range 100 {
				require.Zero(t, box.send(fd, port, [][]byte{make([]byte, 1000)}, tid))
			}
			cookie, errno = cookieOf(fd)
			require.Zero(t, errno)
			return cookie
		}
		asked, ended := make(chan int), make(chan struct{})
		onThread(func() { asked <- unix.Gettid(); <-ended })
		tid := <-asked
		first := fill(tid)
		close(ended)
		require.Eventually(t, func() bool { _, err := readStatus(tid); return err != nil }, time.Minute, time.Millisecond)
		fill(os.Getpid())
		assert.Contains(t, box.waiting, first)
	})
}
