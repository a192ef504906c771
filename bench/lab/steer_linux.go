package lab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"usvs/host"
	"usvs/link/netlab"
)

// Receiving is who handles what an interface receives.
type Receiving struct {
	Core int // AnyCore: the one it was sent on

	// Threaded: a thread of the kernel's does, which the scheduler treats like
	// any other (threaded NAPI), and not interrupts, which come before all.
	Threaded bool

	// Own: the director's program has seen to that already.
	Own bool

	Pin func(thread string, core int) error // see bench.Options
}

// steer makes it so.
func (r Receiving) steer(ns *netlab.Namespace, name string) error {
	const threads, steering = "threaded", "queues/rx-0/rps_cpus"
	mask := "0"
	if r.Core != AnyCore && !r.Threaded {
		mask = fmt.Sprintf("%x", 1<<r.Core)
	}
	if err := setInterface(ns, name, steering, mask); err != nil {
		return err
	}
	if !r.Threaded {
		err := setInterface(ns, name, threads, "0")
		if errors.Is(err, unix.EOPNOTSUPP) { // there is nothing that a thread could do
			return nil
		}
		return err
	}
	if !r.Own {
		if err := setInterface(ns, name, threads, "1"); err != nil {
			return err
		}
	}
	return r.pinThreads(ns, name)
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
	var threads []string
	err := ns.Do(func() (err error) {
		threads, err = host.ReceiverThreads(name)
		return err
	})
	if err == nil && len(threads) == 0 {
		err = errors.New("there are none")
	}
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
