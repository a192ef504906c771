package afpacket

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/internal/waiter"
	"usvs/wire"
)

// Default socket buffers. A small frame takes about 1 KiB of them.
const (
	defaultReceiveBuffer = 8 << 20
	defaultSendBuffer    = 8 << 20
)

// Options change how a Device is opened. The zero value is for a director.
type Options struct {
	// Promiscuous makes the interface receive, and the device deliver, frames
	// to other stations too.
	Promiscuous bool

	// Filter is a classic BPF program; frames it rejects are never delivered.
	Filter []bpf.RawInstruction

	// Ring makes the kernel put received frames into memory it shares with the
	// device instead of copying them on request (TPACKET_V2).
	Ring bool

	// Urgent gives ARP and neighbour discovery a socket of their own, which is
	// looked at first: a flood of other frames does not crowd them out. Descriptor
	// does not speak for it. It excludes Filter.
	Urgent bool

	// Wraps makes the device take super-frames within tunnels (link/wrap), once it
	// is asked for them and if that is permitted.
	Wraps bool

	// ReceiveBuffer and SendBuffer size the sockets' buffers, in bytes. A ring
	// is of the receive buffer's size and comes in addition to it.
	ReceiveBuffer, SendBuffer int

	Log *slog.Logger // told of an interface that comes and goes; nil: silent
}

// Device is a network interface through a packet socket. It implements
// link.Device.
type Device struct {
	name     string
	log      *slog.Logger
	all      bool // deliver frames to other stations
	rx, tx   int
	group    *Group   // nil: it is alone on its interface
	place    int      // in the group
	wrap     *wrapper // nil: it takes no super-frames within tunnels
	ring     *ring    // nil: frames are asked for
	urgent   receiver
	wait     *waiter.Waiter
	index    atomic.Int32 // of the interface; 0: there is none
	mtu      atomic.Int64 // last known
	mac      atomic.Uint64
	counters link.Counters
	held     atomic.Bool                // it takes nothing from its main socket: see Handover
	emptied  atomic.Uint64              // how often it found nothing there
	stations atomic.Pointer[[]wire.MAC] // further ones whose frames are delivered; never changed, replaced

	mu     sync.Mutex
	groups []wire.MAC // guarded by mu; joined whenever bound, and stations like groups

	// Owned by the goroutine in ReadBatch.
	fds      [waitPlaces]unix.PollFd
	one      [1]*link.Frame // the frame that takeQueued asks for
	slots    []receiveSlot
	msgs     []unix.Mmsghdr
	hungry   bool      // the last batch left frames behind
	ready    bool      // the socket may have something to say
	down     bool      // the link is, or was when last looked at
	gone     bool      // there is no interface
	troubled bool      // the last batch failed for an unknown reason
	nextLog  time.Time // of such a reason
}

var _ link.Device = (*Device)(nil)

// Open opens a device on the interface called name in the calling thread's
// network namespace. The interface may be down.
func Open(name string, opts Options) (*Device, error) { return openAs(name, opts, nil) }

// openAs opens a device, alone or as a group's. A group's receives nothing yet.
func openAs(name string, opts Options, g *Group) (*Device, error) {
	d, err := open(name, opts, g)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("afpacket: open %s: CAP_NET_RAW is missing: %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("afpacket: open %s: %w", name, err)
	}
	return d, nil
}

func open(name string, opts Options, g *Group) (*Device, error) {
	// One thread means one namespace for the look-up and for both sockets.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, unknownInterface(err)
	}
	rx, err := openReceiver(ifi, opts)
	if err != nil {
		return nil, err
	}
	d := &Device{name: name, log: opts.Log, all: opts.Promiscuous, rx: rx.fd, ring: rx.ring, tx: -1, urgent: receiver{fd: -1}, group: g, place: g.place()}
	if err := d.finish(ifi, opts); err != nil {
		d.release()
		return nil, err
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.index.Store(int32(ifi.Index))
	d.slots, d.msgs = newReceiveSlots(link.BatchSize)
	d.MTU() // to know what they were if the interface goes
	d.HardwareAddr()
	return d, nil
}

// finish makes a receiving socket a device's.
func (d *Device) finish(ifi *net.Interface, opts Options) (err error) {
	if opts.Urgent && d.group.isFirst() {
		if d.urgent, err = openUrgent(ifi); err != nil {
			return err
		}
	}
	if d.group != nil {
		err = d.group.join(d.rx, ifi.Index, d.place)
	} else {
		err = setFilter(d.rx, opts.filter())
	}
	if err != nil {
		return err
	}
	if d.tx, err = openSender(ifi.Index, opts); err != nil {
		return err
	}
	if opts.Wraps {
		if d.wrap, err = openWrapper(ifi.Index, opts); err != nil {
			return err
		}
	}
	d.wait, err = waiter.New(d.release)
	return err
}

// release closes what the device has open.
func (d *Device) release() {
	receiver{d.rx, d.ring}.close()
	if d.urgent.fd >= 0 {
		d.urgent.close()
	}
	if d.tx >= 0 {
		unix.Close(d.tx)
	}
	if d.wrap != nil {
		d.wrap.close()
	}
}

func unknownInterface(err error) error {
	all, listErr := net.Interfaces()
	if listErr != nil {
		return err
	}
	names := make([]string, len(all))
	for i, ifi := range all {
		names[i] = ifi.Name
	}
	return fmt.Errorf("%w; there are: %s", err, strings.Join(names, ", "))
}

