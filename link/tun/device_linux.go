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
	// One thread means one namespace for the device and for netlink.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	attach, headerLen := attachVirtio, vnet.HeaderLen
	if opts.Plain {
		attach, headerLen = attachPlain, 0
	}
	fd, actual, err := attach(name)
	if err != nil {
		return nil, fmt.Errorf("tun: open %s: %w", name, explain(err))
	}
	d, err := newDevice(fd, actual, opts)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tun: configure %s: %w", actual, err)
	}
	d.headerLen = headerLen
	d.in.init()
	d.MTU() // to know what it was if the interface goes
	return d, nil
}

func newDevice(fd int, name string, opts Options) (*Device, error) {
	conf, err := configure(name, opts)
	if err != nil {
		return nil, err
	}
	wait, err := waiter.New(func() { unix.Close(fd) })
	if err != nil {
		return nil, errors.Join(err, conf.undo())
	}
	return &Device{name: name, fd: fd, wait: wait, conf: conf}, nil
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

// Close takes the interface's configuration back and implements link.Device.
// It does not wait for calls that are under way; they end soon.
func (d *Device) Close() error {
	if !d.wait.Close() {
		return link.ErrClosed
	}
	if err := d.conf.undo(); err != nil {
		return fmt.Errorf("tun: close %s: %w", d.name, err)
	}
	return nil
}
