package tun

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"
)

const devicePath = "/dev/net/tun"

// offloads are sets of what the kernel may leave to us, best first. UDP
// segmentation needs Linux 6.2; IPv4 and IPv6 have to be asked for together.
var offloads = []int{
	unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN | unix.TUN_F_USO4 | unix.TUN_F_USO6,
	unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN,
	unix.TUN_F_CSUM,
}

// attachVirtio opens a device, or one of its queues, with virtio headers and as
// much offload as the kernel has.
func attachVirtio(name string, multi bool) (fd int, actual string, err error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return -1, "", fmt.Errorf("interface name %q: %w", name, err)
	}
	fd, err = unix.Open(devicePath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", &fs.PathError{Op: "open", Path: devicePath, Err: err}
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if multi {
		flags |= unix.IFF_MULTI_QUEUE
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return -1, "", fmt.Errorf("TUNSETIFF: %w", err)
	}
	for _, set := range offloads {
		if err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, set); err == nil {
			return fd, req.Name(), nil
		}
	}
	unix.Close(fd)
	return -1, "", fmt.Errorf("TUNSETOFFLOAD: %w", err)
}

// attachPlain opens a device by way of the water package.
func attachPlain(name string, multi bool) (fd int, actual string, err error) {
	ifce, err := water.New(water.Config{
		DeviceType:             water.TUN,
		PlatformSpecificParams: water.PlatformSpecificParams{Name: name, MultiQueue: multi},
	})
	if err != nil {
		return -1, "", err
	}
	defer ifce.Close()
	// The duplicate is ours alone, and not in the Go poller.
	conn, ok := ifce.ReadWriteCloser.(syscall.Conn)
	if !ok {
		return -1, "", errors.New("water: the device is no file")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, "", err
	}
	var dupErr error
	err = raw.Control(func(orig uintptr) { fd, dupErr = unix.FcntlInt(orig, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return -1, "", fmt.Errorf("duplicate the device: %w", err)
	}
	return fd, ifce.Name(), nil
}

// explain says what to do about an error of attaching.
func explain(err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOENT):
		hint = "there is no " + devicePath + "; load the tun module, or give the container that device"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		hint = "the kernel has no tun driver; load the tun module"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		hint = "not permitted; CAP_NET_ADMIN and access to " + devicePath + " are needed"
	case errors.Is(err, unix.EBUSY):
		hint = "the interface is in use by another process"
	case errors.Is(err, unix.EINVAL):
		hint = "the interface exists and is no TUN interface of this kind"
	default:
		return err
	}
	return fmt.Errorf("%s: %w", hint, err)
}
