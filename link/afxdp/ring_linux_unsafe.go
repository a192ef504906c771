//go:build linux

package afxdp

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is one of the four queues of fixed entries that the kernel and a socket
// share (linux/if_xdp.h). One side moves producer, the other consumer; both
// count on for ever and wrap. Which side we are depends on the ring.
type ring[T any] struct {
	mem      []byte
	producer *uint32
	consumer *uint32
	flags    *uint32
	entries  []T
	mask     uint32
	at       uint32 // our side, not told to the kernel yet
}

// openRing sizes and maps one ring of a socket. The size is a power of 2.
func openRing[T any](fd, option int, pgoff int64, off unix.XDPRingOffset, size int) (ring[T], error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_XDP, option, size); err != nil {
		return ring[T]{}, fmt.Errorf("ring of %d entries: %w", size, err)
	}
	var entry T
	mem, err := unix.Mmap(fd, pgoff, int(off.Desc)+size*int(unsafe.Sizeof(entry)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return ring[T]{}, fmt.Errorf("map a ring: %w", err)
	}
	word := func(at uint64) *uint32 { return (*uint32)(unsafe.Pointer(&mem[at])) }
	return ring[T]{
		mem: mem, mask: uint32(size - 1),
		producer: word(off.Producer), consumer: word(off.Consumer), flags: word(off.Flags),
		entries: unsafe.Slice((*T)(unsafe.Pointer(&mem[off.Desc])), size),
	}, nil
}

func (r *ring[T]) close() {
	if r.mem != nil {
		_ = unix.Munmap(r.mem)
	}
}

// filled is how many entries wait for us, the consumer.
func (r *ring[T]) filled() int { return int(atomic.LoadUint32(r.producer) - r.at) }

// room is how many entries we, the producer, may add.
func (r *ring[T]) room() int { return len(r.entries) - r.pending() }

// pending is how many entries the consumer has not taken from us yet.
func (r *ring[T]) pending() int { return int(r.at - atomic.LoadUint32(r.consumer)) }

// next is the entry whose turn it is, to be read or written.
func (r *ring[T]) next() *T {
	e := &r.entries[r.at&r.mask]
	r.at++
	return e
}

// consumed tells the kernel what was read.
func (r *ring[T]) consumed() { atomic.StoreUint32(r.consumer, r.at) }

// produced tells the kernel what was written.
func (r *ring[T]) produced() { atomic.StoreUint32(r.producer, r.at) }

// sleeps reports whether the kernel wants to be woken to go on.
func (r *ring[T]) sleeps() bool { return atomic.LoadUint32(r.flags)&unix.XDP_RING_NEED_WAKEUP != 0 }

// registerMemory makes mem the frames' memory of a socket.
func registerMemory(fd int, mem []byte, chunk int) error {
	reg := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&mem[0]))), Len: uint64(len(mem)), Size: uint32(chunk)}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_UMEM_REG,
		uintptr(unsafe.Pointer(&reg)), unsafe.Sizeof(reg), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// ringOffsets says where in the mapped rings things are.
func ringOffsets(fd int) (off unix.XDPMmapOffsets, err error) {
	return off, readOption(fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&off), unsafe.Sizeof(off))
}

// readStatistics returns what a socket dropped, and more.
func readStatistics(fd int) (st unix.XDPStatistics, err error) {
	return st, readOption(fd, unix.XDP_STATISTICS, unsafe.Pointer(&st), unsafe.Sizeof(st))
}

func readOption(fd, option int, to unsafe.Pointer, size uintptr) error {
	n := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option),
		uintptr(to), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// kick makes the kernel send what is in the sending ring.
func kick(fd int) unix.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}

// refill makes the kernel look at the fill ring again.
func refill(fd int) {
	_, _, _ = unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
}
