package afxdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	xdp "github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"usvs/wire"
)

const (
	// maxQueues bounds the sockets of one device.
	maxQueues = 64

	// The sizes of a chunk of memory: the kernel knows no larger one than a page.
	smallChunk, largeChunk = 2048, 4096

	// linkLen is what may stand around the MTU: the header and a VLAN tag.
	linkLen = wire.EthernetLen + wire.VLANLen
)

// queueSet is what is made for an interface and goes with it: the attached
// program and a socket for each queue.
type queueSet struct {
	index  int
	native bool
	hook   xdp.Link
	queues []*queue
}

func (s *queueSet) String() string {
	where, how := "generic", "copy"
	if s.native {
		where = "native"
	}
	if s.queues[0].zeroCopy {
		how = "zero-copy"
	}
	return fmt.Sprintf("%s, %s, %d queues", where, how, len(s.queues))
}

// close detaches the program and frees the sockets, when their writers are done.
func (s *queueSet) close() {
	if s.hook != nil {
		_ = s.hook.Close()
	}
	for _, q := range s.queues {
		q.retire()
		q.close()
	}
}

// attach makes everything for the interface. The sockets get frames only when
// all of them are there.
func (d *Device) attach(index int) error {
	chunk, err := chunkFor(d.pkt.MTU())
	if err != nil {
		return err
	}
	set := &queueSet{index: index}
	err = d.home.Do(func() error {
		if err := d.hook(set); err != nil {
			return err
		}
		return d.fill(set, chunk)
	})
	if err != nil {
		set.close()
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counted = 0
	d.set.Store(set)
	d.wakeMembers()
	return nil
}

// chunkFor is the chunk that holds a frame of the MTU's size.
func chunkFor(mtu int) (int, error) {
	for _, chunk := range []int{smallChunk, largeChunk} {
		if mtu+linkLen <= chunk-kernelHeadroom {
			return chunk, nil
		}
	}
	return 0, fmt.Errorf("MTU %d is too large for AF_XDP: at most %d", mtu, largeChunk-kernelHeadroom-linkLen)
}

// hook attaches the program, in the driver if that works.
func (d *Device) hook(set *queueSet) (err error) {
	opts := xdp.XDPOptions{Program: d.program, Interface: set.index, Flags: xdp.XDPDriverMode}
	if !d.generic {
		if set.hook, err = xdp.AttachXDP(opts); err == nil {
			set.native = true
			return nil
		}
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EPERM) {
			return err
		}
	}
	driver := err
	opts.Flags = xdp.XDPGenericMode
	if set.hook, err = xdp.AttachXDP(opts); err != nil {
		return errors.Join(driver, err)
	}
	return nil
}

// fill opens a socket for each queue. How many there are shows when there is
// none of the next number.
func (d *Device) fill(set *queueSet, chunk int) error {
	for number := range maxQueues {
		q, err := openQueue(set.index, number, chunk, set.native)
		if errors.Is(err, unix.EINVAL) && number > 0 {
			break
		}
		if err != nil {
			return err
		}
		set.queues = append(set.queues, q)
	}
	if err := d.describe(set); err != nil {
		return err
	}
	for number, q := range set.queues {
		if err := d.maps.sockets.Put(uint32(number), uint32(q.fd)); err != nil {
			return fmt.Errorf("XDP socket table: %w", err)
		}
	}
	return nil
}

// describe tells the program which frames it may take at all.
func (d *Device) describe(set *queueSet) error {
	longest := min(d.pkt.MTU()+linkLen, set.queues[0].chunk-kernelHeadroom)
	d.maxLen.Store(int64(d.pkt.MTU() + wire.EthernetLen))
	err := d.maps.settings.Update(uint32(0), settingsOf(d.pkt.HardwareAddr(), longest), ebpf.UpdateAny)
	if err != nil {
		return fmt.Errorf("XDP settings: %w", err)
	}
	return nil
}

// follow gives up the sockets of an interface that is gone and makes new ones
// for what has taken its place.
func (d *Device) follow() {
	set, index := d.set.Load(), d.pkt.Index()
	if set != nil && set.index != index {
		d.detach(set)
		set = nil
	}
	if d.pending = false; set != nil || index == 0 {
		return
	}
	if err := d.attach(index); err != nil {
		d.pending = true
		if d.failure != err.Error() {
			d.failure = err.Error()
			d.log.Warn("no XDP sockets; the packet socket does their work", "interface", d.Name(), "err", err)
		}
		return
	}
	d.failure = ""
	d.log.Info("XDP sockets are back", "interface", d.Name(), "mode", d.Mode())
}

// detach gives up a set of queues.
func (d *Device) detach(set *queueSet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.countDroppedLocked()
	d.set.Store(nil)
	d.wakeMembers()
	set.close()
}
