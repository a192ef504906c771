package afpacket

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"usvs/link/internal/netns"
	"usvs/link/steer"
)

// Group is several devices on one interface. Each frame is received by one of
// them, which one the kernel says (packet(7), PACKET_FANOUT). A socket cannot
// leave its group and be bound again, so a device gets another socket where a
// lone one binds its own again.
type Group struct {
	opts     Options
	steering *steer.Steering // nil: the source address decides
	home     netns.Namespace
	devices  []*Device

	mu    sync.Mutex
	index int // guarded by mu; of the interface that the kernel's group is for
	id    int // guarded by mu; the kernel's number for it
	open  int // guarded by mu; devices that are not closed
	next  int // guarded by mu; which device is to join next, for those but the first
}

// errTurn: the kernel numbers a group's sockets in the order in which they join,
// and the steering's numbers are the devices'.
var errTurn = errors.New("a device before it in its group has to join first")

// OpenGroup opens n devices that share the frames of the interface called name,
// as the steering has it; without one, by the source address.
func OpenGroup(name string, n int, steering *steer.Steering, opts Options) (*Group, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Current()
	if err != nil {
		return nil, fmt.Errorf("afpacket: open %s: %w", name, err)
	}
	g := &Group{opts: opts, steering: steering, home: home}
	for len(g.devices) < n {
		d, err := openAs(name, opts, g)
		if err != nil {
			g.abandon()
			return nil, err
		}
		g.devices = append(g.devices, d)
		g.open++
		g.joined(d.place)
	}
	for _, d := range g.devices { // not before the kernel's group is complete
		if err := setFilter(d.rx, opts.filter()); err != nil {
			g.abandon()
			return nil, fmt.Errorf("afpacket: open %s: %w", name, err)
		}
	}
	return g, nil
}

// abandon closes what OpenGroup has made so far.
func (g *Group) abandon() {
	g.open++
	for _, d := range g.devices {
		_ = d.Close()
	}
	g.leave()
}

// Devices are the group's devices, each for a goroutine of its own. The group
// ends when all of them are closed.
func (g *Group) Devices() []*Device { return g.devices }

// isFirst reports whether the device that is being opened is its group's first,
// or alone.
func (g *Group) isFirst() bool { return g == nil || len(g.devices) == 0 }

// place is the next device's.
func (g *Group) place() int {
	if g == nil {
		return 0
	}
	return len(g.devices)
}

// joined is called when the device in that place is a member of the kernel's group.
func (g *Group) joined(place int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = place + 1
}

// leave is called by every device that is closed.
func (g *Group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open--; g.open == 0 {
		g.home.Close()
	}
}

// join makes a socket, bound to the interface, a member of the kernel's group for
// that interface. The first makes the group.
func (g *Group) join(fd, index, place int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if place > 0 && place != g.next {
		return errTurn
	}
	if index == g.index && setFanout(fd, g.id, g.kind()) == nil {
		return nil
	}
	// The first, or the kernel's group is for an interface that is gone.
	if err := setFanout(fd, 0, g.kind()|unix.PACKET_FANOUT_FLAG_UNIQUEID); err != nil {
		return err
	}
	id, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return fmt.Errorf("number of the fanout group: %w", err)
	}
	if err := g.setProgram(fd); err != nil {
		return err
	}
	g.index, g.id = index, id&0xffff
	return nil
}

// kind is how the kernel's group chooses. The flag is the group's form of
// PACKET_IGNORE_OUTGOING; kernels that do not know it ignore it.
func (g *Group) kind() int {
	if g.steering != nil {
		return unix.PACKET_FANOUT_EBPF | unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
	}
	return unix.PACKET_FANOUT_CBPF | unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
}

func (g *Group) setProgram(fd int) error {
	var err error
	if g.steering != nil {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, g.steering.FD())
	} else {
		err = setProgram(fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, steer.Classic())
	}
	if err != nil {
		return fmt.Errorf("program of the fanout group: %w", err)
	}
	return nil
}

// setFanout joins or, by that flag, makes a group.
func setFanout(fd, id, kind int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, kind<<16|id)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("join the fanout group (some kernels want the interface up for that): %w", err)
	}
	if err != nil {
		return fmt.Errorf("join the fanout group: %w", err)
	}
	return nil
}

// renew gives a device another socket, for the interface that now has that
// index, in the place of the old one.
func (g *Group) renew(d *Device, index int) error {
	var r receiver
	err := g.home.Do(func() error {
		ifi, err := net.InterfaceByIndex(index)
		if err != nil {
			return err
		}
		if r, err = openReceiver(ifi, g.opts); err != nil {
			return err
		}
		if err = g.join(r.fd, index, d.place); err == nil {
			err = setFilter(r.fd, g.opts.filter())
		}
		if err == nil {
			err = unix.Dup3(r.fd, d.rx, unix.O_CLOEXEC)
		}
		if err != nil {
			r.close()
		}
		return err
	})
	if err != nil {
		return err
	}
	g.joined(d.place)
	unix.Close(r.fd)
	if d.ring != nil {
		d.ring.close()
	}
	d.ring = r.ring
	return nil
}