// Name is the name the device was opened with.
func (d *Device) Name() string { return d.name }

// Medium is Ethernet.
func (d *Device) Medium() wire.Medium { return wire.Ethernet }

// Index is the interface's index; 0 while there is no interface.
func (d *Device) Index() int { return int(d.index.Load()) }

// MTU asks the kernel for the interface's MTU, or says what it was if there is
// no interface now. It is a system call: not for the hot path.
func (d *Device) MTU() int {
	if d.wait.Enter() {
		defer d.wait.Leave()
		if mtu, err := interfaceMTU(d.tx, d.Index()); err == nil {
			d.mtu.Store(int64(mtu))
		}
	}
	return int(d.mtu.Load())
}

// HardwareAddr asks the kernel for the interface's Ethernet address, or says
// what it was if there is no interface now. It is a system call.
func (d *Device) HardwareAddr() wire.MAC {
	if d.wait.Enter() {
		defer d.wait.Leave()
		if b, err := boundTo(d.rx); err == nil && b.index > 0 {
			d.mac.Store(macToUint(b.mac))
		}
	}
	return uintToMAC(d.mac.Load())
}

// Stats are the device's counters, with what the kernel dropped for want of
// room in the receive buffer.
func (d *Device) Stats() link.Stats {
	if d.wait.Enter() {
		defer d.wait.Leave()
		d.countOverruns(d.rx)
		if d.urgent.fd >= 0 {
			d.countOverruns(d.urgent.fd)
		}
	}
	return d.counters.Read()
}

// countOverruns adds what a socket dropped. Reading resets the kernel's counter,
// so every reading is added.
func (d *Device) countOverruns(fd int) {
	st, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil {
		d.counters.Dropped(link.DropOverrun, int(st.Drops))
	}
}

// AddMembership makes the interface receive frames to an Ethernet group, or to
// a station that it is to be as well, also after it was deleted and made again.
// Frames to such a station are delivered by this device only, not by others of
// its Group.
func (d *Device) AddMembership(mac wire.MAC) error {
	return d.changeMembership(mac, unix.PACKET_ADD_MEMBERSHIP)
}

// DropMembership undoes AddMembership.
func (d *Device) DropMembership(mac wire.MAC) error {
	return d.changeMembership(mac, unix.PACKET_DROP_MEMBERSHIP)
}

func (d *Device) changeMembership(mac wire.MAC, change int) error {
	if !d.wait.Enter() {
		return link.ErrClosed
	}
	defer d.wait.Leave()
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.findGroupLocked(mac)
	add := change == unix.PACKET_ADD_MEMBERSHIP
	if add == (at >= 0) {
		return nil
	}
	if index := d.Index(); index > 0 {
		err := setMembership(d.rx, change, membershipKind(mac), index, mac)
		// A group of an interface that just went away went with it.
		if err != nil && err != unix.ENODEV && err != unix.EADDRNOTAVAIL {
			return fmt.Errorf("afpacket: %s: address %v: %w", d.name, mac, err)
		}
	}
	if add {
		d.groups = append(d.groups, mac)
	} else {
		d.groups = append(d.groups[:at], d.groups[at+1:]...)
	}
	d.setStationsLocked()
	return nil
}

// membershipKind says what the kernel calls listening to an address.
func membershipKind(mac wire.MAC) int {
	if mac.IsMulticast() {
		return unix.PACKET_MR_MULTICAST
	}
	return unix.PACKET_MR_UNICAST
}

// setStationsLocked tells the receiving goroutine which stations we are, too:
// the kernel knows the interface's own address only, and calls other frames
// foreign.
func (d *Device) setStationsLocked() {
	var list []wire.MAC
	for _, m := range d.groups {
		if !m.IsMulticast() {
			list = append(list, m)
		}
	}
	d.stations.Store(&list)
}

// isStation reports whether a foreign frame is for one of our further stations.
func (d *Device) isStation(frame []byte) bool {
	list := d.stations.Load()
	return list != nil && len(frame) >= len(wire.MAC{}) && slices.Contains(*list, wire.MAC(frame[:6]))
}

func (d *Device) findGroupLocked(group wire.MAC) int {
	for i, g := range d.groups {
		if g == group {
			return i
		}
	}
	return -1
}

// Descriptor is for those who wait for several devices at once: it is readable
// when ReadBatch has something to do.
func (d *Device) Descriptor() int { return d.rx }

// Down reports whether the link is down, and ReadBatch to be called now and then
// to notice when it is back. It belongs to the goroutine in ReadBatch.
func (d *Device) Down() bool { return d.down }

// Wake implements link.Device.
func (d *Device) Wake() { d.wait.Wake() }

// Close implements link.Device. It does not wait for calls that are under way;
// they end soon.
func (d *Device) Close() error {
	if !d.wait.Close() {
		return link.ErrClosed
	}
	if d.group != nil {
		d.group.leave()
	}
	return nil
}

func macToUint(m wire.MAC) (v uint64) {
	for _, b := range m {
		v = v<<8 | uint64(b)
	}
	return v
}

func uintToMAC(v uint64) (m wire.MAC) {
	for i := len(m) - 1; i >= 0; i-- {
		m[i] = byte(v)
		v >>= 8
	}
	return m
}
