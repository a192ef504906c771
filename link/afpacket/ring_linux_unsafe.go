//go:build linux

package afpacket

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"usvs/link/vnet"
)

const (
	// slotSize is one frame's share of the ring, of which the kernel's notes take
	// 76 bytes. What does not fit into it the kernel queues as a whole besides
	// (PACKET_COPY_THRESH). It is made of whole cache lines, and of 26 of them:
	// the beginnings of slots a power of 2 apart would share a few sets of the cache.
	slotSize = 1664

	// blockSize is what the kernel allocates at a time; slots do not cross it.
	blockSize = 64 << 10
)

// ErrNoRing says that everything but the ring could be had.
var ErrNoRing = errors.New("no receive ring")

// ring is the memory that the kernel shares with a receiving socket, in slots
// that it fills in turn (packet(7), TPACKET_V2).
type ring struct {
	mem  []byte
	next int // the slot that is filled next
}

// openRing makes fd receive into a ring of about size bytes.
func openRing(fd, size int) (*ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return nil, fmt.Errorf("TPACKET_V2: %w", err)
	}
	if err := setPacketOption(fd, unix.PACKET_COPY_THRESH); err != nil {
		return nil, err
	}
	blocks := max(size/blockSize, 1)
	req := unix.TpacketReq{
		Block_size: blockSize, Block_nr: uint32(blocks),
		Frame_size: slotSize, Frame_nr: uint32(blocks * (blockSize / slotSize)),
	}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("receive ring of %d bytes: %w", blocks*blockSize, err)
	}
	mem, err := unix.Mmap(fd, 0, blocks*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the receive ring: %w", err)
	}
	return &ring{mem: mem}, nil
}

func (r *ring) close() { _ = unix.Munmap(r.mem) }

// slotView is what the kernel wrote into one slot.
type slotView struct {
	hdr  *unix.Tpacket2Hdr
	from *unix.RawSockaddrLinklayer
	mem  []byte
}

// peek returns the slot whose turn it is; false: the kernel has not filled it.
func (r *ring) peek() (slotView, bool) {
	mem := r.mem[r.next : r.next+slotSize]
	hdr := (*unix.Tpacket2Hdr)(unsafe.Pointer(&mem[0]))
	if atomic.LoadUint32(&hdr.Status)&unix.TP_STATUS_USER == 0 {
		return slotView{}, false
	}
	from := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&mem[unix.SizeofTpacket2Hdr]))
	return slotView{hdr, from, mem}, true
}

// release gives the slot whose turn it is back to the kernel.
func (r *ring) release() {
	hdr := (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.mem[r.next]))
	atomic.StoreUint32(&hdr.Status, unix.TP_STATUS_KERNEL)
	if r.next += slotSize; r.next%blockSize > blockSize-slotSize {
		r.next = (r.next/blockSize + 1) * blockSize % len(r.mem)
	}
}

// whole reports whether the frame is in the slot from end to end.
func (s slotView) whole() bool { return s.hdr.Snaplen == s.hdr.Len }

// queued reports whether the frame is also in the socket's queue, whole.
func (s slotView) queued() bool { return s.hdr.Status&unix.TP_STATUS_COPY != 0 }

// packet is the part of the frame in the slot, and header what precedes it.
// Both are nil if the kernel points outside the slot.
func (s slotView) packet() (header, packet []byte) {
	from, n := int(s.hdr.Mac), int(s.hdr.Snaplen)
	if from < unix.SizeofTpacket2Hdr+vnet.HeaderLen || n < 0 || from+n > len(s.mem) {
		return nil, nil
	}
	return s.mem[from-vnet.HeaderLen : from], s.mem[from : from+n]
}

// aux is what a socket without a ring says in a control message.
func (s slotView) aux() unix.TpacketAuxdata {
	return unix.TpacketAuxdata{Status: s.hdr.Status, Vlan_tci: s.hdr.Vlan_tci, Vlan_tpid: s.hdr.Vlan_tpid}
}
