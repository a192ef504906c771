package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"usvs/link/netlab"
)

// Receiving is who handles what an interface receives.
type Receiving struct {
	Core int // AnyCore: the one it was sent on

	// Threaded: a thread of the kernel's does, which the scheduler treats like
	// any other (threaded NAPI), and not interrupts, which come before all.
	Threaded bool

	Pin func(thread string, core int) error // see bench.Options
}

// steer makes it so.
func (r Receiving) steer(ns *netlab.Namespace, name string) error {
	const threads, steering = "threaded", "queues/rx-0/rps_cpus"
	mask := "0"
	if r.Core != AnyCore && !r.Threaded {
		mask = fmt.Sprintf("%x", 1<<r.Core)
	}
	err := setInterface(ns, name, steering, mask)
	switch {
	case err != nil:
		return err
	case r.Threaded:
		if err := setInterface(ns, name, threads, "1"); err != nil {
			return err
		}
		return r.pinThreads(ns, name)
	}
	err = setInterface(ns, name, threads, "0")
	if errors.Is(err, unix.EOPNOTSUPP) { // there is nothing that a thread could do
		return nil
	}
	return err
}

// setInterface writes to a file of an interface.
func setInterface(ns *netlab.Namespace, name, file, value string) error {
	return ns.Do(func() error {
		// /sys shows the interfaces of the namespace it was mounted in.
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("see the interfaces of %s: %w", ns.Name(), err)
		}
		if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("see the interfaces of %s: %w", ns.Name(), err)
		}
		defer unix.Unmount("/sys", unix.MNT_DETACH)
		if err := os.WriteFile("/sys/class/net/"+name+"/"+file, []byte(value), 0); err != nil {
			return fmt.Errorf("steer what %s receives: %w", name, err)
		}
		return nil
	})
}

// pinThreads keeps the threads that receive for an interface on the core.
func (r Receiving) pinThreads(ns *netlab.Namespace, name string) error {
	threads, err := receivers(ns, name)
	if err != nil {
		return fmt.Errorf("threads that receive for %s: %w", name, err)
	}
	for _, thread := range threads {
		if err := r.Pin(thread, r.Core); err != nil {
			return err
		}
	}
	return nil
}

// What is used of the kernel's messages about network devices (linux/netdev.h).
const (
	netdevFamily = "netdev"
	napiGet      = 11
	napiIfindex  = 1
	napiID       = 2

	// receiverPrefix, an interface's name, a dash and the number of what receives
	// are the name of a thread that receives.
	receiverPrefix = "napi/"
)

// receivers are the names of the kernel threads that receive for an interface.
func receivers(ns *netlab.Namespace, name string) (threads []string, err error) {
	link, err := ns.Netlink().LinkByName(name)
	if err != nil {
		return nil, err
	}
	err = ns.Do(func() error {
		family, err := netlink.GenlFamilyGet(netdevFamily)
		if err != nil {
			return err
		}
		req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_DUMP)
		index := nl.NewRtAttr(napiIfindex, nl.Uint32Attr(uint32(link.Attrs().Index)))
		req.AddRawData(append([]byte{napiGet, 1, 0, 0}, index.Serialize()...)) // version 1
		replies, err := req.Execute(unix.NETLINK_GENERIC, 0)
		if err != nil {
			return err
		}
		for _, m := range replies {
			attrs, err := nl.ParseRouteAttr(m[nl.SizeofGenlmsg:])
			if err != nil {
				return err
			}
			for _, a := range attrs {
				if a.Attr.Type == napiID && len(a.Value) == 4 {
					id := binary.NativeEndian.Uint32(a.Value)
					threads = append(threads, fmt.Sprintf("%s%s-%d", receiverPrefix, name, id))
				}
			}
		}
		return nil
	})
	if err == nil && len(threads) == 0 {
		err = errors.New("there are none")
	}
	return threads, err
}
