package afxdp

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/wire"
)

const (
	// receiveChunks and sendChunks share a queue's memory; each chunk holds one
	// frame. Both are powers of 2. Together, in chunks of 2 KiB, they stay below
	// 8 MiB, a common limit for locked memory.
	receiveChunks = 2048
	sendChunks    = 512

	// kernelHeadroom is what the kernel keeps free in front of a received frame.
	kernelHeadroom = unix.XDP_PACKET_HEADROOM
)

// queue is the XDP socket of one receive queue of an interface. Its receiving
// half belongs to whoever sets reading, its sending half to whoever sets busy.
type queue struct {
	fd       int
	mem      []byte
	chunk    int
	zeroCopy bool

	reading atomic.Bool // guards what follows

	rx   ring[unix.XDPDesc]
	fill ring[uint64]
	pkt  wire.Packet // for markPartial

	busy atomic.Bool // guards what follows
	tx   ring[unix.XDPDesc]
	done ring[uint64]
	free []uint64 // chunks to send with
}

// openQueue opens and binds a socket. It tries zero copy first if the program
// is in the driver.
func openQueue(index, number, chunk int, native bool) (*queue, error) {
	if native {
		q, err := newQueue(index, number, chunk, unix.XDP_ZEROCOPY)
		if err == nil {
			q.zeroCopy = true
			return q, nil
		}
	}
	return newQueue(index, number, chunk, unix.XDP_COPY)
}

func newQueue(index, number, chunk int, mode uint16) (*queue, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("AF_XDP socket: %w", err)
	}
	q := &queue{fd: fd, chunk: chunk}
	if err := q.setUp(); err != nil {
		q.close()
		return nil, err
	}
	err = unix.Bind(fd, &unix.SockaddrXDP{Flags: mode | unix.XDP_USE_NEED_WAKEUP, Ifindex: uint32(index), QueueID: uint32(number)})
	if err != nil {
		q.close()
		return nil, fmt.Errorf("bind to queue %d: %w", number, err)
	}
	return q, nil
}

func (q *queue) setUp() (err error) {
	const protection, kind = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_POPULATE
	if q.mem, err = unix.Mmap(-1, 0, (receiveChunks+sendChunks)*q.chunk, protection, kind); err != nil {
		return fmt.Errorf("memory for frames: %w", err)
	}
	if err := registerMemory(q.fd, q.mem, q.chunk); err != nil {
		if errors.Is(err, unix.ENOBUFS) {
			err = fmt.Errorf("%w: it has to be locked: raise the limit (ulimit -l) or give CAP_IPC_LOCK", err)
		}
		return fmt.Errorf("%d KiB of memory for frames: %w", len(q.mem)>>10, err)
	}
	off, err := ringOffsets(q.fd)
	if err != nil {
		return fmt.Errorf("XDP_MMAP_OFFSETS: %w", err)
	}
	if q.fill, err = openRing[uint64](q.fd, unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_PGOFF_FILL_RING, off.Fr, receiveChunks); err != nil {
		return err
	}
	if q.done, err = openRing[uint64](q.fd, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_UMEM_PGOFF_COMPLETION_RING, off.Cr, sendChunks); err != nil {
		return err
	}
	if q.rx, err = openRing[unix.XDPDesc](q.fd, unix.XDP_RX_RING, unix.XDP_PGOFF_RX_RING, off.Rx, receiveChunks); err != nil {
		return err
	}
	if q.tx, err = openRing[unix.XDPDesc](q.fd, unix.XDP_TX_RING, unix.XDP_PGOFF_TX_RING, off.Tx, sendChunks); err != nil {
		return err
	}
	// One call may send as many as fit, not 32. Kernels before 6.18 do not know this.
	_ = unix.SetsockoptInt(q.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, sendChunks)
	q.deal()
	return nil
}

// deal gives the first chunks to the kernel to receive into, and keeps the rest
// to send with.
func (q *queue) deal() {
	for i := range receiveChunks {
		*q.fill.next() = uint64(i * q.chunk)
	}
	q.fill.produced()
	for i := range sendChunks {
		q.free = append(q.free, uint64((receiveChunks+i)*q.chunk))
	}
}

// close releases everything. Nobody uses the queue any more.
func (q *queue) close() {
	unix.Close(q.fd)
	q.rx.close()
	q.tx.close()
	q.fill.close()
	q.done.close()
	if q.mem != nil {
		_ = unix.Munmap(q.mem)
	}
}

// receive fills fs with what waits in the queue.
func (q *queue) receive(fs []*link.Frame, counters *link.Counters) (n int) {
	bytes, left := 0, min(q.rx.filled(), q.fill.room(), maxSeen)
	if left == 0 {
		return 0
	}
	for ; left > 0 && n < len(fs); left-- {
		d := q.rx.next()
		if !q.take(fs[n], d) {
			counters.Dropped(link.DropTruncated, 1)
		} else {
			bytes += fs[n].Len()
			n++
		}
		*q.fill.next() = d.Addr &^ uint64(q.chunk-1)
	}
	q.rx.consumed()
	q.fill.produced()
	q.wakeFill()
	counters.Received(n, bytes)
	return n
}

// maxSeen bounds how many frames one batch looks at.
const maxSeen = 4 * link.BatchSize

// wakeFill tells a driver that waits for chunks that there are some.
func (q *queue) wakeFill() {
	if q.fill.sleeps() {
		refill(q.fd)
	}
}

// take copies a received frame to f; false: it does not fit.
func (q *queue) take(f *link.Frame, d *unix.XDPDesc) bool {
	f.Reset()
	if d.Addr >= uint64(len(q.mem)) {
		return false
	}
	from := q.mem[d.Addr:]
	if int(d.Len) > len(from) || int(d.Len) > f.Cap() || d.Options&unix.XDP_PKT_CONTD != 0 {
		return false
	}
	f.Medium, f.Hidden = wire.Ethernet, true
	f.SetBytes(from[:d.Len])
	markPartial(f, &q.pkt)
	return true
}

// dropped is what the kernel dropped so far for want of room.
func (q *queue) dropped() uint64 {
	st, err := readStatistics(q.fd)
	if err != nil {
		return 0
	}
	return st.Rx_dropped + st.Rx_ring_full
}
