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

// ReadBatch implements link.Device. It may exchange the entries of fs.
func (d *Device) ReadBatch(fs []*link.Frame, wait time.Duration) (int, error) {
	if !d.wait.Enter() {
		return 0, link.ErrClosed
	}
	defer d.wait.Leave()
	d.wait.Begin(wait)
	// After a batch that was not full there is most likely nothing more yet:
	// then waiting first saves a system call.
	for tried := d.hungry; ; tried = true {
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
	}
	return d.wait.Wait(d.rx, left) == waiter.Woken
}

// atMost is limit, or less if less is left; negative means that more is left.
func atMost(limit, left time.Duration) time.Duration {
	if left < 0 {
		return limit
	}
	return min(limit, left)
}

// receive reads one batch from the socket, without waiting.
func (d *Device) receive(fs []*link.Frame) int {
	fs = fs[:min(len(fs), len(d.msgs))]
	for i, f := range fs {
		f.Reset()
		d.slots[i].aim(&d.msgs[i].Hdr, f.Space())
	}
	got, errno := recvmmsg(d.rx, d.msgs[:len(fs)])
	if errno != 0 {
		d.receiveFailed(errno)
		return 0
	}
	d.hungry = got == len(fs)
	n, bytes := 0, 0
	for i := range got {
		why, ok := d.accept(i, fs[i])
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

// accept completes the frame that slot i received, or says why not.
func (d *Device) accept(i int, f *wire.Frame) (why link.Drop, ok bool) {
	s, m := &d.slots[i], &d.msgs[i]
	switch s.from.Pkttype {
	case unix.PACKET_OUTGOING:
		return link.DropOutgoing, false
	case unix.PACKET_OTHERHOST:
		if !d.all {
			return link.DropOtherHost, false
		}
	}
	if m.Hdr.Flags&unix.MSG_TRUNC != 0 || m.Len < vnet.HeaderLen {
		return link.DropTruncated, false
	}
	f.Medium = wire.Ethernet
	f.SetLen(int(m.Len) - vnet.HeaderLen)
	if !vnet.Decode(s.vnet[:], f) {
		return link.DropOffload, false
	}
	if m.Hdr.Controllen != 0 && s.ctl.hdr.Type == unix.PACKET_AUXDATA && s.ctl.aux.Status&unix.TP_STATUS_VLAN_VALID != 0 {
		insertTag(f, s.ctl.aux)
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
