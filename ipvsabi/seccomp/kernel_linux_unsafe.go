//go:build linux

package seccomp

import (
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The kernel's structures of <linux/seccomp.h>.
type (
	kernelNotification struct {
		id    uint64
		pid   uint32
		flags uint32
		call  kernelCall
	}
	kernelCall struct {
		nr   int32
		arch uint32
		ip   uint64
		args [6]uint64
	}
	kernelAnswer struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}
	kernelAddFD struct {
		id         uint64
		flags      uint32
		srcfd      uint32
		newfd      uint32
		newfdFlags uint32
	}
)

// kernelSizes are the sizes that we know.
var kernelSizes = [3]uint16{
	uint16(unsafe.Sizeof(kernelNotification{})), uint16(unsafe.Sizeof(kernelAnswer{})), uint16(unsafe.Sizeof(kernelCall{})),
}

// The requests as they are since Linux 5.9: number, direction and size.
const (
	requestReceive = unix.SECCOMP_IOCTL_NOTIF_RECV
	requestSend    = unix.SECCOMP_IOCTL_NOTIF_SEND
	requestIDValid = 0x40082102
	requestAddFD   = 0x40182103
)

// install gives the calling thread, and what it will start, a filter, and
// returns the descriptor that its notifications come from.
func install(code []bpf.RawInstruction, flags uintptr) (int, unix.Errno) {
	program := unix.SockFprog{Len: uint16(len(code)), Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(code)))}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	return int(fd), errno
}

// notificationSizes are what the kernel's notification, answer and call take.
func notificationSizes() (sizes [3]uint16, errno unix.Errno) {
	_, _, errno = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes)))
	return sizes, errno
}

func (l listener) receive() (n notification, errno unix.Errno) {
	var k kernelNotification
	_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(l), requestReceive, uintptr(unsafe.Pointer(&k)))
	return notification{id: k.id, tid: int(k.pid), nr: int(k.call.nr), args: k.call.args}, errno
}

// control makes a request that a signal to us may interrupt before it has had
// any effect. A caller whose answer was given up would wait for ever.
func (l listener) control(request uintptr, arg unsafe.Pointer) (int, unix.Errno) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l), request, uintptr(arg))
		if errno != unix.EINTR {
			return int(r), errno
		}
	}
}

func (l listener) send(id uint64, val int64, errno unix.Errno, flags uint32) unix.Errno {
	k := kernelAnswer{id: id, val: val, error: -int32(errno), flags: flags}
	_, e := l.control(requestSend, unsafe.Pointer(&k))
	return e
}

func (l listener) valid(id uint64) bool {
	_, errno := l.control(requestIDValid, unsafe.Pointer(&id))
	return errno == 0
}

func (l listener) addFD(id uint64, fd int, flags uint32, newfd, newfdFlags int) (given int, errno unix.Errno) {
	k := kernelAddFD{id: id, flags: flags, srcfd: uint32(fd), newfd: uint32(newfd), newfdFlags: uint32(newfdFlags)}
	return l.control(requestAddFD, unsafe.Pointer(&k))
}

// defaultAction gives a signal back its default action, which the Go runtime
// replaces for some. All zeros are SIG_DFL with no flags, whatever the layout.
func defaultAction(sig unix.Signal) {
	var action [8]uint64
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}

// disconnect undoes connect: what comes from any port is received again.
func disconnect(fd int) unix.Errno {
	addr := unix.RawSockaddrNetlink{Family: unix.AF_UNSPEC}
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&addr)), unix.SizeofSockaddrNetlink)
	return errno
}

// hasChildren reports whether the process has any children.
func hasChildren() bool {
	_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_ALL, 0, 0, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, 0, 0)
	return errno != unix.ECHILD
}

// endedChild waits until a child has ended and returns which, without reaping it.
func endedChild() (pid int, errno unix.Errno) {
	var info [32]int32 // siginfo_t: the process is behind three words and a hole
	_, _, errno = unix.Syscall6(unix.SYS_WAITID, unix.P_ALL, 0, uintptr(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOWAIT, 0, 0)
	return int(info[4]), errno
}

// statBytes is a struct stat as stat(2) fills it.
func statBytes(path string) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, err
	}
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st))...), nil
}

// statxBytes is a struct statx as statx(2) fills it.
func statxBytes(path string, flags, mask int) ([]byte, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, flags, mask, &st); err != nil {
		return nil, err
	}
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st))...), nil
}
