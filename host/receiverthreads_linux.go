package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrNoThreads says that the kernel's threads cannot be seen.
var ErrNoThreads = errors.New("the kernel's threads are not to be seen here (in another PID namespace, or before Linux 5.17)")

// receiverSlice is how long a thread that receives works at a time while others
// want the core, too, in nanoseconds: less than it takes a flood to fill a queue
// of 256 frames. It gets no larger share by that. Kernels before 6.12 have a length
// of their own.
const receiverSlice = 100_000

// Place keeps the interface's threads on the CPUs it was given, if any, and makes
// them take turns often. It returns how many there are.
func (r *Receiver) Place() (threads int, err error) {
	var namesErr error
	r.threads, namesErr = ReceiverThreads(r.name)
	pids, err := findReceivers(func(thread string) bool {
		if namesErr != nil { // before Linux 6.8
			return isReceiverOf(thread, r.name)
		}
		return slices.Contains(r.threads, thread)
	})
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		err := placeReceiver(pid, r.cpus)
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("CAP_SYS_NICE is missing: %w", err)
		}
		if err != nil {
			return len(pids), err
		}
	}
	return len(pids), nil
}

// PlaceReceiver does so for one thread, by its name.
func PlaceReceiver(thread string, cpus []int) error {
	if !strings.HasPrefix(thread, receiverPrefix) {
		return fmt.Errorf("%q is not a kernel thread that receives", thread)
	}
	pids, err := findReceivers(func(name string) bool { return name == thread })
	if err != nil {
		return fmt.Errorf("kernel thread %s: %w", thread, err)
	}
	return placeReceiver(pids[0], cpus)
}

func placeReceiver(pid int, cpus []int) error {
	if len(cpus) > 0 {
		var set unix.CPUSet
		for _, cpu := range cpus {
			set.Set(cpu)
		}
		if err := unix.SchedSetaffinity(pid, &set); err != nil {
			return fmt.Errorf("keep kernel thread %d on CPUs %v: %w", pid, cpus, err)
		}
	}
	attr, err := unix.SchedGetAttr(pid, 0)
	if err == nil && attr.Policy == unix.SCHED_NORMAL {
		attr.Runtime = receiverSlice
		err = unix.SchedSetAttr(pid, attr, 0)
	}
	if err != nil {
		return fmt.Errorf("time slices of kernel thread %d: %w", pid, err)
	}
	return nil
}

// receiverPrefix, an interface's name, a dash and the number of what receives
// are the name of a thread that receives.
const receiverPrefix = "napi/"

// isReceiverOf reports whether that is a thread's name. Interfaces of other
// namespaces may be called the same.
func isReceiverOf(thread, interfaceName string) bool {
	number, ok := strings.CutPrefix(thread, receiverPrefix+interfaceName+"-")
	_, err := strconv.ParseUint(number, 10, 32)
	return ok && err == nil
}

// findReceivers returns the numbers of the kernel threads that have wanted names,
// of which there is one at least.
func findReceivers(wanted func(thread string) bool) (pids []int, err error) {
	paths, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		name, err := os.ReadFile(path)
		if err != nil || !wanted(strings.TrimSpace(string(name))) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && isKernelThread(pid) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return nil, ErrNoThreads
	}
	return pids, nil
}

// isKernelThread: processes can call themselves anything, but have a program.
func isKernelThread(pid int) bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return errors.Is(err, fs.ErrNotExist)
}

// What is used of the kernel's messages about network devices (linux/netdev.h).
const (
	netdevFamily  = "netdev"
	netdevVersion = 1
	napiGet       = 11
	napiIfindex   = 1
	napiID        = 2
)

// ReceiverThreads are the names of the kernel threads that receive for an
// interface of the calling thread's network namespace (Linux 6.8).
func ReceiverThreads(interfaceName string) (threads []string, err error) {
	link, err := netlink.LinkByName(interfaceName)
	if err != nil {
		return nil, err
	}
	family, err := netlink.GenlFamilyGet(netdevFamily)
	if err != nil {
		return nil, err
	}
	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_DUMP)
	index := nl.NewRtAttr(napiIfindex, nl.Uint32Attr(uint32(link.Attrs().Index)))
	req.AddRawData(append([]byte{napiGet, netdevVersion, 0, 0}, index.Serialize()...))
	replies, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return nil, err
	}
	for _, m := range replies {
		if id, ok := napiOf(m); ok {
			threads = append(threads, fmt.Sprintf("%s%s-%d", receiverPrefix, interfaceName, id))
		}
	}
	return threads, nil
}

// napiOf reads the number of what receives out of a message.
func napiOf(message []byte) (id uint32, ok bool) {
	if len(message) < nl.SizeofGenlmsg {
		return 0, false
	}
	padding := make([]byte, -len(message)&(unix.NLA_ALIGNTO-1)) // which the parser wants behind the last attribute, too
	attrs, err := nl.ParseRouteAttr(append(bytes.Clone(message[nl.SizeofGenlmsg:]), padding...))
	if err != nil {
		return 0, false
	}
	for _, a := range attrs {
		if a.Attr.Type == napiID && len(a.Value) == 4 {
			return binary.NativeEndian.Uint32(a.Value), true
		}
	}
	return 0, false
}
