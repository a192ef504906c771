package afpacket

import (
	"golang.org/x/sys/unix"

	"usvs/link"
)

// receiveRing takes what the kernel has put into the ring, in its order.
func (d *Device) receiveRing(fs []*link.Frame) int {
	n, seen, bytes := 0, 0, 0
	for ; seen < maxSeen && n < len(fs) && bytes < maxBatchBytes; seen++ {
		s, filled := d.ring.peek()
		if !filled {
			break
		}
		why, ok := d.take(fs[n], s)
		d.ring.release()
		if !ok {
			d.counters.Dropped(why, 1)
			continue
		}
		bytes += fs[n].Len()
		n++
	}
	if seen == 0 && d.ready {
		d.askError()
	}
	d.counters.Received(n, bytes)
	return n
}

// maxSeen bounds how many slots one batch looks at, so that frames nobody wants
// do not hold up the rest.
const maxSeen = 4 * link.BatchSize

// maxBatchBytes ends a batch of super-frames while the processor's second-level
// cache still holds them: they are about to be sent.
const maxBatchBytes = 256 << 10

// take copies one slot's frame to f, or says why not.
func (d *Device) take(f *link.Frame, s slotView) (why link.Drop, ok bool) {
	f.Reset()
	if s.queued() {
		return d.takeQueued(f, s)
	}
	return d.takeSlot(f, s)
}

// takeSlot does so for a frame that is in the slot.
func (d *Device) takeSlot(f *link.Frame, s slotView) (why link.Drop, ok bool) {
	header, packet := s.packet()
	a := arrival{kind: s.from.Pkttype, length: len(packet), vnet: header, tag: s.aux()}
	switch {
	case !s.whole(): // the socket's queue had no room for it
		return link.DropOverrun, false
	case header == nil || len(packet) > f.Cap():
		a.length = -1
	}
	copy(f.Space(), packet)
	return d.accept(f, a)
}

// takeQueued takes the frame of a slot that is too small for it out of the
// socket's queue, which has these frames in the slots' order. What the socket
// says about the sender and the VLAN is in the slot only.
func (d *Device) takeQueued(f *link.Frame, s slotView) (why link.Drop, ok bool) {
	d.one[0] = f
	_, errno := d.receiveQueued(d.one[:])
	if errno == unix.ENETDOWN { // said once, before the frame
		d.linkDown()
		_, errno = d.receiveQueued(d.one[:])
	}
	if errno != 0 {
		if errno != unix.EINVAL { // EINVAL: a super-frame of a kind that has no name
			d.complain(errno)
		}
		return link.DropOffload, false
	}
	a := d.arrived(0)
	a.kind, a.tag = s.from.Pkttype, s.aux()
	return d.accept(f, a)
}

// askError fetches the error that made an empty ring readable, if one did.
func (d *Device) askError() {
	code, err := unix.GetsockoptInt(d.rx, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		d.receiveFailed(err.(unix.Errno))
	case code != 0:
		d.receiveFailed(unix.Errno(code))
	}
}
