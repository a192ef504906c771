package host

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// GiveWay makes a thread of this process run on some CPUs only, and there not
// before whoever is at work has no more to do or has had its time (SCHED_BATCH,
// sched(7)). It is an error if somebody has chosen a policy for it. With an error
// the thread runs as it did.
func GiveWay(tid int, cpus []int) error {
	if err := changePolicy(tid, unix.SCHED_NORMAL, unix.SCHED_BATCH); err != nil {
		return err
	}
	if err := keepOn(tid, cpus); err != nil {
		return errors.Join(err, changePolicy(tid, unix.SCHED_BATCH, unix.SCHED_NORMAL))
	}
	return nil
}

// TakeWay undoes GiveWay: the thread runs on these CPUs, and at once. It does as
// much of that as it can: the CPUs may have been taken from the process meanwhile.
func TakeWay(tid int, cpus []int) error {
	if err := changePolicy(tid, unix.SCHED_BATCH, unix.SCHED_NORMAL); err != nil {
		return err
	}
	return keepOn(tid, cpus)
}

func keepOn(tid int, cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		return fmt.Errorf("keep thread %d on CPUs %v: %w", tid, cpus, err)
	}
	return nil
}

func changePolicy(tid int, from, to uint32) error {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return fmt.Errorf("policy of thread %d: %w", tid, err)
	}
	if attr.Policy != from {
		return fmt.Errorf("thread %d has scheduling policy %d, not %d", tid, attr.Policy, from)
	}
	attr.Policy = to
	if err := unix.SchedSetAttr(tid, attr, 0); err != nil {
		return fmt.Errorf("policy of thread %d: %w", tid, err)
	}
	return nil
}
