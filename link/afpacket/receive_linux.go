package afpacket

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/internal/waiter"
	"usvs/link/vnet"
	"usvs/wire"
)

const (
	// lookEvery is how often a device without a link looks for it.
	lookEvery = 100 * time.Millisecond

	// errorPause keeps a receive error that does not go away from spinning.
	errorPause = 10 * time.Millisecond
)

// Where ReadBatch waits: the first place is the waiter's own.
const (
	mainAt = 1 + iota
	urgentAt
	waitPlaces
)

// ReadBatch implements link.Device. It may exchange the entries of fs.
func (d *Device) ReadBatch(fs []*link.Frame, wait time.Duration) (int, error) {
	if !d.wait.Enter() {
		return 0, link.ErrClosed
	}
	defer d.wait.Leave()
	d.wait.Begin(wait)
	d.ready = wait == 0
	if d.ring == nil && !d.hungry {
		d.emptied.Add(1) // by the last batch, which has been sent by now
	}
	// After a batch that was not full there is most likely nothing more yet:
	// then waiting first saves a system call. A look at a ring costs none.
	for tried := d.hungry || d.ring != nil; ; tried = true {
		if tried || wait == 0 {
			if n := d.receive(fs); n > 0 {
				return n, nil
			}
		}
		left, more := d.wait.Left()
		if !more {
			d.lookIfDown()
			return 0, nil
		}
		if woken := d.await(left); woken {
			d.hungry = true // who woke us may want to know that we looked
			return 0, d.closedErr()
		}
	}
}

func (d *Device) closedErr() error {
	if d.wait.Closed() {
		return link.ErrClosed
	}
	return nil
}

// lookIfDown is for callers that never wait: a link comes back for them too.
func (d *Device) lookIfDown() {
	if d.down {
		d.look()
	}
}

// await waits for frames. A link that is down is looked for meanwhile; the
// socket has nothing to say then, or only again that the link is down.
func (d *Device) await(left time.Duration) (woken bool) {
	switch {
	case d.troubled:
		d.troubled = false
		return d.wait.Wait(-1, atMost(errorPause, left)) == waiter.Woken
	case d.down:
		woken = d.wait.Wait(-1, atMost(lookEvery, left)) == waiter.Woken
		d.look()
		return woken
	case d.held.Load():
		return d.wait.Wait(-1, atMost(holdPause, left)) == waiter.Woken
	}
	d.fds[mainAt] = unix.PollFd{Fd: int32(d.rx), Events: unix.POLLIN}
	d.fds[urgentAt] = unix.PollFd{Fd: int32(d.urgent.fd), Events: unix.POLLIN} // negative: none
	event := d.wait.WaitAny(d.fds[:], left)
	d.ready = event == waiter.Ready && d.fds[mainAt].Revents != 0
	return event == waiter.Woken
}

// atMost is limit, or less if less is left; negative means that more is left.
func atMost(limit, left time.Duration) time.Duration {
	if left < 0 {
		return limit
	}
	return min(limit, left)
}

// receive reads one batch, without waiting.
func (d *Device) receive(fs []*link.Frame) int {
	n, more := d.receiveUrgent(fs), 0
	switch {
	case d.held.Load():
		return n
	case d.ring != nil:
		more = d.receiveRing(fs[n:])
	default:
		more = d.receiveMmsg(fs[n:])
	}
	if more == 0 {
		d.emptied.Add(1)
	}
	return n + more
}

// receiveMmsg asks for frames.
func (d *Device) receiveMmsg(fs []*link.Frame) int {
	fs = fs[:min(len(fs), len(d.msgs))]
	got, errno := d.receiveQueued(fs)
	if errno != 0 {
		d.receiveFailed(errno)
		return 0
	}
	d.hungry = got == len(fs)
	n, bytes := 0, 0
	for i := range got {
		why, ok := d.accept(fs[i], d.arrived(i))
		if !ok {
			d.counters.Dropped(why, 1)
			continue
		}
		bytes += fs[i].Len()
		fs[n], fs[i] = fs[i], fs[n]
		n++
	}
	d.counters.Received(n, bytes)
	return n
}

// receiveQueued takes frames out of the socket's queue.
func (d *Device) receiveQueued(fs []*link.Frame) (int, unix.Errno) {
	for i, f := range fs {
		f.Reset()
		d.slots[i].aim(&d.msgs[i].Hdr, f.Space())
	}
	return recvmmsg(d.rx, d.msgs[:len(fs)])
}

// arrival is what the kernel says about a frame it delivers.
type arrival struct {
	kind   uint8  // PACKET_HOST and the like
	length int    // of the frame; negative: there is more than was delivered
	vnet   []byte // its virtio header
	tag    unix.TpacketAuxdata
}

// arrived is what slot i received.
func (d *Device) arrived(i int) arrival {
	s, m := &d.slots[i], &d.msgs[i]
	a := arrival{kind: s.from.Pkttype, length: int(m.Len) - vnet.HeaderLen, vnet: s.vnet[:]}
	if m.Hdr.Flags&unix.MSG_TRUNC != 0 {
		a.length = -1
	}
	if m.Hdr.Controllen != 0 && s.ctl.hdr.Type == unix.PACKET_AUXDATA {
		a.tag = s.ctl.aux
	}
	return a
}

// accept completes the frame that f's space holds, or says why not.
func (d *Device) accept(f *wire.Frame, a arrival) (why link.Drop, ok bool) {
	switch a.kind {
	case unix.PACKET_OUTGOING:
		return link.DropOutgoing, false
	case unix.PACKET_OTHERHOST:
		if !d.all && !d.isStation(f.Space()) {
			return link.DropOtherHost, false
		}
	}
	if a.length < 0 {
		return link.DropTruncated, false
	}
	f.Medium = wire.Ethernet
	f.SetLen(a.length)
	if !vnet.Decode(a.vnet, f) {
		return link.DropOffload, false
	}
	if a.tag.Status&unix.TP_STATUS_VLAN_VALID != 0 {
		insertTag(f, a.tag)
	}
	return 0, true
}

// insertTag puts the VLAN tag back that the kernel took out of the frame.
func insertTag(f *wire.Frame, aux unix.TpacketAuxdata) {
	const addrsLen = 12
	if f.Len() < addrsLen {
		return
	}
	tpid := aux.Vlan_tpid
	if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
		tpid = wire.TypeVLAN
	}
	f.Prepend(wire.VLANLen)
	b := f.Bytes()
	copy(b[:addrsLen], b[wire.VLANLen:])
	binary.BigEndian.PutUint16(b[addrsLen:], tpid)
	binary.BigEndian.PutUint16(b[addrsLen+2:], aux.Vlan_tci)
}

// receiveFailed looks at why there is nothing.
func (d *Device) receiveFailed(errno unix.Errno) {
	d.hungry = false
	switch errno {
	case unix.EAGAIN, unix.EINTR:
	case unix.ENETDOWN:
		d.linkDown()
	case unix.EINVAL:
		// The kernel could not express a super-frame's kind and dropped it.
		d.counters.Dropped(link.DropOffload, 1)
		d.hungry = true
	default:
		d.complain(errno)
		d.troubled = true
	}
}

// complain logs an error, at most once a second.
func (d *Device) complain(err error) {
	if now := time.Now(); now.After(d.nextLog) {
		d.nextLog = now.Add(time.Second)
		d.log.Warn("cannot receive", "interface", d.name, "err", err)
	}
}
