//go:build linux

package netlab

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtool requests (ethtool(8), linux/ethtool.h).
const (
	ethtoolSetTxChecksum = 0x17 // ETHTOOL_STXCSUM
	ethtoolSetGRO        = 0x2c // ETHTOOL_SGRO
)

// NoOffload makes an interface send what a wire would carry: complete checksums
// and, for they depend on them, no super-frames.
func (ns *Namespace) NoOffload(name string) error {
	return ns.setOffload(name, ethtoolSetTxChecksum, 0)
}

// GRO makes an interface put together what belongs together.
func (ns *Namespace) GRO(name string) error { return ns.setOffload(name, ethtoolSetGRO, 1) }

func (ns *Namespace) setOffload(name string, which, to uint32) error {
	return ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		value := [2]uint32{which, to} // struct ethtool_value
		var req struct {              // struct ifreq
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(req.name[:unix.IFNAMSIZ-1], name)
		req.data = unsafe.Pointer(&value)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
		runtime.KeepAlive(&value)
		if errno != 0 {
			return fmt.Errorf("set offload %#x of %s to %d: %w", which, name, to, errno)
		}
		return nil
	})
}
