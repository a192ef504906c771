package lab

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"usvs/bench/load"
	"usvs/link/netlab"
)

// The cores: one makes the load, the other is the director's.
const (
	LoadCore     = 0
	DirectorCore = 1
)

// Cores is how many the machine must have.
const Cores = 2

// AnyCore leaves it to the scheduler.
const AnyCore = -1

// OnCore calls f on a thread that is in a namespace and stays on a core, as do
// the processes that it starts.
func OnCore(ns *netlab.Namespace, core int, f func() error) error {
	return ns.Do(func() error {
		if core != AnyCore {
			if err := load.StayOn(core); err != nil {
				return err
			}
		}
		return f()
	})
}

// steer says which core handles what an interface receives (receive packet
// steering); AnyCore: the one it was sent on.
func steer(ns *netlab.Namespace, ifname string, core int) error {
	mask := "0"
	if core != AnyCore {
		mask = fmt.Sprintf("%x", 1<<core)
	}
	return ns.Do(func() error {
		// /sys shows the interfaces of the namespace it was mounted in.
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("see the interfaces of %s: %w", ns.Name(), err)
		}
		if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("see the interfaces of %s: %w", ns.Name(), err)
		}
		defer unix.Unmount("/sys", unix.MNT_DETACH)
		path := "/sys/class/net/" + ifname + "/queues/rx-0/rps_cpus"
		if err := os.WriteFile(path, []byte(mask), 0); err != nil {
			return fmt.Errorf("steer what %s receives: %w", ifname, err)
		}
		return nil
	})
}

// EnoughCores says why this machine cannot be measured on.
func EnoughCores() error {
	if n := runtime.NumCPU(); n < Cores {
		return fmt.Errorf("there are %d cores: the load and the director need one each", n)
	}
	return nil
}
