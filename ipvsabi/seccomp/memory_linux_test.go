package seccomp

import (
	"bytes"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// myself is a caller whose memory is the test's.
func myself() *caller { return &caller{notification: notification{tid: os.Getpid()}, pidfd: -1} }

func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// needMemory skips the test where reading processes is forbidden.
func needMemory(t *testing.T) {
	t.Helper()
	var b [1]byte
	if errno := myself().read(address(&b[0]), make([]byte, 1)); errno != 0 {
		t.Skip("process_vm_readv is forbidden here")
	}
}

func TestGatherAndScatter(t *testing.T) {
	needMemory(t)
	c := myself()
	text, room1, room2 := []byte("0123456789"), make([]byte, 4), make([]byte, 100)
	vector := make([]unix.Iovec, 3)
	for i, piece := range [][]byte{text[:3], text[3:3], text[3:]} {
		if len(piece) > 0 {
			vector[i].Base = &piece[0]
		}
		vector[i].SetLen(len(piece))
	}
	list, errno := c.spans(address(&vector[0]), 3)
	require.Zero(t, errno)
	got, errno := c.gather(list)
	require.Zero(t, errno)
	assert.Equal(t, text, got)

	places := []span{{address(&room1[0]), 4}, {8, 0}, {address(&room2[0]), 100}}
	assert.Equal(t, 104, room(places))
	require.Zero(t, c.scatter(places, text))
	assert.Equal(t, "0123", string(room1))
	assert.Equal(t, "456789", string(bytes.TrimRight(room2, "\x00")))
}

func TestMemoryThatIsNot(t *testing.T) {
	needMemory(t)
	c := myself()
	buf := make([]byte, 16)
	assert.Equal(t, unix.EFAULT, c.read(8, buf))
	assert.Equal(t, unix.EFAULT, c.write(8, buf))
	assert.Zero(t, c.readSome(8, buf))
	assert.Zero(t, c.write(8, nil))
	_, errno := c.spans(8, 1)
	assert.Equal(t, unix.EFAULT, errno)
	_, errno = c.spans(8, maxSpans+1)
	assert.Equal(t, unix.EMSGSIZE, errno)
	for _, list := range [][]span{{{8, 1 << 63}}, {{8, 1<<63 + 5}, {8, 1<<63 + 5}}, {{8, maxTransfer - 1}, {8, maxTransfer - 1}}} {
		assert.Equal(t, maxTransfer, room(list))
		_, errno = c.gather(list)
		assert.Equal(t, unix.EMSGSIZE, errno)
	}
	_, errno = c.gather([]span{{8, 10}})
	assert.Equal(t, unix.EFAULT, errno)
	assert.Equal(t, unix.EFAULT, c.scatter([]span{{8, 10}}, buf))
}

// A path is read up to the end of the memory behind it.
func TestPathAtTheEnd(t *testing.T) {
	needMemory(t)
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	defer unix.Munmap(memory)
	require.NoError(t, unix.Mprotect(memory[page:], unix.PROT_NONE))
	const path = "/proc/net/ip_vs\x00"
	copy(memory[page-len(path):], path)
	got, ok := myself().targetAt(address(&memory[page-len(path)]))
	assert.True(t, ok)
	assert.Equal(t, target{procFile, "ip_vs", 0}, got)
	copy(memory[page-4:], "abcd") // without an end
	_, ok = myself().targetAt(address(&memory[page-4]))
	assert.False(t, ok)
}
