package afxdp

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/afpacket"
	"usvs/link/internal/netns"
	"usvs/link/internal/waiter"
	"usvs/wire"
)

// Options change how a Device is opened. The zero value is for a director.
type Options struct {
	// Generic attaches the program in the generic hook even if the driver has
	// one of its own.
	Generic bool

	Log *slog.Logger // told of an interface that comes and goes; nil: silent
}

// Device is a network interface through XDP sockets, with a packet socket for
// what those leave. It implements link.Device.
type Device struct {
	reader            // the first of those who share
	members []*member // the others

	log     *slog.Logger
	generic bool
	home    netns.Namespace
	pkt     *afpacket.Device

	maps     *maps
	program  *ebpf.Program
	set      atomic.Pointer[queueSet] // nil: no interface
	maxLen   atomic.Int64             // of a frame that fits the MTU
	down     atomic.Bool              // the link is
	counters link.Counters            // of the XDP sockets

	mu      sync.Mutex
	tables  *tables // guarded by mu
	counted uint64  // guarded by mu: what the present set dropped and counters know

	// Owned by the goroutine in ReadBatch.
	pending bool   // an attempt to follow the interface failed
	failure string // what of, as last logged
}

var _ link.Device = (*Device)(nil)

// Open opens a device on the interface called name in the calling thread's
// network namespace. It takes nothing until Change.
func Open(name string, opts Options) (*Device, error) {
	d, err := open(name, opts)
	if err != nil {
		return nil, fmt.Errorf("afxdp: open %s: %w", name, explain(err))
	}
	return d, nil
}

// explain adds what to do about an error.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (it needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF outside of any user namespace)", err)
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w (it needs Linux 5.18 with CONFIG_XDP_SOCKETS and CONFIG_BPF_SYSCALL)", err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w (another XDP program or AF_XDP socket has the interface)", err)
	}
	return err
}

func open(name string, opts Options) (*Device, error) {
	// One thread means one namespace for all sockets.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := &Device{log: opts.Log, generic: opts.Generic}
	d.reader = reader{d: d, of: 1}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if err := d.build(name); err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

// build acquires everything, or what it can.
func (d *Device) build(name string) (err error) {
	if d.home, err = netns.Current(); err != nil {
		return err
	}
	if d.pkt, err = afpacket.Open(name, afpacket.Options{Ring: true, Wraps: true, Log: d.log}); err != nil {
		return err
	}
	if err = d.load(); err != nil {
		return err
	}
	if err = d.attach(d.pkt.Index()); err != nil {
		return err
	}
	d.wait, err = waiter.New(d.release)
	return err
}

// load makes the tables and the program.
func (d *Device) load() (err error) {
	if d.maps, err = newMaps(); err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	d.tables = newTables(d.maps)
	if d.program, err = newProgram(d.maps); err != nil {
		return fmt.Errorf("XDP program: %w", err)
	}
	return nil
}

// release frees everything. Nobody is inside any more.
func (d *Device) release() {
	if set := d.set.Load(); set != nil {
		set.close()
	}
	if d.program != nil {
		d.program.Close()
	}
	if d.maps != nil {
		d.maps.close()
	}
	if d.pkt != nil {
		_ = d.pkt.Close()
	}
	d.home.Close()
}

// Name is the name the device was opened with.
func (d *Device) Name() string { return d.pkt.Name() }

// Medium is Ethernet.
func (d *Device) Medium() wire.Medium { return wire.Ethernet }

// Index is the interface's index; 0 while there is no interface.
func (d *Device) Index() int { return d.pkt.Index() }

// MTU is the interface's MTU. It is a system call: not for the hot path.
func (d *Device) MTU() int { return d.pkt.MTU() }

// HardwareAddr is the interface's Ethernet address. It is a system call.
func (d *Device) HardwareAddr() wire.MAC { return d.pkt.HardwareAddr() }

// Wraps reports whether the device takes super-frames within tunnels; see
// afpacket.Device. They leave by its packet socket.
func (d *Device) Wraps() bool { return d.pkt.Wraps() }

// AddMembership makes the interface receive frames to an Ethernet group, also
// after it was deleted and made again.
func (d *Device) AddMembership(group wire.MAC) error { return d.pkt.AddMembership(group) }

// DropMembership undoes AddMembership.
func (d *Device) DropMembership(group wire.MAC) error { return d.pkt.DropMembership(group) }

// Mode says how frames are taken: where the program runs, on how many queues,
// and whether frames are copied.
func (d *Device) Mode() string {
	if set := d.set.Load(); set != nil {
		return set.String()
	}
	return "no interface"
}

// Change makes the device take what add says, too, and no longer what drop
// says. Everything dropped was added before; what was added twice, as an endpoint
// of every protocol and of one, must be dropped twice. It also makes changes of
// the MAC and of the MTU known to the program. What finds no room in its tables
// reaches the device by the packet socket, until a later change makes room.
func (d *Device) Change(add, drop Wanted) error {
	if !d.wait.Enter() {
		return link.ErrClosed
	}
	defer d.wait.Leave()
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.tables.change(add, drop)
	if set := d.set.Load(); set != nil {
		err = errors.Join(err, d.describe(set))
	}
	if err != nil {
		return fmt.Errorf("afxdp: %s: %w", d.Name(), err)
	}
	return nil
}

// Stats are the counters of all the device's sockets.
func (d *Device) Stats() link.Stats {
	if d.wait.Enter() {
		d.countDropped()
		d.wait.Leave()
	}
	st, rest := d.counters.Read(), d.pkt.Stats()
	st.RxFrames += rest.RxFrames
	st.RxBytes += rest.RxBytes
	st.TxFrames += rest.TxFrames
	st.TxBytes += rest.TxBytes
	for why, n := range rest.Drops {
		st.Drops[why] += n
	}
	return st
}

// countDropped adds what the kernel dropped since the last time.
func (d *Device) countDropped() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.countDroppedLocked()
}

func (d *Device) countDroppedLocked() {
	set := d.set.Load()
	if set == nil {
		return
	}
	var total uint64
	for _, q := range set.queues {
		total += q.dropped()
	}
	d.counters.Dropped(link.DropOverrun, int(total-d.counted))
	d.counted = total
}

// Wake implements link.Device.
func (d *Device) Wake() { d.wait.Wake() }

// Close implements link.Device. It does not wait for calls that are under way;
// they end soon.
func (d *Device) Close() error {
	if !d.wait.Close() {
		return link.ErrClosed
	}
	d.wakeMembers()
	return nil
}
