package probe

import (
	"context"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"usvs/health"
)

// control sets what a probe wants of its socket before it is bound.
func control(p *health.Probe) func(context.Context, string, string, syscall.RawConn) error {
	if p.Mark == 0 && p.Interface == "" {
		return nil
	}
	return func(_ context.Context, _, _ string, raw syscall.RawConn) error {
		var err error
		if ctlErr := raw.Control(func(fd uintptr) { err = setOptions(int(fd), p) }); ctlErr != nil {
			return ctlErr
		}
		return err
	}
}

func setOptions(fd int, p *health.Probe) error {
	if p.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(p.Mark)); err != nil {
			return os.NewSyscallError("setsockopt SO_MARK", err)
		}
	}
	if p.Interface != "" {
		if err := unix.BindToDevice(fd, p.Interface); err != nil {
			return os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
		}
	}
	return nil
}

// openFiles is how many files the process may have open.
func openFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20))
}
