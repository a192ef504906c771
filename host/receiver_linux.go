package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoReceiver says that no thread can receive for an interface: its driver
// queues nothing for one.
var ErrNoReceiver = errors.New("its driver has nothing that a thread could do (NAPI); a veth has with GRO on (ethtool -K IF gro on) or a native XDP program")

// Receiver is an interface that threads of the kernel's receive for, and not
// interrupts (threaded NAPI): the scheduler treats them like any other threads,
// so that a flood leaves the director its share of a core.
type Receiver struct {
	name string
	cpus []int    // where the threads are to run; none: anywhere
	file *os.File // the interface's switch
	ours bool     // it was off before

	threads []string // as last placed; none: it is not known
}

// NewReceiver has threads receive for an interface, on these CPUs if there are
// any. It acts in the calling thread's network namespace. Close undoes it.
func NewReceiver(name string, cpus []int) (*Receiver, error) {
	r := &Receiver{name: name, cpus: cpus}
	if err := r.turnOn(); err != nil {
		r.Close()
		return nil, fmt.Errorf("threads that receive for %s: %w", name, err)
	}
	return r, nil
}

// turnOn finds the switch and turns it on.
func (r *Receiver) turnOn() (err error) {
	r.ours = false // it may be another interface than before
	if r.file, err = openSwitch(r.name); err != nil {
		return err
	}
	on, err := r.isOn()
	if err != nil || on {
		return err
	}
	err = r.write("1")
	r.ours = err == nil
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return ErrNoReceiver
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("CAP_NET_ADMIN is missing: %w", err)
	}
	return err
}

// Follow does it again for an interface that was made anew, and for one whose
// driver has others to receive since. It reports whether Place is due.
func (r *Receiver) Follow() (again bool, err error) {
	if r.file != nil {
		if on, err := r.isOn(); err == nil && on {
			now, err := ReceiverThreads(r.name)
			return err == nil && !slices.Equal(now, r.threads), nil
		}
		r.file.Close()
		r.file = nil
	}
	if err := r.turnOn(); err != nil {
		return false, fmt.Errorf("threads that receive for %s: %w", r.name, err)
	}
	return true, nil
}

// Close lets interrupts receive again if they did before. An interface that is
// gone needs nothing.
func (r *Receiver) Close() error {
	if r.file == nil {
		return nil
	}
	defer r.file.Close()
	if !r.ours {
		return nil
	}
	if err := r.write("0"); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("let interrupts receive for %s again: %w", r.name, err)
	}
	return nil
}

func (r *Receiver) isOn() (bool, error) {
	var text [8]byte
	n, err := r.file.ReadAt(text[:], 0)
	if n == 0 && err != nil {
		return false, err
	}
	return !bytes.Equal(bytes.TrimSpace(text[:n]), []byte("0")), nil
}

func (r *Receiver) write(value string) error {
	_, err := r.file.WriteAt([]byte(value), 0)
	return err
}

// openSwitch opens the file that says who receives for an interface.
func openSwitch(name string) (*os.File, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	dir, done, err := ownSysfs(ifi)
	if err != nil {
		return nil, err
	}
	defer done()
	f, err := os.OpenFile(dir+"/threaded", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("the kernel has no such thing: it needs Linux 5.12")
	case errors.Is(err, unix.EROFS):
		return nil, fmt.Errorf("%w (in a container: set it from outside, or let the container write to /sys)", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w (it takes root, or CAP_DAC_OVERRIDE)", err)
	}
	return f, err
}

// ownSysfs is where sysfs has an interface of the calling thread's namespace.
// /sys shows those of the namespace in which it was mounted; where it is not
// permitted to have another sysfs, it has to be the same.
func ownSysfs(ifi *net.Interface) (dir string, done func(), err error) {
	if fd, err := mountSysfs(); err == nil {
		return fmt.Sprintf("/proc/self/fd/%d/class/net/%s", fd, ifi.Name), func() { unix.Close(fd) }, nil
	}
	dir = "/sys/class/net/" + ifi.Name
	index, _ := os.ReadFile(dir + "/ifindex")
	mac, _ := os.ReadFile(dir + "/address")
	if strings.TrimSpace(string(index)) != strconv.Itoa(ifi.Index) || strings.TrimSpace(string(mac)) != ifi.HardwareAddr.String() {
		return "", nil, errors.New("/sys shows another network namespace: mount sysfs in this one, as ip netns exec does, or give CAP_SYS_ADMIN")
	}
	return dir, func() {}, nil
}

// mountSysfs mounts a sysfs of the calling thread's network namespace nowhere.
func mountSysfs() (fd int, err error) {
	fs, err := unix.Fsopen("sysfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}
