package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// MaxCPUs is how many an affinity mask has room for.
const MaxCPUs = 1024

// CPUs are those that the calling thread, and so a process that has pinned none,
// may run on.
func CPUs() (cpus []int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("ask for the CPUs that may be used: %w", err)
	}
	for cpu := range MaxCPUs {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// PinThread keeps the calling thread, which must be a locked one, on a CPU.
func PinThread(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("run on CPU %d: %w", cpu, err)
	}
	return nil
}
