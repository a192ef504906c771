//go:build linux

package uml

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// xstate names the set of all the processor's user state, NT_X86_XSTATE of elf.h.
const xstate = 0x202

// stateSize is how large the host makes the state of one thread. Only a tracer
// is told: one is started, stopped before its first instruction, and ended.
func stateSize() (uint32, error) {
	runtime.LockOSThread() // only the thread that started it is its tracer
	defer runtime.UnlockOSThread()
	p, err := os.StartProcess("/proc/self/exe", []string{"stopped"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Ptrace: true}})
	if err != nil {
		return 0, err
	}
	defer p.Wait()
	defer p.Kill()
	var status unix.WaitStatus
	if _, err := unix.Wait4(p.Pid, &status, 0, nil); err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	iov := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GETREGSET, uintptr(p.Pid), xstate, uintptr(unsafe.Pointer(&iov)), 0, 0)
	runtime.KeepAlive(buf)
	if errno != 0 {
		return 0, errno
	}
	return uint32(iov.Len), nil
}
