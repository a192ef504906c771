package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/internal/waiter"
	"usvs/link/steer"
	"usvs/link/vnet"
	"usvs/wire"
)

// Options say how a Device and its interface are to be.
type Options struct {
	MTU       int            // of the interface; 0: as it is, usually 1500
	Addresses []netip.Prefix // of the host on the interface
	Routes    []netip.Prefix // what the host sends to the interface

	// Plain opens the device without virtio headers.
	Plain bool
}

// Device is a TUN interface. It implements link.Device.
type Device struct {
	name      string
	fd        int
	headerLen int // of the virtio header; 0: plain
	wait      *waiter.Waiter
	conf      *configuration
	mtu       atomic.Int64 // last known
	counters  link.Counters

	// Owned by the goroutine in ReadBatch.
	in     vector
	hungry bool // the last batch left packets behind
}

var _ link.Device = (*Device)(nil)

// Open makes the TUN interface called name, or takes it if it exists and is
// free, and configures it, in the calling thread's network namespace. Without a
// name, or with one like "tun%d", the kernel chooses.
func Open(name string, opts Options) (*Device, error) {
	ds, err := OpenQueues(name, 1, nil, opts)
	if err != nil {
		return nil, err
	}
	return ds[0], nil
}

// OpenQueues is Open for n devices that share the interface's packets: each is
// read by one of them, as the steering has it; without one, by the device that
// last wrote a packet of the same flow.
func OpenQueues(name string, n int, steering *steer.Steering, opts Options) ([]*Device, error) {
	// One thread means one namespace for the device and for netlink.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fds, actual, err := attachAll(name, n, opts.Plain)
	if err == nil && steering != nil && n > 1 {
		if err = setSteering(fds[0], steering); err != nil {
			closeAll(fds)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("tun: open %s: %w", name, explain(err))
	}
	ds, err := newDevices(fds, actual, opts)
	if err != nil {
		return nil, fmt.Errorf("tun: configure %s: %w", actual, err)
	}
	for _, d := range ds {
		d.in.init()
		d.MTU() // to know what it was if the interface goes
	}
	return ds, nil
}

// attachAll opens n queues of an interface.
func attachAll(name string, n int, plain bool) (fds []int, actual string, err error) {
	attach := attachVirtio
	if plain {
		attach = attachPlain
	}
	for len(fds) < n {
		var fd int
		if fd, actual, err = attach(name, n > 1); err != nil {
			closeAll(fds)
			return nil, "", err
		}
		fds, name = append(fds, fd), actual
	}
	return fds, actual, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func setSteering(fd int, s *steer.Steering) error {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETSTEERINGEBPF, s.FD()); err != nil {
		return fmt.Errorf("TUNSETSTEERINGEBPF: %w", err)
	}
	return nil
}

// newDevices makes the queues devices, or closes them.
func newDevices(fds []int, name string, opts Options) (ds []*Device, err error) {
	conf, err := configure(name, opts)
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	conf.users.Store(int32(len(fds)))
	headerLen := vnet.HeaderLen
	if opts.Plain {
		headerLen = 0
	}
	for _, fd := range fds {
		wait, err := waiter.New(func() { unix.Close(fd) })
		if err != nil {
			for _, d := range ds {
				d.wait.Close()
			}
			closeAll(fds[len(ds):])
			return nil, errors.Join(err, conf.undo())
		}
		ds = append(ds, &Device{name: name, fd: fd, headerLen: headerLen, wait: wait, conf: conf})
	}
	return ds, nil
}

// Name is the interface's name.
func (d *Device) Name() string { return d.name }

// Medium is IP.
func (d *Device) Medium() wire.Medium { return wire.IP }

// Index is the interface's index.
func (d *Device) Index() int { return d.conf.index }

// MTU asks the kernel for the interface's MTU, or says what it was if the
// interface is gone. It is a system call: not for the hot path.
func (d *Device) MTU() int {
	if d.wait.Enter() {
		defer d.wait.Leave()
		if mtu, err := d.conf.mtu(); err == nil {
			d.mtu.Store(int64(mtu))
		}
	}
	return int(d.mtu.Load())
}

// Stats are the device's counters.
func (d *Device) Stats() link.Stats { return d.counters.Read() }

// Wake implements link.Device.
func (d *Device) Wake() { d.wait.Wake() }

// Close implements link.Device. The last device of an interface that is closed
// takes the interface's configuration back.
// It does not wait for calls that are under way; they end soon.
func (d *Device) Close() error {
	if !d.wait.Close() {
		return link.ErrClosed
	}
	if d.conf.users.Add(-1) > 0 {
		return nil
	}
	if err := d.conf.undo(); err != nil {
		return fmt.Errorf("tun: close %s: %w", d.name, err)
	}
	return nil
}
